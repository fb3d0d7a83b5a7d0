"""A database that went back in time: before the new timeline began the old one counts, from then on the new one does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import models, transaction
from hypothesis import given
from hypothesis import strategies as st

from audit.chain import START, Head, following
from audit.models import ChainHead, JournalRow
from backups import vault as vaults
from backups.errors import Gap
from backups.hot import forks as timelines
from backups.hot import shipper
from backups.hot import timelines as shipping_timelines
from backups.hot.forks import BadTimeline, Fork, Leaving
from backups.hot.lanes import WentBack
from backups.hot.reading import OpenedSegment, followed
from backups.hot.sections import Change, Section
from backups.hot.segments import Index
from backups.models import HotState, Segment
from backups.vault import Vault
from subscriptions.models import DataRecord
from tests.backups.test_back_up import backed_up, read
from tests.backups.test_moments import MICROSECOND, Told, record, restored, restored_at

STREAM = "7c0f4d5e-0000-4000-8000-000000000001"
BEGAN = datetime(2026, 3, 4, tzinfo=UTC)


def forks(*leavings: tuple[int, int] | None) -> list[Fork]:
    """Timelines 2, 3 … a day apart: each (number of the fork, highest of the old line), None where the stream had not gone further."""
    return [
        Fork(
            timeline,
            BEGAN + timedelta(days=timeline),
            100 * timeline,
            {STREAM: Leaving(Head(one[0], f"{one[0]:064x}"), one[1])} if one else {},
        )
        for timeline, one in enumerate(leavings, start=2)
    ]


def test_a_moment_is_read_on_the_timeline_that_had_begun():
    known = forks((5, 9), None)
    assert timelines.in_force(known, BEGAN) == 1
    assert timelines.in_force(known, BEGAN + timedelta(days=2)) == 2
    assert timelines.in_force(known, BEGAN + timedelta(days=9)) == timelines.newest(known) == 3
    assert [timelines.of_segment(known, segment) for segment in (1, 199, 200, 300)] == [1, 1, 2, 3]


@pytest.mark.parametrize(
    ("of", "number", "on", "whether"),
    [(1, 9, 1, True), (1, 5, 2, True), (1, 6, 2, False), (2, 10, 2, True), (2, 10, 1, False), (2, 12, 3, True), (1, 6, 3, False)],
)
def test_which_changes_count(of: int, number: int, on: int, whether: bool) -> None:
    assert timelines.counts(forks((5, 9), None), STREAM, of=of, number=number, on=on) is whether
    assert timelines.counts(forks(None, None), STREAM, of=of, number=number, on=on) is (of <= on)


def change(number: int) -> Change:
    return Change(number, number, STREAM, "2026-03-04T02:05:00.000000Z", "app.model", f"{number:032x}", True, b'{"history_id":%d}' % number)


def line(head: Head, numbers: list[int], timeline: int, segment: int) -> OpenedSegment:
    """A segment with these changes, one after another from `head` on."""
    changes, after = [], head
    for number in numbers:
        changes.append(change(number))
        after = following(Head(number - 1, after.digest), changes[-1].leaf)
    section = Section(STREAM, segment, timeline, Head(numbers[0] - 1, head.digest), after, {}, changes)
    return OpenedSegment(Index(segment, 1, timeline, BEGAN, BEGAN, "test", ()), section)


@given(st.integers(0, 6), st.integers(1, 6), st.integers(1, 6), st.data())
def test_the_new_line_goes_on_from_the_fork(shared, lost, new, data):
    before = line(START, list(range(1, shared + 1)), 1, 1) if shared else None
    fork = before.section.head if before else START
    old = line(fork, list(range(shared + 1, shared + lost + 1)), 1, 2)
    following_ones = list(range(shared + lost + 1, shared + lost + new + 1))
    later = line(fork, following_ones, 2, 3)
    known = [Fork(2, BEGAN, 3, {STREAM: Leaving(fork, shared + lost)})]
    opened = [one for one in (before, old, later) if one]
    numbers = [link.change.number for stretch in followed(opened, START, stream=STREAM, forks=known, on=2) for link in stretch.links]
    assert numbers == [*range(1, shared + 1), *following_ones]
    numbers = [link.change.number for stretch in followed(opened, START, stream=STREAM, forks=known, on=1) for link in stretch.links]
    assert numbers == list(range(1, shared + lost + 1))
    if len(opened) == 3:
        without = data.draw(st.sampled_from([0, 2]))
        rest = [one for at, one in enumerate(opened) if at != without]
        if without == 0:
            with pytest.raises(Gap, match="missing before segment"):
                list(followed(rest, START, stream=STREAM, forks=known, on=1))


def test_a_line_that_does_not_follow_is_named():
    other = line(Head(3, "ab" * 32), [4, 5], 1, 7)
    with pytest.raises(Gap, match="change 3 has another digest"):
        list(followed([other], Head(3, "cd" * 32), stream=STREAM, forks=[], on=1))
    with pytest.raises(Gap, match="Changes 2 to 3 are missing before segment 7"):
        list(followed([other], Head(1, "cd" * 32), stream=STREAM, forks=[], on=1))


def test_a_document_of_another_timeline_does_not_count():
    document = {"format": 1, "kind": "timeline", "timeline": 2, "started_at": BEGAN.isoformat(), "first_segment": 3, "forks": {}}
    assert timelines.of_document(document, 2) == Fork(2, BEGAN, 3)
    for broken in (document | {"timeline": 3}, document | {"format": 2}, document | {"forks": {STREAM: [1]}}, {}):
        with pytest.raises(BadTimeline):
            timelines.of_document(broken, 2)


@pytest.fixture
def hot(acme: Any, make_vault: Callable[..., Vault], folders: dict[str, Path]) -> Vault:
    """A vault whose clock goes with the database's, as the shipper needs it."""
    from backups.stores.folder import FolderStore

    return replace(make_vault(**{name: FolderStore(folder) for name, folder in folders.items()}), clock=vaults.clock)


