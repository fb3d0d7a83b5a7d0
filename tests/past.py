"""Content as it was written years ago: the clock of a sample home, set for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def at(settings: Any, moment: str) -> Iterator[None]:
    """Whatever is written inside is written at that moment (ISO 8601 with a zone), by the clock that history goes by."""
    before = getattr(settings, "L2L_SAMPLE", False), getattr(settings, "L2L_NOW", "")
    settings.L2L_SAMPLE, settings.L2L_NOW = True, moment
    try:
        yield
    finally:
        settings.L2L_SAMPLE, settings.L2L_NOW = before
