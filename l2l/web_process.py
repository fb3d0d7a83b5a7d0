"""Settings of the web server's processes. Its workers would notice the death of their master only after half of their timeout."""

from __future__ import annotations

import os
from typing import Any

from l2l.orphans import die_with_parent


def post_fork(server: Any, worker: Any) -> None:
    die_with_parent()
    if os.getppid() != server.pid:  # it died before we could ask
        os._exit(1)
