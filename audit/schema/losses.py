"""What a change of columns leaves of older history rows (pure): which columns an old digest covers that today's rows cannot give back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# A model that is gone with all of its history.
WHOLE = "*"
# Kinds of columns whose old value can be told from the new one.
_TOLD = {("integer", "text"), ("integer", "decimal"), ("boolean", "integer")}


def losses(
    before: Mapping[str, Mapping[str, Any]], behind: Mapping[str, Mapping[str, Any]], renamed: Mapping[str, Mapping[str, str]]
) -> dict[str, list[str]]:
    """By model: the columns of history whose values of before cannot be had any more, `*` for a model that is gone."""
    found: dict[str, list[str]] = {}
    for label, one in before.items():
        if label not in behind:
            found[label] = [WHOLE]
        elif names := _lost(one["history"], behind[label]["history"], renamed.get(label, {})):
            found[label] = names
    return found


def _lost(before: Sequence[Mapping[str, Any]], behind: Sequence[Mapping[str, Any]], renamed: Mapping[str, str]) -> list[str]:
    now = {column["name"]: column for column in behind}
    return sorted(one["name"] for one in before if not _is_kept(one, now.get(renamed.get(one["name"], one["name"]))))


def _is_kept(then: Mapping[str, Any], now: Mapping[str, Any] | None) -> bool:
    if now is None or (then["null"] and not now["null"]):  # gone, or filled where there was nothing
        return False
    if then["kind"] != now["kind"]:
        return (then["kind"], now["kind"]) in _TOLD
    return bool(now.get("places", 0) >= then.get("places", 0))
