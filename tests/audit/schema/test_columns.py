"""From old columns to today's (pure): what is lost, what is called otherwise, and which registered steps lead there."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import upgrades
from audit.schema.describing import digest_of, shape_digest
from audit.schema.lineage import Lineage
from audit.schema.losses import losses
from audit.upgrades import NoUpgrade, Step, path, upgraded

STREAM = uuid.UUID(int=7)


def column(name: str, kind: str = "text", *, null: bool = False, places: int | None = None) -> dict[str, Any]:
    return {"name": name, "kind": kind, "null": null} | ({} if places is None else {"places": places})


def model(*columns: dict[str, Any]) -> dict[str, Any]:
    return {"history": list(columns), "rows": list(columns)}


@pytest.mark.parametrize(
    ("then", "now", "renamed", "lost"),
    [
        ([column("a")], [column("a"), column("b")], {}, []),
        ([column("a")], [column("a", null=True)], {}, []),
        ([column("a", null=True)], [column("a")], {}, ["a"]),  # filled where there was nothing
        ([column("a")], [], {}, ["a"]),
        ([column("a")], [column("b")], {"a": "b"}, []),
        ([column("a")], [column("b")], {}, ["a"]),
        ([column("n", "decimal", places=2)], [column("n", "decimal", places=4)], {}, []),
        ([column("n", "decimal", places=4)], [column("n", "decimal", places=2)], {}, ["n"]),
        ([column("n", "integer")], [column("n", "text")], {}, []),
        ([column("n", "text")], [column("n", "integer")], {}, ["n"]),
    ],
)
def test_what_todays_rows_cannot_give_back_is_lost(then: Any, now: Any, renamed: dict[str, str], lost: list[str]) -> None:
    assert losses({"app.x": model(*then)}, {"app.x": model(*now)}, {"app.x": renamed}) == ({"app.x": lost} if lost else {})


def test_a_model_that_is_gone_is_lost_whole_and_a_new_one_loses_nothing() -> None:
    assert losses({"app.x": model(column("a"))}, {"app.y": model(column("a"))}, {}) == {"app.x": ["*"]}


def versions(*steps: dict[str, str], first: tuple[str, ...] = ("a", "b", "c"), **said: Any) -> list[dict[str, Any]]:
    """Version 1 with these columns, and one more for each step of renames."""
    names, found = list(first), []
    for number, renames in enumerate(({}, *steps), start=1):
        names = [renames.get(name, name) for name in names]
        about = {"number": number, "lost": {}, "heads": {}, "unproved": {}, **said.get(f"v{number}", {})}
        found.append({**about, "models": {"app.x": model(*map(column, sorted(names)))}, "renamed": {"app.x": renames}})
    return found


@given(st.lists(st.permutations("abcdef"), min_size=1, max_size=5), st.integers(0, 5))
def test_a_column_is_found_under_its_newest_name(orders: list[list[str]], since: int) -> None:
    """Each version renames three columns at random, swaps and cycles among them."""
    names = ["a", "b", "c"]
    steps, past = [], [tuple(names)]
    for order in orders:
        step = dict(zip(names, order[:3], strict=True))
        names = [step[name] for name in names]
        steps.append({old: new for old, new in step.items() if old != new})
        past.append(tuple(names))
    lineage, then = Lineage(versions(*steps)), past[min(since, len(past) - 1)]
    at = max(at for at, one in enumerate(past) if set(one) == set(then))
    found = lineage.names("app.x", shape_digest([column(name) for name in sorted(then)]))
    assert {found.get(name, name): name for name in past[at]} == dict(zip(names, past[at], strict=True))


def test_a_signed_head_vouches_for_what_a_version_took_away_and_for_nothing_else() -> None:
    heads = {str(STREAM): [5, "d" * 64]}
    lineage = Lineage(versions({}, v2={"lost": {"app.x": ["a"]}, "heads": heads, "unproved": {str(STREAM): [3]}}))
    assert [lineage.vouching("app.x", STREAM, number) for number in (1, 3, 5, 6)] == [2, None, 2, None]
    assert lineage.vouching("app.y", STREAM, 1) is None and lineage.vouching("app.x", uuid.UUID(int=8), 1) is None
    assert lineage.heads(STREAM) == {5: "d" * 64} and lineage.heads(uuid.UUID(int=8)) == {}


def step(takes: dict[str, str], gives: dict[str, str], function: Any = dict) -> Step:
    return Step("app.x", "step", takes, gives, function)


def test_steps_are_taken_in_their_order_and_only_where_they_fit() -> None:
    renamed = step({"a": "text"}, {"b": "text"}, lambda row: {**row, "b": row["a"]})
    filled = step({}, {"c": "integer"}, lambda row: {**row, "c": len(row["b"])})
    dropped = step({"d": "text"}, {}, dict)
    known, now = [renamed, filled, dropped], [column("b"), column("c", "integer")]
    for then, row, found in (
        ([column("a"), column("d")], {"a": "xyz", "d": ""}, [renamed, filled, dropped]),
        ([column("b")], {"b": "xyz"}, [filled]),
        ([column("b"), column("c", "integer")], {"b": "xyz", "c": 3}, []),
    ):
        assert path("app.x", then, now, known) == found
        assert json.loads(upgraded(found, json.dumps(row).encode(), now)) == {"b": "xyz", "c": 3}


def test_what_no_step_leads_to_is_named_with_how_to_register_it() -> None:
    with pytest.raises(NoUpgrade, match=r"had a \(decimal\(2\)\).*lacked b \(text\).*@audit.upgrade\(\"app.x\""):
        path("app.x", [column("a", "decimal", places=2)], [column("b")], [])
    other = Step("app.y", "other", {"a": "text"}, {"b": "text"}, dict)
    with pytest.raises(NoUpgrade):
        path("app.x", [column("a")], [column("b")], [other])


def test_a_step_that_does_not_keep_its_word_and_an_empty_column_are_refused() -> None:
    with pytest.raises(NoUpgrade, match="gives no b"):
        upgraded([step({"a": "text"}, {"b": "text"})], b'{"a":"x"}', [column("b")])
    with pytest.raises(NoUpgrade, match="no value in b"):
        upgraded([], b'{"b":null}', [column("b")])
    with pytest.raises(TypeError):
        upgrades.upgrade("app.x")


def test_versions_are_told_apart_by_their_columns() -> None:
    assert digest_of({"app.x": model(column("a"))}) != digest_of({"app.x": model(column("a", null=True))})
