"""The plan of a destruction as people see it before they approve it, and the steps while it is carried out (P12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Max

from audit.admin import refusal_text
from audit.errors import AuditError
from backups import vault as vaults
from backups.destroy import planning
from backups.destroy.planning import Plan
from backups.errors import BackupError
from backups.models import DestructionStep, DestructionTry
from backups.stores.contract import StoreError
from subscriptions.models import DeletionRequest

REFUSED: tuple[type[Exception], ...] = (BackupError, StoreError, AuditError, OSError)


@dataclass(frozen=True, slots=True)
class Line:
    """So many of one kind in one place; `bytes` 0 where they are not counted."""

    what: str
    where: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PlanShown:
    """A plan made just now, or why none can be made."""

    trouble: str = ""
    plan: Plan | None = None
    lines: list[Line] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return self.plan.digest if self.plan else ""

    @property
    def stays(self) -> list[list[str]]:
        return self.plan.document["stays"] if self.plan else []

    @property
    def missing(self) -> list[tuple[str, int]]:
        """By location the durable copies that are not there, so that something removed them without a record."""
        found = self.plan.document["locations"] if self.plan else {}
        return [(name, len(place["missing"])) for name, place in found.items() if place["missing"]]


def plan_shown(ending: DeletionRequest) -> PlanShown:
    """Every location is listed for it, as for the real run."""
    try:
        plan = planning.plan_of(vaults.from_settings(), ending)
    except REFUSED as refusal:
        return PlanShown(trouble=refusal_text(refusal))
    return PlanShown(plan=plan, lines=[Line(*line) for line in plan.summary()])


@dataclass(frozen=True, slots=True)
class StepShown:
    """One step at one place, with its colour."""

    step: Any
    standing: str
    kind: str


def carried_out(ending: DeletionRequest) -> dict[str, Any]:
    """The steps of the newest round, the looks afterwards, and what the destroyer last met. Nothing before the point of no return."""
    last = ending.steps.aggregate(newest=Max("round"))["newest"]
    return {
        "steps": list(_steps(ending.steps.filter(round=last).order_by("pk"))) if last else [],
        "round": last,
        "sweeps": list(ending.sweeps.order_by("swept_at")),
        "newest_look": DestructionTry.objects.filter(pk=ending.pk).first(),
        "plans": list(ending.plans.defer("packed")),
    }


def _steps(rows: Any) -> Iterator[StepShown]:
    row: DestructionStep
    for row in rows:
        if row.done_at is not None:
            yield StepShown(row, "written" if row.step == DestructionStep.Step.MARKER else "gone", "good")
        elif row.trouble:
            yield StepShown(row, "waits", "bad")
        else:
            yield StepShown(row, "under way", "info")
