"""The shapes of the charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backups.admin.charts import HEIGHT, WIDTH, Axis, Shape, counts, durations, kind_of_p99, level, limits, seconds
from backups.hot.durations import UNCOUNTED, counted

START = datetime(2026, 3, 10, tzinfo=UTC)
AXIS = Axis(START, START + timedelta(days=1))
times = st.floats(min_value=-200_000, max_value=200_000).map(lambda after: START + timedelta(seconds=after))


def inside(shape: Shape) -> bool:
    return 0 <= shape.x < shape.x + shape.width <= WIDTH and 0 <= shape.y <= shape.y + shape.height <= HEIGHT


@given(st.lists(st.lists(st.floats(min_value=0, max_value=1e6), max_size=4), min_size=1, max_size=60))
def test_each_counted_stretch_has_its_bar_in_its_place(hours: list[list[float]]) -> None:
    chart = durations([(f"h{at}", counted(one)) for at, one in enumerate(hours)])
    assert len(chart.longest) == len(chart.p99) == sum(bool(one) for one in hours)
    assert all(map(inside, [*chart.longest, *chart.p99]))
    assert all(p99.height <= longest.height for p99, longest in zip(chart.p99, chart.longest, strict=True))
    step = WIDTH / len(hours)
    assert [int((bar.x + bar.width / 2) // step) for bar in chart.longest] == [at for at, one in enumerate(hours) if one]


@given(st.floats(min_value=0, max_value=1e6), st.floats(min_value=0, max_value=1e6))
def test_what_took_longer_stands_higher(one: float, other: float) -> None:
    assert (level(one) <= level(other)) or one > other


def test_the_colours_change_at_the_limits() -> None:
    assert [kind_of_p99(slow) for slow in (0.3, 1.0, 1.1, 5.1, 60.1)] == ["good", "good", "warn", "warn", "bad"]
    [bar] = durations([("x", counted([61.0])), ("y", UNCOUNTED)]).longest
    assert bar.kind == "bad" and bar.title == "x: 1 change, p50 1 min 1 s, p99 1 min 1 s, longest 1 min 1 s"
    assert [(limit.kind, limit.label) for limit in limits()] == [("good", "1 s"), ("warn", "5 s"), ("bad", "1 min")]


@given(st.lists(st.integers(min_value=0, max_value=10**9), min_size=1, max_size=60))
def test_counts_have_a_bar_each_and_none_is_lost_beside_many(numbers: list[int]) -> None:
    bars = counts([(number, str(number), "") for number in numbers])
    assert len(bars) == len(numbers) and all(map(inside, bars))
    assert [bool(bar.height) for bar in bars] == [bool(number) for number in numbers]


@given(times, times)
def test_a_stretch_of_time_is_drawn_as_far_as_it_is_shown(start: datetime, end: datetime) -> None:
    start, end = min(start, end), max(start, end)
    shape = AXIS.stretch(start, end, "good")
    assert (shape is None) == (end <= AXIS.start or start >= AXIS.end)
    assert shape is None or (0 <= shape.x <= WIDTH and shape.width >= 1 and shape.x + shape.width <= WIDTH + 1)


def test_an_axis_goes_from_left_to_right() -> None:
    assert [AXIS.x(START + timedelta(hours=hours)) for hours in (-1, 0, 6, 24, 30)] == [0, 0, 250, 1000, 1000]
    assert AXIS.holds(AXIS.start) and not AXIS.holds(AXIS.end)


def test_seconds_in_words() -> None:
    assert [seconds(one) for one in (None, 0.05, 1, 2.5, 59.6, 60, 75, 3600, 3700)] == [
        "–",
        "50 ms",
        "1 s",
        "2.5 s",
        "60 s",
        "1 min",
        "1 min 15 s",
        "1 h",
        "1 h 1 min",
    ]
