"""The digest in plain words and short tables (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from audit.moments import in_utc
from audit.sizes import in_units
from l2l.digest.figures import Figures, Kept, Place

COLUMNS = {
    "filled": "filled",
    "late": "filled late",
    "not_everywhere": "not yet everywhere",
    "waiting": "waiting",
    "running": "running",
    "missed": "missed",
    "failed": "failed",
    "stopped": "stopped",
    "paused": "paused",
    "excused": "excused",
}


def subject_of(figures: Figures) -> str:
    """`L2L week: all promises kept`, or what is not."""
    parts = [f"{len(some)} {word}" for some, word in ((figures.broken, "broken"), (figures.at_risk, "at risk")) if some]
    parts += [f"{len(figures.unmeasured)} not measured"] if figures.unmeasured else []
    return f"L2L week: {', '.join(parts) if parts else 'all promises kept'}"


def text_of(figures: Figures, anchors: Sequence[dict[str, Any]], service: str) -> str:
    """All of it; `anchors` are the signed documents of the days, the newest of which stands in the text whole."""
    return "\n\n".join(block for block in _blocks(figures, anchors, service) if block) + "\n"


def _blocks(figures: Figures, anchors: Sequence[dict[str, Any]], service: str) -> Iterator[str]:
    time = f"{in_utc(figures.begins)} to {in_utc(figures.ends)}"
    yield f"{_opening(figures)}\n{time}, {_count(figures.customers, 'customer')}.{_at(service)}"
    yield _titled("Promises", [line for one in figures.promises for line in _promise(one)])
    yield _titled("Breaks of the week", [f"{title}: {_times(count)}" for title, count in figures.breaks] or ["None."])
    yield _titled("Nights, tests, requests", _week(figures))
    yield _titled("Locations", [_place(one) for one in figures.places] or ["None is set."])
    yield _titled("Findings", _findings(figures))
    yield _titled("What nears", [f"{one}." for one in figures.nears] or ["Nothing within its time."])
    yield _titled("Signed heads over all chains", _anchors(anchors))


def _opening(figures: Figures) -> str:
    if figures.broken:
        return "Promises are broken: " + ", ".join(one.promise.number for one in figures.broken) + "."
    if figures.at_risk or figures.unmeasured:
        return "No promise is broken; not all are kept for certain."
    return "All promises are kept."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _at(service: str) -> str:
    return f"\n{service}" if service else ""


def _titled(title: str, lines: Iterable[str]) -> str:
    return "\n".join((title, "-" * len(title), *lines))


def _promise(one: Kept) -> Iterator[str]:
    yield f"{one.promise.number:<4}{(one.state.value if one.state else 'not measured').upper():<13}{one.promise.sentence}"
    for measure in one.measures:
        stale = ", NOT MEASURED OF LATE" if measure.stale else ""
        yield f"{'':<17}{measure.title}: {measure.figure} ({measure.state.value} since {in_utc(measure.since)}{stale})"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _week(figures: Figures) -> Iterator[str]:
    counts = [f"{figures.nights[name]:,} {word}" for name, word in COLUMNS.items() if figures.nights.get(name)]
    yield f"Nightly backups: {sum(figures.nights.values()):,} owed: {', '.join(counts) if counts else 'none'}; {figures.sets:,} sets made."
    passed, failed = figures.tests.get("passed", 0), figures.tests.get("failed", 0)
    yield f"Test restores: {passed:,} passed, {failed:,} failed; {figures.tests_late:,} overdue."
    under_way = ", ".join(f"{count:,} {state}" for state, count in sorted(figures.requests.items())) or "none under way"
    yield f"Ends of customers: {under_way}; {figures.destroyed:,} destroyed in this time."
    yield f"Alarms that stand: {figures.alarms:,}."


def _place(one: Place) -> str:
    kind = "offsite" if one.offsite else "near"
    trouble = "; OUT OF REACH" if one.trouble else ""
    if not one.objects:
        return f"{one.name} ({kind}): nothing read again yet{trouble}."
    return f"{one.name} ({kind}): {one.objects:,} objects, {in_units(one.bytes)}; {one.in_time:,} checked within their period{trouble}."


def _findings(figures: Figures) -> Iterator[str]:
    count = sum(number for _, number, _ in figures.findings)
    yield f"{count:,} open, {figures.overdue:,} overdue; {figures.opened:,} opened and {figures.closed:,} closed in this time."
    yield from (f"{label}: {number:,}, the first due on {due}" for label, number, due in figures.findings)


def _anchors(anchors: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not anchors:
        yield "None was made yet."
        return
    yield from (f"{one['day']}  {one['root']}  {one['chains']:,} chains moved" for one in anchors)
    yield ""
    yield "Keep this message: whoever rewrites what happened by then cannot rewrite it. 'manage.py verify_audit --anchor FILE' holds the"
    yield "database against it; FILE is the message as it was saved, or its attachment with the documents of all days. The newest one:"
    yield ""
    yield json.dumps(anchors[-1], indent=1, ensure_ascii=False)
