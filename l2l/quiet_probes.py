"""What a log need not say: Django logs each answer that is an error, and a probe that is told so every few seconds needs no log for it.
Imported while the settings are read, so that it asks for nothing else of ours."""

from __future__ import annotations

import logging

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class Unlogged(logging.Filter):
    """Lets everything through but the answers to probes."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(getattr(record, "request", None), "path", "") not in PROBES
