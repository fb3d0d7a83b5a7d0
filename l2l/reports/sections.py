"""One part of a customer statement: sentences, figures and a table, from which its paper, its CSV and its JSON are made alike (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Section:
    """`key` names it for programs, `promises` are those that it tells of (P1 …). `figures` have numbers and words by their names, `rows`
    words under `columns`; `empty` is said where there is no row."""

    key: str
    title: str
    promises: tuple[str, ...]
    sentences: Sequence[str] = ()
    figures: Mapping[str, int | str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    rows: Sequence[Sequence[int | str]] = ()
    widths: tuple[int, ...] = ()
    empty: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "section": self.key,
            "title": self.title,
            "promises": list(self.promises),
            "sentences": list(self.sentences),
            "figures": dict(self.figures),
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "widths": list(self.widths),
            "empty": self.empty,
        }


def counted(number: int, one: str, several: str = "") -> str:
    """`1 set`, `12,345 sets`."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def joined(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`; `none` without any."""
    *first, last = list(words) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last
