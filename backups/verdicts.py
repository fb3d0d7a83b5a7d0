"""What the nightly proof found, in counts and in words (pure: no Django, no clock; P8). Names and keys, never values of columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Of a thousand rows that one statement changed the first fifty tell enough.
TOLD = 50
CALLED = 80
CHAIN = "chain"
# A kind of fault, as it is said of one row; `{fields}` are the names of its fields that differ, `{image}` its newest history row.
WORDS = {
    "altered": "{fields} differ{s} from its newest history row ({image})",
    "unknown": "it is there, and no history row tells of it",
    "back": "it is there, though history says that it was deleted ({image})",
    "gone": "it is gone, though history tells of no deletion (its newest history row is {image})",
}
WHAT_TO_DO = (
    "Somebody wrote to the database without history. Find out who (the database's own log, who has its password). Where history is right, "
    "put the row back as history has it. Where the row itself is right, save it again in the back office with the reason, so that "
    "history tells of it. Where history or journal was changed, put those rows back from the newest set that was proved. "
    "“manage.py verify_audit” names every row; the next backup proves it anew."
)


@dataclass(slots=True)
class Verdict:
    """`counts` of rows by kind of fault, and of changes under `chain`; `changes` numbers were recomputed, those after `after`. Of `vouched`
    among them a migration took content away: a head that was signed before it stands for them."""

    after: int = 0
    changes: int = 0
    vouched: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)

    @property
    def proved(self) -> bool:
        return not self.counts

    @property
    def result(self) -> str:
        return "proved" if self.proved else "broken"

    @property
    def text(self) -> str:
        """A line for each of the first faults, and how many there are more."""
        more = self.counts.total() - len(self.lines)
        return "\n".join([*self.lines, *([f"and {more:,} more"] if more > 0 else [])])

    @property
    def document(self) -> dict[str, Any]:
        """As the envelope has it."""
        found = {"result": self.result, "after": self.after, "changes": self.changes, "faults": dict(sorted(self.counts.items()))}
        return found | ({"vouched": self.vouched} if self.vouched else {})

    def count_rows(self, counts: Mapping[Any, int]) -> None:
        self.counts.update({str(fault): count for fault, count in counts.items()})

    def tell_row(self, model: str, fault: str, key: str, reference: str, image: int | None, fields: Iterable[str] = ()) -> None:
        """One row that was counted, by what people call it."""
        names = sorted(fields)
        what = WORDS[fault].format(fields=", ".join(names), image=image, s="s" if len(names) == 1 else "")
        called = f" ({reference:.{CALLED}})" if reference and reference != key else ""
        self._tell(f"{model} {key:.{CALLED}}{called}: {what}")

    def tell_chain(self, what: str, number: int | None, model: str = "", key: str = "", history_id: int | None = None) -> None:
        """One change that does not fit."""
        self.counts[CHAIN] += 1
        row = f" ({model}{' ' + key if key else ''}, history row {history_id})" if model else ""
        self._tell(f"{'the chain' if number is None else f'change {number}'}{row}: {what}")

    def _tell(self, line: str) -> None:
        if len(self.lines) < TOLD:
            self.lines.append(line)
