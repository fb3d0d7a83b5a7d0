"""The picture of what is kept (P6): every cell says one thing, and all that is owed is counted once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backups.ledger.picture import LOOKS, Cell, Chosen, Counts, Facts, Made, Night, Picture, Says, draw, plain, says_of_run, weeks_of
from backups.models import Run, Slot
from backups.slots import DAY, Tier, periods

UTC_ZONE = ZoneInfo("UTC")
NEWEST = date(2026, 3, 11)
NOW = datetime(2026, 3, 12, 2, tzinfo=UTC)


def facts(**given: object) -> Facts:
    return Facts(**({"newest": NEWEST, "now": NOW, "zone": UTC_ZONE} | given))  # type: ignore[arg-type]


def drawn(found: Facts, first: date = date(2026, 3, 1), last: date = NEWEST) -> Picture:
    return draw(found, first, last)


def nights(picture: Picture) -> dict[tuple[str, str], Cell]:
    return {(month.name, cell.label): cell for month in picture.months for week in month.weeks for cell in week if cell.label}


def test_nothing_is_owed_before_the_first_night_and_nothing_is_shown() -> None:
    picture = drawn(facts())
    assert picture.years == () and {counts.owed + counts.still for counts in picture.counts.values()} == {0}
    assert nights(picture)["March 2026", "1"].title == "Night of 1 March 2026: nothing is owed"


def test_years_have_twelve_months_and_the_weeks_of_their_iso_year() -> None:
    picture = drawn(facts(first=date(2020, 12, 30)))
    assert [year.number for year in picture.years] == [2026, 2025, 2024, 2023, 2022, 2021, 2020]
    assert [len(year.weeks) for year in picture.years] == [53, 52, 52, 52, 52, 52, 53]
    assert {len(year.months) for year in picture.years} == {12}
    assert [weeks_of(2026)[0].key, weeks_of(2026)[-1].key] == ["week:2026-W01", "week:2026-W53"]


def test_the_week_and_the_month_of_now_are_owed_and_open_the_best_set_yet() -> None:
    picture = drawn(facts(first=date(2026, 2, 20), best={"week:2026-W11": "x"}))
    year = picture.years[0]
    assert [cell.says for cell in year.months[:4]] == [Says.NOTHING, Says.OWED, Says.OWED, Says.NOTHING]
    assert year.months[1].title == "February 2026: owed; it is over, and the next pass chooses its set"
    now = year.weeks[10]
    assert (now.says, now.set_id) == (Says.OWED, "x")
    assert now.title == "Week 11 of 2026 (9 to 15 Mar): owed; its set is chosen on 17 Mar 2026, 12:00 UTC; this is the best one yet"
    assert year.weeks[11].says is Says.NOTHING


@pytest.mark.parametrize("state", Slot.State.values)
def test_every_state_of_a_slot_has_its_word(state: str) -> None:
    slot = Chosen("week:2026-W09", state, "x", date(2026, 3, 3), "made", nights_off=2)
    cell = drawn(facts(first=date(2026, 2, 20), chosen=[slot])).years[0].weeks[8]
    assert cell.word in ("filled", "stood in for", "missed", "excused") and cell.set_id == "x"
    assert cell.title.startswith(f"Week 9 of 2026 (23 Feb to 1 Mar): {cell.word} by the set of the night of 3 March 2026")
    assert ("2 nights off" in cell.title) == (state == "stood in")


def test_a_removed_set_leaves_its_cell_which_says_so_and_still_opens_it() -> None:
    slot = Chosen("month:2026-01", "filled", "x", date(2026, 1, 31), "removed", note="2026-02-03: the set y was found damaged.")
    cell = drawn(facts(first=date(2026, 1, 1), chosen=[slot])).years[0].months[0]
    assert (cell.word, cell.set_id, cell.says) == ("removed as promised", "x", Says.FILLED)
    assert cell.title.endswith("; removed as promised, for its time was over; 2026-02-03: the set y was found damaged.")
    assert "bo-gone" in cell.kind and cell.mark == "–"


@pytest.mark.parametrize("over", [True, False])
@pytest.mark.parametrize("state", Run.State.values)
def test_every_state_of_a_run_says_something(state: str, over: bool) -> None:
    said = says_of_run(state, False, over)
    assert said is not Says.NOTHING
    assert (said is Says.OWED) == (state in ("owed", "running", "complete") or (not over and state in ("failed", "stopped", "paused")))
    assert says_of_run("done", True, over) is Says.LATE


def test_a_failed_night_is_missed_once_it_is_over_and_opens_its_run() -> None:
    runs = [Night(date(2026, 3, 10), 7, "failed"), Night(date(2026, 3, 9), 8, "done", set_id="x", set_state="made")]
    cells = nights(drawn(facts(nights=runs, nights_first=date(2026, 3, 9))))
    assert cells["March 2026", "10"].title == "Night of 10 March 2026: missed: the backup failed"
    assert (cells["March 2026", "10"].run, cells["March 2026", "10"].set_id) == (7, "")
    assert (cells["March 2026", "9"].word, cells["March 2026", "9"].set_id) == ("filled", "x")


def test_a_night_that_nobody_wrote_down_is_missed_and_the_night_of_now_is_owed() -> None:
    cells = nights(drawn(facts(nights=[Night(date(2026, 3, 8), 1, "missed")], nights_first=date(2026, 3, 8))))
    assert [cells["March 2026", str(day)].says for day in (7, 8, 9, 11)] == [Says.NOTHING, Says.MISSED, Says.MISSED, Says.OWED]
    assert "does the worker run?" in cells["March 2026", "9"].title
    ended = nights(drawn(facts(nights=[], nights_first=date(2026, 3, 8), last=date(2026, 3, 9))))
    assert ended["March 2026", "10"].says is Says.NOTHING


def test_a_set_that_was_asked_for_counts_as_nothing_owed() -> None:
    picture = drawn(facts(made=[Made(date(2026, 3, 4), "x", "made")]))
    cell = nights(picture)["March 2026", "4"]
    assert (cell.word, cell.set_id) == ("asked for", "x")
    assert picture.counts[Tier.NIGHT] == Counts(asked=1)


def test_months_are_whole_weeks_from_monday_to_sunday() -> None:
    picture = drawn(facts(), date(2026, 2, 1))
    assert [month.name for month in picture.months] == ["March 2026", "February 2026"]
    assert all(len(week) == 7 for month in picture.months for week in month.weeks)
    assert [cell.label for cell in picture.months[1].weeks[0]] == ["", "", "", "", "", "", "1"]


def test_no_two_states_look_alike_without_colours() -> None:
    marks = [mark for _, mark in LOOKS.values()]
    assert len(set(marks)) == len(marks) == len(Says) and "–" not in marks


def test_reasons_name_periods_in_words() -> None:
    assert (
        plain("chosen for week:2026-W11; stands in for month:2026-02")
        == "chosen for week 11 of 2026 (9 to 15 Mar); stands in for February 2026"
    )


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_all_that_is_owed_is_counted_once(data: st.DataObject) -> None:
    """Whatever slots and runs there are: the sums are those of the rows, and what has none is owed still or, of nights, missed."""
    first = data.draw(st.dates(date(2019, 1, 1), NEWEST))
    owed = {tier: list(periods(tier, first, NEWEST)) for tier in (Tier.WEEK, Tier.MONTH)}
    chosen = [
        Chosen(one.key, data.draw(st.sampled_from(Slot.State.values)), "x") for some in owed.values() for one in some[: len(some) * 2 // 3]
    ]
    since = max(first, NEWEST - 200 * DAY)
    runs = [
        Night(since + at * DAY, at, data.draw(st.sampled_from(Run.State.values)), over=since + at * DAY < NEWEST)
        for at in range((NEWEST - since).days)
    ]
    picture = draw(facts(first=first, nights_first=since, chosen=chosen, nights=runs), since.replace(day=1), NEWEST)
    for tier, some in owed.items():
        counts, states = picture.counts[tier], [one.state for one in chosen if one.key.startswith(tier.value)]
        assert (counts.owed, counts.still) == (len(states), len(some) - len(states))
        assert (counts.filled, counts.stood_in) == (states.count("filled"), states.count("stood in"))
    counted = picture.counts[Tier.NIGHT]
    assert counted.owed + counted.still == len(runs) + 1 and counted.excused == sum(run.state == "excused" for run in runs)


def test_a_zone_decides_when_a_period_closes() -> None:
    later = Facts(NEWEST, NOW, ZoneInfo("America/Los_Angeles"), first=NEWEST - timedelta(days=1))
    assert "17 Mar 2026, 19:00 UTC" in draw(later, NEWEST, NEWEST).years[0].weeks[10].title
