"""The judgement of P2, from figures alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.hot.durations import Counted, counted
from backups.hot.standing import Figures, Lag, Place, Shipping, State, judged, state_of_age

AT = datetime(2026, 3, 10, 14, 30, tzinfo=UTC)
SHIPS = Shipping("host:1:1", since=AT - timedelta(days=1), ticked_at=AT - timedelta(seconds=1))
FINE = Figures(AT, (Place("primary", False), Place("offsite", True)), Lag(), SHIPS)

ages = st.floats(min_value=0, max_value=1e5).map(lambda seconds: timedelta(seconds=seconds))
lags = st.one_of(st.just(Lag()), ages.map(lambda age: Lag(changes=3, files=1, since=AT - age)))
hours = st.lists(st.floats(min_value=0, max_value=1e4), max_size=5).map(counted)
shippings = st.builds(
    Shipping,
    holder=st.sampled_from(["", "host:1:1"]),
    since=st.just(AT),
    ticked_at=st.one_of(st.none(), ages.map(lambda age: AT - age)),
    stopped=st.sampled_from(["", "", "offsite knows more than this database"]),
    unled_since=st.sampled_from([None, None, AT - timedelta(minutes=3)]),
)
places = st.builds(Place, st.sampled_from(["a", "b", "c"]), st.booleans(), lags, st.sampled_from(["", "it is down"]), hours, hours)
figures = st.builds(Figures, st.just(AT), st.lists(places, max_size=3).map(tuple), st.one_of(st.none(), lags), shippings)


def lagging(seconds: float, **differences: object) -> Figures:
    lag = Lag(changes=12, since=AT - timedelta(seconds=seconds))
    return replace(FINE, places=(FINE.places[0], replace(FINE.places[1], lag=lag)), nowhere_else=lag, **differences)  # type: ignore[arg-type]


def reasons(figures: Figures) -> str:
    return " ".join(f"{one.state}: {one.reason} {one.todo}" for one in judged(figures).findings)


@given(figures)
def test_the_worst_finding_decides_and_each_says_what_to_do(found: Figures) -> None:
    standing = judged(found)
    assert standing.state is max([State.KEPT, *(one.state for one in standing.findings)], key=lambda state: state.rank)
    assert all(one.reason and one.todo.endswith(".") and one.state is not State.KEPT for one in standing.findings)
    assert [one.state.rank for one in standing.findings] == sorted((one.state.rank for one in standing.findings), reverse=True)


@given(figures)
def test_it_is_kept_only_when_somebody_ships_and_nothing_waits_for_long(found: Figures) -> None:
    young = all(place.lag.age(AT) <= timedelta(seconds=5) for place in found.places)
    quick = all((place.last_hour.percentile(99) or 0) <= 1 for place in found.places)
    sign = found.shipping.ticked_at
    leads = bool(found.shipping.holder) and not found.shipping.stopped and not found.shipping.unled_since
    ships = leads and sign is not None and AT - sign <= timedelta(minutes=2)
    safe = bool(found.places) and found.nowhere_else is not None
    assert (judged(found).state is State.KEPT) == (young and quick and ships and safe)


@given(figures)
def test_it_is_broken_when_a_place_lacks_something_for_more_than_a_minute(found: Figures) -> None:
    late = [place for place in found.places if place.lag.age(AT) > timedelta(minutes=1)]
    if late:
        assert judged(found).state is State.BROKEN
        named = reasons(found).count("lacks 3 changes and 1 file")
        assert "Every location lacks" in reasons(found) or named >= len(late)


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, State.KEPT), (5, State.KEPT), (5.001, State.AT_RISK), (60, State.AT_RISK), (60.001, State.BROKEN)]
)
def test_the_thresholds(seconds: float, state: State) -> None:
    assert state_of_age(timedelta(seconds=seconds)) is state
    assert judged(lagging(seconds)).state is state


def test_what_would_be_lost_is_one_number() -> None:
    assert (judged(FINE).lost, judged(FINE).lost_words) == ("nothing", "every change is durable offsite")
    lost = judged(lagging(3.21))
    assert (lost.lost, lost.lost_words) == ("3.2 s", "12 changes, the oldest written 10 Mar 2026, 14:29:56 UTC")
    assert judged(replace(FINE, nowhere_else=Lag(1, 2, AT - timedelta(hours=3), more=True))).lost_words.startswith(
        "more than 1 change and 2 files"
    )
    assert judged(replace(FINE, nowhere_else=None)).lost == "everything"


def test_a_clock_that_is_behind_makes_no_negative_age() -> None:
    assert judged(lagging(-3)).lost == "0 ms"


def test_nobody_leads() -> None:
    nobody = replace(FINE, shipping=Shipping())
    assert judged(nobody).state is State.BROKEN
    assert (
        "No shipper leads; none ever did. Start it with manage.py work --only shipper; the queue ships every minute meanwhile."
        in reasons(nobody)
    )
    between = replace(FINE, shipping=Shipping(ticked_at=AT - timedelta(seconds=8)))
    assert judged(between).state is State.AT_RISK and "takes over" in reasons(between)
    silent = replace(FINE, shipping=replace(SHIPS, ticked_at=AT - timedelta(minutes=3)))
    assert judged(silent).state is State.BROKEN and "leads and records nothing" in reasons(silent)


def test_the_queue_ships_for_want_of_a_leader() -> None:
    unled = replace(FINE, shipping=replace(SHIPS, unled_since=AT - timedelta(minutes=5)))  # it holds the lease at this moment
    assert judged(unled).state is State.BROKEN and "No shipper leads since 10 Mar 2026, 14:25:00 UTC. Start it" in reasons(unled)


def test_a_stopped_shipper_waits_for_a_person() -> None:
    stopped = replace(FINE, shipping=replace(SHIPS, holder="", stopped="offsite has segment 9, which we do not know", stopped_at=AT))
    assert reasons(stopped).count("broken:") == 1  # that nobody leads follows from it
    assert "Shipping is stopped since 10 Mar 2026, 14:30:00 UTC: offsite has segment 9" in reasons(stopped)


def test_each_cause_has_its_own_remedy() -> None:
    assert "The other locations keep the pace" in reasons(lagging(90))
    assert "somebody ships again" in reasons(lagging(90, shipping=Shipping()))
    down = lagging(90)
    down = replace(down, places=(down.places[0], replace(down.places[1], trouble="it is not mounted")))
    assert "It could not be used: it is not mounted. Mend the location" in reasons(down)
    both = lagging(90)
    both = replace(both, places=tuple(replace(place, lag=both.places[1].lag) for place in both.places))
    assert "More is written than is shipped" in reasons(both)
    assert reasons(both).count(" lacks ") == 1 and "Every location lacks 12 changes" in reasons(both)


def test_the_hour_was_slow() -> None:
    slow = replace(FINE, places=(replace(FINE.places[0], last_hour=counted([0.1] * 98 + [1.5, 1.6])), FINE.places[1]))
    assert judged(slow).state is State.AT_RISK
    assert "it took 1.6 s until 99 % of the changes were durable at primary; promised is one second." in reasons(slow)
    assert judged(replace(slow, places=(replace(slow.places[0], last_hour=counted([0.1] * 99 + [1.6])),))).state is State.KEPT


def test_the_days_maximum_counts_what_still_waits() -> None:
    place = Place("offsite", True, Lag(1, since=AT - timedelta(seconds=40)), today=Counted(longest=7.0))
    assert place.longest_today(AT) == timedelta(seconds=40)
    assert replace(place, lag=Lag()).longest_today(AT) == timedelta(seconds=7)
