"""Whether a destruction would still destroy what was approved (pure; design section 9).

What only vanished by a recorded act does not matter; what the plan does not list does, and so does what vanished unrecorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NAMED = 3

Document = Mapping[str, Any]


def still_holds(then: Document, now: Document) -> list[str]:
    """Why the approval of the plan `then` does not cover the plan `now`, a sentence each; empty when it does."""
    return [
        *_other_places(then, now),
        *(reason for name, place in now["locations"].items() for reason in _at(name, then["locations"].get(name), place)),
        *_rows(then, now),
        *_added("The upload storage has", then["uploads"], now["uploads"]),
        *_vanished("the upload storage", then["uploads"], now["uploads"]),
        *_added("Exports were made since:", map(str, then["exports"]), map(str, now["exports"])),
        *_added("Packages were made since:", then["packages"], now["packages"]),
    ]


def _other_places(then: Document, now: Document) -> Iterable[str]:
    for name in sorted(then["locations"].keys() ^ now["locations"].keys()):
        verb = "is new" if name in now["locations"] else "is named no more"
        yield f"The location {name} {verb} since the approval."
    for name, place in now["locations"].items():
        before = then["locations"].get(name)
        if before is not None and before["url"] != place["url"]:
            yield f"The location {name} has another address than at the approval."
    yield from _added("Locations that nobody can look at have copies:", then["out_of_reach"], now["out_of_reach"])


def _at(name: str, then: Document | None, now: Document) -> Iterable[str]:
    if then is None:
        return  # said already
    for kind in ("objects", "keys", "hidden"):
        yield from _added(f"{name} holds", then[kind], now[kind])
    new_segments = sorted(set(now["segments"]) - set(then["segments"]))
    if new_segments:
        yield f"{name} holds sections in {_some(map(str, new_segments))} that the plan does not list."
    gone = sorted(set(now["missing"]) - set(then["missing"]))
    if gone:
        yield f"{name} lacks {_some(gone)} although it was stored there, and no recorded act removed it."


def _rows(then: Document, now: Document) -> Iterable[str]:
    """Rows went only by a purge, which has its rows and leaves the journal's."""
    purged = now["purges"] > then["purges"]
    for kind in ("live", "history"):
        for label in sorted(then[kind].keys() | now[kind].keys()):
            before, after = then[kind].get(label, 0), now[kind].get(label, 0)
            if after > before:
                yield f"{label} has {after - before:,} {kind} rows more than at the approval: somebody wrote around the freeze."
            elif after < before and not purged:
                yield f"{label} has {before - after:,} {kind} rows less than at the approval, and no purge removed them."
    if now["journal"] != then["journal"] or now["newest"] != then["newest"]:
        yield "The journal of the customer is not what it was at the approval: changes were added or removed."
    if now["content"] != then["content"] and not purged:
        yield "Rows of the customer were written around the freeze: their newest versions are not those of the approval."


def _added(what: str, then: Iterable[str], now: Iterable[str]) -> Iterable[str]:
    new = sorted(set(now) - set(then))
    if new:
        yield f"{what} {_some(new)}, which the plan does not list."


def _vanished(where: str, then: Iterable[str], now: Iterable[str]) -> Iterable[str]:
    gone = sorted(set(then) - set(now))
    if gone:
        yield f"{where[0].upper()}{where[1:]} lacks {_some(gone)}, which the plan lists and no recorded act removed."


def _some(names: Iterable[str]) -> str:
    found = list(names)
    shown = ", ".join(found[:NAMED])
    return f"{shown} and {len(found) - NAMED:,} more" if len(found) > NAMED else shown