def go_back(customer: Any, number: int, segment: int) -> None:
    """The database as it was when `number` was the customer's newest change and `segment` the newest segment."""
    lost = JournalRow.objects.filter(stream=customer.pk, number__gt=number)
    history = models.QuerySet(DataRecord.history.model).filter(history_id__in=lost.values("history_id"))
    with transaction.atomic():
        keys = list(history.values_list("id", flat=True))
        models.QuerySet(DataRecord).filter(pk__in=keys)._raw_delete("default")
        history._raw_delete("default")
        lost.delete()
        newest = JournalRow.objects.get(stream=customer.pk, number=number)
        ChainHead.objects.filter(pk=customer.pk).update(number=number, digest=newest.digest, at=newest.written_at)
        Segment.objects.filter(number__gt=segment).delete()
        HotState.objects.update(last_segment=segment)


@pytest.mark.django_db(transaction=True)
def test_both_lines_can_be_had_back(acme: Any, hot: Vault, tmp_path: Path) -> None:
    told = Told(acme)
    record(acme, "1")
    first = told.note()
    shipper.ship_once(hot)
    segment = HotState.objects.get().last_segment
    backed_up(hot, acme)
    record(acme, "given up")
    given_up = told.note()
    shipper.ship_once(hot)
    go_back(acme, 1, segment)
    with pytest.raises(WentBack):
        shipper.ship_once(hot)
    timeline = shipping_timelines.begin(hot, by="olga", reason="the disk burned")
    record(acme, "new")
    shipper.ship_once(hot)
    new = max(JournalRow.objects.filter(stream=acme.pk).values_list("written_at", flat=True))
    assert JournalRow.objects.filter(stream=acme.pk).latest("number").number == 3

    def references(at: datetime | None, name: str) -> list[str]:
        restored_at(hot, acme, at, tmp_path / name)
        return [row["reference"] for row in read(tmp_path / name / "rows/l2l_subscriptions.datarecord.ndjson")]

    def check(when: str) -> None:
        assert references(first, f"first {when}") == ["1"]
        assert references(given_up, f"old {when}") == ["1", "given up"]
        assert references(timeline.started_at + MICROSECOND, f"begun {when}") == ["1"]
        assert references(new, f"new {when}") == references(None, f"now {when}") == ["1", "new"]

    check("before a set of the new line")
    backed_up(hot, acme)
    shipper.ship_once(hot)
    check("after it")
    assert restored(tmp_path / "old after it", acme) == told.at(given_up)[0]
