"""Beside the straight way: sections kept for others, a location that is used no more, the proof of the journal (P12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

import audit
from audit import journal_proof
from audit.two_person import ApprovalRefused
from backups import customerkeys, locations, signed_heads
from backups.choosing import At
from backups.destroy import steps
from backups.destroy.comparing import still_holds
from backups.errors import NotDestroyed, StreamEnded
from backups.hot import removal, segments, shipper, timelines
from backups.keys import rewrapping
from backups.models import DestructionStep, KeptSegment, Location, Segment
from backups.restore import restore
from backups.snapshot import snapshot
from backups.vault import Vault
from subscriptions.models import Customer, DataRecord, DeletionRequest
from tests.backups.conftest import Clock
from tests.backups.destroy.conftest import Approve, looked, state_of
from tests.backups.test_back_up import backed_up

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]

EMPTY: dict[str, Any] = {
    "locations": {"offsite": {"url": "x", "objects": {"a": 1}, "keys": {}, "hidden": [], "segments": [7], "missing": []}},
    "out_of_reach": {},
    "live": {"x.y": 2},
    "history": {"x.y": 3},
    "journal": 3,
    "newest": 3,
    "content": "c",
    "purges": 0,
    "uploads": {"u": 1},
    "exports": [],
    "packages": {},
}


def at_offsite(**changes: Any) -> dict[str, Any]:
    return EMPTY | {"locations": {"offsite": EMPTY["locations"]["offsite"] | changes}}


def test_what_only_vanished_holds_and_all_else_does_not() -> None:
    assert still_holds(EMPTY, EMPTY) == [] and still_holds(EMPTY, at_offsite(objects={}, segments=[])) == []
    for changed in (
        at_offsite(objects={"a": 1, "b": 1}),
        at_offsite(keys={"k": 1}),
        at_offsite(hidden=["version of a"]),
        at_offsite(segments=[7, 8]),
        at_offsite(objects={}, missing=["a"]),
        at_offsite(url="elsewhere"),
        EMPTY | {"locations": {}},
        EMPTY | {"out_of_reach": {"old": 3}},
        EMPTY | {"live": {"x.y": 3}},
        EMPTY | {"live": {"x.y": 1}},
        EMPTY | {"history": {"x.y": 4}},
        EMPTY | {"journal": 4},
        EMPTY | {"content": "d"},
        EMPTY | {"uploads": {}},
        EMPTY | {"uploads": {"u": 1, "v": 1}},
        EMPTY | {"exports": [1]},
    ):
        assert len(still_holds(EMPTY, changed)) == 1, changed
    purged = {"live": {"x.y": 1}, "history": {"x.y": 1}, "purges": 1, "content": "d"}
    assert still_holds(EMPTY, EMPTY | purged) == []


def shipped_together(vault: Vault, *customers: Customer) -> int:
    """The number of a segment with changes of all of them. A tick may take the one without the other: then there are more changes."""
    wanted = {str(customer.pk) for customer in customers}
    for attempt in range(40):
        for customer in customers:
            DataRecord.objects.create(customer=customer, kind="part", reference=f"together {attempt}")
        assert shipper.ship_once(vault) == []
        for segment in Segment.objects.order_by("-number"):
            if wanted <= {stream for stream, *_ in segment.sections}:
                return segment.number
    raise AssertionError("in 40 attempts no tick took both")


def test_what_is_kept_for_others_is_kept_without_it(
    acme: Customer,
    acme2: Customer,
    vault: Vault,
    clock: Clock,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: Any,
    request: pytest.FixtureRequest,
) -> None:
    """Both are in one kept segment, for neither had a set in time; by now the ended one has."""
    together = shipped_together(vault, acme, acme2)
    backed_up(vault, acme)
    monkeypatch.setattr(removal, "_covered", dict)
    clock.forward(days=3)
    with audit.acting("destroyer", reason="a test", source="test"):
        assert removal.remove_covered(vault, clock()).kept
    monkeypatch.undo()
    assert {stream for stream, _ in KeptSegment.objects.get(number=together).sections} == {str(acme.pk), str(acme2.pk)}
    request.getfixturevalue("approve")()
    looked(vault)
    for folder in folders.values():
        for path in (folder / "hot" / "kept").glob("*.tar"):
            index, _ = segments.read(path.read_bytes(), vault.fingerprint)
            assert index.of(str(acme.pk)) is None
    assert restore(vault.only("offsite"), acme2, tmp_path / "out", at=At(None)).good


def test_a_location_that_is_used_no_more_waits_for_a_persons_word(
    acme: Customer, received: DeletionRequest, vault: Vault, people: dict[str, User], approve: Approve
) -> None:
    from dataclasses import replace

    locations.sync_locations([locations.Named("primary", vault.places[0].store.url, False)])
    alone = replace(vault, places=vault.places[:1])
    from backups.destroy import planning

    plan = planning.plan_of(alone, received)
    assert plan.document["out_of_reach"]["offsite"]
    planning.approve(alone, received, seen=plan.digest, by=people["rita"], password="pw", code="acme", why="x", now=vault.clock())
    vault.clock.forward(hours=73)  # type: ignore[attr-defined]
    assert "names no more" in looked(alone).troubles["acme"]
    row = DestructionStep.objects.get(location="offsite")
    with pytest.raises(ApprovalRefused):
        steps.state_gone(row, by=people["ada"], why="shredded", now=vault.clock())
    steps.state_gone(row, by=people["rita"], why="the disk was shredded, protocol 12", now=vault.clock())
    assert looked(alone).gone == ["acme"]
    row.refresh_from_db()
    assert row.stated_by == "rita" and Location.objects.get(name="offsite").in_force is False


def test_only_a_location_of_which_nobody_can_look_takes_a_word(approved: DeletionRequest, vault: Vault, people: dict[str, User]) -> None:
    looked(vault)
    row = DestructionStep.objects.filter(location="offsite", step="objects").get()
    with pytest.raises(NotDestroyed):
        steps.state_gone(row, by=people["rita"], why="believe me", now=vault.clock())


def test_the_journal_is_excused_because_a_signed_marker_says_so(acme: Customer, approved: DeletionRequest, vault: Vault) -> None:
    looked(vault)
    ended = signed_heads.ended_streams(vault.places, vault.fingerprint, [])
    assert ended == {acme.pk}
    with snapshot() as moment:
        walk = journal_proof.Recomputation(moment.connection, timelines.forks(), ended=ended)
        assert not [one for one in walk.of_all() if one.stream == acme.pk]
        unexcused = journal_proof.Recomputation(moment.connection, timelines.forks())
        assert [one for one in unexcused.of_all() if one.stream == acme.pk]


def test_keys_are_neither_wrapped_nor_made_again(acme: Customer, approved: DeletionRequest, vault: Vault) -> None:
    assert acme.pk in rewrapping.pending(99)
    looked(vault)
    assert acme.pk not in rewrapping.pending(99)
    with pytest.raises(StreamEnded):
        customerkeys.refuse_destroyed(acme.pk)
    with pytest.raises(StreamEnded):
        customerkeys.refuse_ended(vault.places, acme.pk)


def test_the_shipper_goes_on_for_the_others(acme: Customer, acme2: Customer, approved: DeletionRequest, vault: Vault) -> None:
    DataRecord.objects.create(customer=acme2, kind="part", reference="after")
    assert shipper.ship_once(vault) == []
    looked(vault)
    vault.clock.forward(hours=1)  # type: ignore[attr-defined]
    assert shipper.ship_once(vault) == [] and state_of(approved) == "destroying"
