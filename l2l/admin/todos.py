"""What a person is told to do next, on the front page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Todo:
    """One thing to do, how bad it is (`bad`, `warn`, `info`), and the page where it is done."""

    kind: str
    label: str
    text: str
    link: str = ""
