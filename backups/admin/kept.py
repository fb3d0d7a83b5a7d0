"""What is kept of one customer, as a picture: years of months, weeks and nights, each opening its set (P6). Reading only."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import NoReverseMatch, reverse

from audit import clock
from audit.admin import BackOfficeAdmin
from audit.models import Stream
from audit.registry import SYSTEM_STREAM
from backups import policies
from backups.ledger import reading
from backups.ledger.picture import LOOKS, REMOVED_MARK, Cell, Counts, Says, plain
from backups.ledger.reading import Kept, Ledger
from backups.models import BackupPolicy
from backups.prune import clock_doubt
from backups.slots import Tier
from subscriptions.admin import of_visible_customers

NEXT_SHOWN = 12
LEGEND = (
    (Says.FILLED, "a good set of that very time"),
    (Says.LATE, "filled after its night was over"),
    (Says.STOOD_IN, "the nearest good set, for there was none of that time"),
    (Says.MISSED, "no set"),
    (Says.EXCUSED, "a person excused it"),
    (Says.OWED, "not over, or not decided yet"),
    (Says.ASKED, "made though none was owed"),
)
# Sign, word, look, the number's name in `Counts`, and its badge where it is not nought.
COLUMNS = (
    ("=", "filled", LOOKS[Says.FILLED], "filled", ""),
    ("+", "late", LOOKS[Says.LATE], "late", "warn"),
    ("+", "stood in for", LOOKS[Says.STOOD_IN], "stood_in", "warn"),
    ("+", "missed", LOOKS[Says.MISSED], "missed", "bad"),
    ("+", "excused", LOOKS[Says.EXCUSED], "excused", ""),
    ("", "not over yet", LOOKS[Says.OWED], "still", ""),
    ("", "removed since", ("good bo-gone", REMOVED_MARK), "removed", ""),
)
TIERS = ((Tier.MONTH, "Months"), (Tier.WEEK, "Weeks"), (Tier.NIGHT, "Nights"))
SEES_RUNS = "l2l_backups.view_run"


@dataclass(frozen=True, slots=True)
class Shown:
    """A cell, and the page that it opens."""

    cell: Cell
    href: str = ""


class KeptPages(BackOfficeAdmin):
    """The page below the list of sets, for each stream that a person may see."""

    def get_urls(self) -> list[Any]:
        return [self.view_path("kept/<uuid:stream>/", self.kept_view, "kept"), *super().get_urls()]

    def kept_view(self, request: HttpRequest, stream: uuid.UUID) -> HttpResponse:
        """The picture, why nothing goes where nothing goes, and what goes next."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = of_visible_customers(request.user, Stream.objects.filter(pk=stream), "pk").first()
        if found is None:
            raise Http404("There is no such customer.")
        now = clock.now()
        if not policies.versions():
            return self.page(request, "back_office/kept.html", f"What is kept of {found.name}", stream=found, no_policy=True)
        year = _year(request.GET.get("nights"))
        ledger = reading.read(found.pk, now, nights_of=year)
        return self.page(request, "back_office/kept.html", f"What is kept of {found.name}", **self._context(request, found, ledger, year))

    def _context(self, request: HttpRequest, stream: Stream, ledger: Ledger, year: int | None) -> dict[str, Any]:
        now, may_see_runs = clock.now(), request.user.has_perm(SEES_RUNS)
        picture = ledger.picture

        def shown(cells: Iterable[Cell]) -> list[Shown]:
            return [Shown(cell, self._opens(cell, may_see_runs)) for cell in cells]

        return {
            "stream": stream,
            "ledger": ledger,
            "term": ledger.decided.facts.term,
            "held": ledger.decided.facts.held,
            "holds_url": _holds_url(request.user, stream),
            "policy_url": policy_url(request.user, ledger.policy.number),
            "customer_url": customer_url(request.user, stream),
            "doubts": clock_doubt.standing(now),
            "weekly": ledger.kept_by(Tier.WEEK),
            "monthly": ledger.kept_by(Tier.MONTH),
            "next": ledger.sets[0] if ledger.sets else None,
            "goes_next": [(one, words_of(one)) for one in ledger.sets[:NEXT_SHOWN]],
            "more_sets": max(len(ledger.sets) - NEXT_SHOWN, 0),
            "years": [(one.number, shown(one.months), shown(one.weeks)) for one in picture.years],
            "month_names": [cell.label for cell in picture.years[0].months] if picture.years else [],
            "nights": [(month.name, [shown(week) for week in month.weeks]) for month in picture.months],
            "nights_year": year,
            "legend": [(says.value, LOOKS[says], words) for says, words in LEGEND],
            "removed_mark": REMOVED_MARK,
            "columns": [(sign, word, look) for sign, word, look, _, _ in COLUMNS],
            "counts": [(name, picture.counts[tier].owed, _numbers(picture.counts[tier])) for tier, name in TIERS],
        }

    def _opens(self, cell: Cell, may_see_runs: bool) -> str:
        if cell.set_id:
            return self.url("change", cell.set_id)
        if cell.run is not None and may_see_runs:
            return reverse("admin:l2l_backups_run_change", args=[cell.run])
        return f"?nights={cell.year}#nights" if cell.year and cell.says is not Says.NOTHING else ""


def words_of(kept: Kept) -> tuple[str, str]:
    """Why age keeps it, and what keeps it beyond; the latter is empty for a set that simply goes on its date."""
    dated = "; ".join(dict.fromkeys(plain(reason.words) for reason in kept.decision.reasons if reason.until is not None))
    beyond = "; ".join(dict.fromkeys(reason.words for reason in kept.undated))
    return dated or plain(kept.decision.why_it_goes), beyond


def _numbers(counts: Counts) -> list[tuple[int, str]]:
    return [(getattr(counts, name), badge) for _, _, _, name, badge in COLUMNS]


def _year(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and 1970 <= int(text) <= 9000 else None


def kept_url(stream: Any) -> str:
    """Where the picture of that stream is."""
    return reverse("admin:l2l_backups_backupset_kept", args=[stream])


def customer_url(user: Any, stream: Stream) -> str:
    """The customer's own page; empty for the system stream, and for whoever may not see customers."""
    if stream.pk == SYSTEM_STREAM or not user.has_perm("l2l_subscriptions.view_customer"):
        return ""
    try:
        return reverse("admin:l2l_subscriptions_customer_overview", args=[stream.pk])
    except NoReverseMatch:
        return ""  # another project's admin has no such page


def _holds_url(user: Any, stream: Stream) -> str:
    if not user.has_perm("l2l_subscriptions.view_legalhold"):
        return ""
    return f"{reverse('admin:l2l_subscriptions_legalhold_changelist')}?customer={stream.pk}"


def policy_url(user: Any, number: int | None) -> str:
    """The page of that version of the policy, for whoever may see it."""
    if number is None or not user.has_perm("l2l_backups.view_backuppolicy"):
        return ""
    pk = BackupPolicy.objects.filter(number=number).values_list("pk", flat=True).first()
    return reverse("admin:l2l_backups_backuppolicy_change", args=[pk]) if pk is not None else ""
