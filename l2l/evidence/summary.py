"""The pack on paper, by criteria of SOC 2: what was promised, what is listed, what did not go as promised, how the controls stood (P13).

It says what the verifier says, for it asks the verifier's own functions, of the same files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit import controls
from audit.moments import in_utc_to_the_second
from audit.populations import Reconciled
from audit.printing import Document
from audit.promises import PROMISES, Promise, Standing
from l2l.evidence.packing import Unfinished
from l2l.evidence.verify_evidence import answers
from l2l.evidence.writing import Listed

BACKED_UP, TESTED, KEPT, DESTROYED, CONTROLLED = range(5)
MOST_EXCEPTIONS = 60


@dataclass(frozen=True, slots=True)
class Criterion:
    """Trust services criterion: its number, what it asks for in short, and the auditor's questions that bear on it."""

    number: str
    asks: str
    questions: tuple[int, ...] = ()

    @property
    def promises(self) -> list[Promise]:
        return [one for one in PROMISES.values() if any(self._covers(name) for name in one.criteria)]

    def _covers(self, name: str) -> bool:
        """CC7 covers CC7.1 to CC7.5."""
        return name == self.number or name.startswith(f"{self.number}.")


CRITERIA = (
    Criterion("A1.2", "Backups and what is needed for recovery are designed, run and watched over.", (BACKED_UP, KEPT)),
    Criterion("A1.3", "Recovery is tested.", (TESTED,)),
    Criterion("C1.1", "Confidential information is kept, and protected, as long as it has to be.", (KEPT,)),
    Criterion("C1.2", "Confidential information is disposed of when it is due.", (DESTROYED,)),
    Criterion("CC6.1", "Only those get in who should."),
    Criterion("CC6.2", "Access is given when it is authorised, and taken away."),
    Criterion("CC6.3", "Access follows from roles; no one person can do alone what destroys."),
    Criterion("CC6.5", "Protection ends only when data can no longer be read.", (DESTROYED,)),
    Criterion("CC7", "Deviations are seen, judged, answered and mended.", (CONTROLLED,)),
)

Answer = tuple[str, str, list[str]]


def paper(said: Unfinished, lists: Sequence[Listed], sample: bool) -> bytes:
    """The PDF of a pack of which everything but this paper and the manifest stands."""
    period, found = said.manifest["period"], list(answers(said))
    document = Document(
        f"Evidence from {period['first']} to {period['last']}",
        sample=sample,
        foot=("This paper sums up an evidence pack, whose signed manifest is the authority.", f"Pack {said.manifest['id']}"),
    )
    document.facts(_about(said, lists))
    document.heading("The auditor's questions")
    document.table(("question", "answer", "exceptions"), [(one, told, _number(names)) for one, told, names in found], (4, 7, 2))
    stood = _stood(said)
    for criterion in CRITERIA:
        _add(document, criterion, lists, found, stood)
    document.heading("Equations")
    document.paragraph("Each list was counted in other ways too. Those that hold are summed up; those that do not are named.", small=True)
    document.table(("list", "rows", "equations", "hold"), [_equations(one) for one in lists], (3, 2, 2, 2))
    misfits = [_misfit(one, bad) for one in lists for bad in one.unreconciled]
    document.table(("list", "does not add up", "expected", "found"), misfits, (2, 7, 2, 2))
    return document.pdf()


def _about(said: Unfinished, lists: Sequence[Listed]) -> list[tuple[str, str]]:
    manifest, period = said.manifest, said.manifest["period"]
    unreconciled = sum(len(one.unreconciled) for one in lists)
    return [
        ("Period", f"{period['first']} to {period['last']}, both included; days and nights of {period['zone']}"),
        ("Made", in_utc_to_the_second(datetime.fromisoformat(manifest["made_at"]))),
        ("Software", manifest["software"]),
        ("Seed of the sample", manifest["seed"]),
        ("Versions of the policy", ", ".join(str(one) for one in manifest["policy_versions"]) or "none"),
        ("Evidence trail", _events(manifest["evidence"])),
        ("Adds up", "yes" if not unreconciled else f"NO: {unreconciled} equations do not hold; they are named at the end"),
    ]


def _events(span: Mapping[str, Any]) -> str:
    first, last = span["after"] + 1, span["last"]
    return f"events {first:,} to {last:,}, between signed heads" if first <= last else "no event in the period"


def _number(names: Sequence[str]) -> str:
    return "none" if not names else f"{len(names):,}"


def _add(
    document: Document, criterion: Criterion, lists: Sequence[Listed], found: Sequence[Answer], stood: Mapping[str, Counter[str]]
) -> None:
    promises = criterion.promises
    numbers = {one.number for one in promises}
    document.heading(f"{criterion.number} · {criterion.asks}")
    document.listed(f"{one.number}: {one.sentence}" for one in promises)
    proving = [one for one in lists if numbers & set(one.population.promises)]
    document.table(("list", "what is in it", "rows", "sample"), [_list(one) for one in proving], (3, 7, 2, 2))
    document.table(("control", "promise", "kept, hours", "at risk", "broken"), _controls(numbers, stood), (5, 2, 2, 2, 2))
    for question, answer, names in (found[number] for number in criterion.questions):
        document.paragraph(f"{question} {answer}")
        document.listed(names[:MOST_EXCEPTIONS] or ["No exceptions."])
        if len(names) > MOST_EXCEPTIONS:
            document.listed([f"and {len(names) - MOST_EXCEPTIONS:,} more: the verifier names all of them"])


def _list(one: Listed) -> tuple[str, ...]:
    return one.population.name, one.population.title, f"{one.count:,}", f"{len(one.sample)}"


def _controls(numbers: set[str], stood: Mapping[str, Counter[str]]) -> list[tuple[str, ...]]:
    return [
        (one.title, one.promise, *(f"{stood[one.name][state.value]:,}" for state in Standing))
        for one in controls.all_controls()
        if one.promise in numbers and one.name in stood
    ]


def _stood(said: Unfinished) -> dict[str, Counter[str]]:
    """Of each control in how many hours it was kept, at risk, broken, each hour by its worst minute."""
    stood: dict[str, Counter[str]] = {}
    for row in said.rows("controls/readings.csv"):
        stood.setdefault(row["control"], Counter())[row["worst"]] += 1
    return stood


def _equations(one: Listed) -> tuple[str, ...]:
    return one.population.name, f"{one.count:,}", f"{len(one.reconciled)}", f"{len(one.reconciled) - len(one.unreconciled)}"


def _misfit(one: Listed, bad: Reconciled) -> tuple[str, ...]:
    return one.population.name, bad.says, f"{bad.expected:,}", f"{bad.found:,}"
