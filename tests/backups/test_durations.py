"""Seconds counted in buckets, held against the seconds themselves."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from backups.hot.durations import BOUNDS, Counted, added, counted

seconds = st.floats(min_value=-1, max_value=1e6, allow_nan=False)
many = st.lists(seconds, max_size=60)


def test_the_bounds_rise_and_end_with_everything() -> None:
    assert all(lower < upper for lower, upper in pairwise(BOUNDS)) and BOUNDS[-1] == math.inf
    assert {1.0, 5.0, 60.0} <= set(BOUNDS)  # what is promised, warned of and broken can be told exactly


@given(many)
def test_each_is_counted_once_in_the_bucket_that_holds_it(durations: list[float]) -> None:
    found = counted(durations)
    assert found.changes == len(durations)
    for bound, until in zip(BOUNDS, range(1, len(BOUNDS) + 1), strict=True):
        assert sum(found.buckets[:until]) == sum(one <= bound for one in durations)
    assert found.longest == max([0.0, *durations])


@given(st.lists(many, max_size=5))
def test_hours_added_up_are_what_all_their_seconds_are(hours: list[list[float]]) -> None:
    assert added(map(counted, hours)) == counted(one for hour in hours for one in hour)


@given(st.lists(seconds, min_size=1, max_size=60), st.sampled_from([1, 50, 99, 99.9, 100]))
def test_a_percentile_never_says_too_little(durations: list[float], percent: float) -> None:
    found = counted(durations)
    said = found.percentile(percent)
    exact = sorted(durations)[max(math.ceil(len(durations) * percent / 100), 1) - 1]
    assert said is not None and exact <= said <= found.longest
    lower = max((bound for bound in BOUNDS if bound < said), default=-math.inf)
    assert exact > lower  # and is in the very bucket that holds it


def test_nothing_counted_has_no_percentile() -> None:
    assert Counted().percentile(99) is None
