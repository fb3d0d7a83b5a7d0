"""Settings of the web server's processes. Its workers would notice the death of their master only after half of their timeout."""

from __future__ import annotations

from typing import Any

from l2l.orphans import die_with_parent


def post_fork(server: Any, worker: Any) -> None:
    die_with_parent(server.pid)
