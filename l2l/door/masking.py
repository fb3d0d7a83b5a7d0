"""What must not stand in a log: the signed part of a link, which opens a package for whoever reads it."""

from __future__ import annotations

import logging
import re

TOKEN = re.compile(r"(/receipt/)[^/\s'\"?]+")


class MaskedLinks(logging.Formatter):
    """Puts three dots for the signed part of every link, in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return TOKEN.sub(r"\1...", super().format(record))
