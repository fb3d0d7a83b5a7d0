"""What the statement says of the data that was taken out of the backups or left the system: who, why, when (P14; design section 8)."""

from __future__ import annotations

from collections.abc import Iterable

from backups.models import LiveRestore, LiveRestoreRequest
from l2l.reports.guarded import Asked
from l2l.reports.sections import Section
from subscriptions.models import Export


def exports(about: Asked) -> Section:
    found = list(about.of(Export.objects.filter(customer=about.customer), "made_at").order_by("made_at", "pk"))
    return Section(
        "exports",
        "What was taken out",
        ("P14", "P5"),
        ("Every restore, package, report and statement that left the system in the period, and whether our copy is gone.",),
        {"taken out": len(found), "of it still with us": sum(one.removed_at is None for one in found)},
        ("when", "what", "by", "why", "our copy"),
        [
            (
                about.when(one.made_at),
                one.what or "–",
                one.by,
                one.reason or "no reason was given",
                f"gone since {about.when(one.removed_at)}" if one.removed_at else f"to be removed by {about.when(one.expires_at)}",
            )
            for one in found
        ],
        (36, 44, 22, 38, 34),
        "Nothing left the system in the period.",
    )


def live_restores(about: Asked) -> Section:
    asked = LiveRestoreRequest.objects.filter(customer=about.customer).select_related("requested_by", "approved_by", "carrying_out")
    found = list(about.of(asked, "requested_at").order_by("requested_at"))
    return Section(
        "live restores",
        "Restores into your live data",
        ("P14", "P5"),
        ("Asked for by one person and approved by another; each row that it changes is a tracked change.",),
        columns=("asked", "state of", "by", "approved by", "why", "what became of it"),
        rows=[
            (
                about.when(one.requested_at),
                about.when(one.state_at),
                one.requested_by.get_username(),
                one.approved_by.get_username() if one.approved_by else "–",
                one.why,
                _outcome(one),
            )
            for one in found
        ],
        widths=(34, 34, 20, 22, 34, 30),
        empty="None was asked for in the period.",
    )


def _outcome(asked: LiveRestoreRequest) -> str:
    done: LiveRestore | None = getattr(asked, "carrying_out", None)
    return done.get_state_display() if done is not None else asked.state


def all_of(about: Asked) -> Iterable[Section]:
    yield exports(about)
    yield live_restores(about)
