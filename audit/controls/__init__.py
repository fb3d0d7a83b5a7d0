"""Controls: what is measured, minute by minute, to say whether a promise is kept (P13).

Each app registers its own in its `controls.py` when it is ready; nobody registers another's. A measurement is a handful of statements whose
number does not grow with the customers, quotes no content, and never raises for what it is there to tell of: a location that is away is a
figure. `measuring` measures all and keeps the newest state of each (`ControlState`) and each hour's (`Reading`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from audit.promises import PROMISES, Promise, Standing


@dataclass(frozen=True, slots=True)
class Measured:
    """What a control came to. `figure` in words with its unit ("2 of 120 customers"), `value` the same as a number for charts. `why` says
    what is not as promised, in ids and counts alone; `todo` what a person does about it. Both are empty while it is kept."""

    state: Standing
    figure: str
    value: float | None = None
    why: str = ""
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """One measured thing under one promise. `threshold` says in words from when on it is at risk and broken. `evidence` is the name of the
    page that shows it (`admin:...`), with `query` behind it; `populations` are the names of those that prove it over time."""

    name: str
    promise: str
    title: str
    threshold: str
    unit: str
    measure: Callable[[datetime], Measured]
    evidence: str
    query: str = ""
    populations: tuple[str, ...] = ()

    @property
    def promised(self) -> Promise:
        return PROMISES[self.promise]


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is not as promised, how bad it is, and what a person does about it. Ids and counts alone."""

    state: Standing
    why: str
    todo: str = ""


def judged(figure: str, flaws: Iterable[Flaw] = (), value: float | None = None) -> Measured:
    """The worst flaw decides; kept when there are none. All are told, the worst first, and each thing to do once."""
    found = sorted(flaws, key=lambda flaw: -flaw.state.rank)
    todos = dict.fromkeys(flaw.todo for flaw in found if flaw.todo)
    return Measured(found[0].state if found else Standing.KEPT, figure, value, " ".join(flaw.why for flaw in found), " ".join(todos))


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 set`, `1,200 sets`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


_registered: dict[str, Control] = {}


def register(control: Control) -> None:
    """Once per name. `ValueError` for a promise that there is not, or a name that is taken by another."""
    if control.promise not in PROMISES:
        raise ValueError(f"There is no promise {control.promise}.")
    if _registered.setdefault(control.name, control) != control:
        raise ValueError(f"There are two controls called {control.name}.")


def all_controls() -> list[Control]:
    """In the order of the promises."""
    order = list(PROMISES)
    return sorted(_registered.values(), key=lambda one: (order.index(one.promise), one.name))


def by_name(name: str) -> Control | None:
    return _registered.get(name)
