"""Text as the cell of a list that people open in a spreadsheet, which runs what looks like a formula (pure).

A spreadsheet runs a cell that begins with = + - @ or a tab. Such a text gets an apostrophe before it, and so does one that begins with an
apostrophe: whoever reads the file by a program takes one leading apostrophe away and has the text as it is. Plain numbers stay.
"""

from __future__ import annotations

import re
from typing import Any

_RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def as_text(value: Any) -> str:
    """A cell that no spreadsheet runs. None is empty."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.lstrip(" \u00a0").startswith(_RUN) and not _NUMBER.fullmatch(text) else text


def original(cell: str) -> str:
    """The text that became this cell."""
    return cell[1:] if cell.startswith("'") else cell
