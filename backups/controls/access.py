"""P5: whether somebody looks, each quarter, at who may do what, and at who could reach the data without us."""

from __future__ import annotations

from datetime import datetime

from django.utils.timezone import localdate

from audit.controls import Control, Flaw, Measured, judged
from audit.promises import Standing
from audit.reviews import reviewing
from audit.reviews.quarters import quarter_of
from backups.models import Location


def measure_review(now: datetime) -> Measured:
    """The newest quarter that is over: reviewed, and everything attested that this program cannot list."""
    quarter, since = quarter_of(now).before, reviewing.owed_since()
    if since is None or quarter < since:
        return judged("no quarter is over yet", value=0)
    places = list(Location.objects.filter(in_force=True).values_list("name", flat=True))
    duty = reviewing.duty(quarter, places)
    lacking = int(not duty.reviewed) + len(duty.unattested)
    said = "reviewed" if duty.reviewed else "not reviewed"
    figure = f"{quarter}: rights {said}, {len(duty.unattested)} attestations lacking"
    if duty.done:
        return judged(figure, value=0)
    state = Standing.BROKEN if localdate(now) > quarter.due_on else Standing.AT_RISK
    text = f"{quarter} was to be reviewed by {quarter.due_on:%-d %b %Y}, and {lacking} of its duties lack."
    return judged(figure, [Flaw(state, text, "Review of access says what lacks.")], lacking)


CONTROLS = (
    Control(
        name="access_review",
        promise="P5",
        title="Access reviewed each quarter",
        threshold=(
            "At risk: the quarter that is over is not reviewed and attested. Broken: nor 14 days after its end. Whoever signs off first "
            "needs a second person for their own row."
        ),
        unit="duties lacking",
        measure=measure_review,
        evidence="admin:l2l_audit_accessreview_changelist",
        populations=("access_reviews", "attestations"),
    ),
)
