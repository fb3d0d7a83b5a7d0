"""Calendars reckoned by hand (P6): which set stays until when, and why. A set of night D is made on D at 22:00 UTC.

The passes are at 12:30 UTC of every day, half an hour after a week or a month may close.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from backups.policy import Policy
from tests.backups.naive_retention import Made, Pass, Story, tell
from tests.backups.retention_driver import Look, drive, looks

DAY = timedelta(days=1)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
STANDARD = Policy(1, LONG_AGO)


def day(text: str) -> date:
    return date.fromisoformat(text)


def days(first: str, last: str) -> Iterator[date]:
    """Both are among them."""
    for number in range((day(last) - day(first)).days + 1):
        yield day(first) + number * DAY


def of(night: date) -> Made:
    made = datetime.combine(night, time(22), UTC)
    return Made(night.isoformat(), made, made, protected=made, proved=made)


def life(nights: Iterator[date] | list[date], until: str, **more: Any) -> Story:
    """A set in each of the nights, a pass on each day from the first one to `until`."""
    made = [of(night) for night in nights]
    passes = [Pass(moment, moment) for moment in (datetime.combine(one, time(12, 30), UTC) for one in days(made[0].id, until))]
    known: dict[str, Any] = {"first": day(made[0].id), "last": None, "policies": (STANDARD,), "agreed": (), "sets": tuple(made)}
    return Story(**{**known, "passes": tuple(passes), **more})


def on_the_last_day(story: Story) -> Look:
    # What was reckoned by hand judges the oracle too; over a whole year that would take it too long.
    if len(story.passes) < 100:
        assert list(drive(story)) == list(tell(story))
    *_, look = looks(story)
    return look


def stays(look: Look) -> list[str]:
    return sorted(one.set_id for one in look.decisions if one.kept)


def rows(text: str) -> list[tuple[str, str, list[str]]]:
    """Of a table: the night, until when its set is kept by age, and the reasons in any order."""
    cells = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return [(night, until, sorted(why.split("; "))) for night, until, why in cells]


def table(look: Look, nights: list[str] | None = None) -> list[tuple[str, str, list[str]]]:
    """What stays of those nights, or all that stays."""
    kept = sorted((one for one in look.decisions if one.kept), key=lambda one: one.set_id)
    return [
        (one.set_id, f"{one.goes_at:%Y-%m-%d %H:%M}", sorted(one.words.split("; ")))
        for one in kept
        if nights is None or one.set_id in nights
    ]


# A plain run

PLAIN = """
    2026-01-11 | 2027-02-07 22:00 | chosen for week:2026-W02
    2026-01-31 | 2046-01-31 22:00 | chosen for month:2026-01
    2026-05-31 | 2046-05-31 22:00 | chosen for month:2026-05; chosen for week:2026-W22
    2026-12-31 | 2046-12-31 22:00 | chosen for month:2026-12
    2027-01-03 | 2028-01-30 22:00 | chosen for week:2026-W53
    2027-01-04 | 2027-02-01 22:00 | nightly, kept 28 days
    2027-01-24 | 2028-02-20 22:00 | chosen for week:2027-W03; nightly, kept 28 days
    2027-01-30 | 2027-02-27 22:00 | nightly, kept 28 days
    2027-01-31 | 2027-02-28 22:00 | nightly, kept 28 days; the best one yet for week:2027-W04; the best one yet for month:2027-01; \
the newest good set; the newest proved set
"""


def test_thirteen_months_with_a_set_in_every_night() -> None:
    """On 1 February: 28 nightly sets, 52 Sundays before them, and the last day of each month (31 May was a Sunday)."""
    look = on_the_last_day(life(days("2026-01-01", "2027-01-31"), "2027-02-01"))
    nightly = [one.isoformat() for one in days("2027-01-04", "2027-01-31")]
    sundays = [one.isoformat() for one in days("2026-01-11", "2027-01-03") if one.weekday() == 6]
    months = ["01-31", "02-28", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30", "10-31", "11-30", "12-31"]
    assert stays(look) == sorted({*nightly, *sundays, *(f"2026-{one}" for one in months)})
    assert (len(nightly), len(sundays), len(stays(look))) == (28, 52, 91)
    assert table(look, [row[0] for row in rows(PLAIN)]) == rows(PLAIN)


def test_the_policys_own_sentence_holds_at_every_pass() -> None:
    """ "Nightly sets kept 4 weeks, then weekly sets for 52 weeks, then monthly sets": none of these is ever missing in a plain run."""
    story = life(days("2026-01-01", "2027-03-31"), "2027-04-01")
    for one, look in zip(story.passes[1:], list(looks(story))[1:], strict=True):
        there = {day(each) for each in stays(look)}
        yesterday = one.now.date() - DAY
        assert there >= {night for night in days("2026-01-01", str(yesterday)) if owed_to_be_there(night, yesterday)}, one.now


def owed_to_be_there(night: date, newest: date) -> bool:
    weeks, last_of_month = (newest - night).days / 7, (night + DAY).day == 1
    return weeks < 4 or (weeks < 56 and night.weekday() == 6) or last_of_month


# The end of a year

WEEK_53 = """
    2020-12-20 | 2021-12-26 22:00 | chosen for week:2020-W51
    2020-12-27 | 2022-01-02 22:00 | chosen for week:2020-W52
    2020-12-31 | 2040-12-31 22:00 | chosen for month:2020-12
    2021-01-03 | 2022-01-09 22:00 | chosen for week:2020-W53
    2021-01-07 | 2021-01-14 22:00 | nightly, kept 7 days
    2021-01-08 | 2021-01-15 22:00 | nightly, kept 7 days
    2021-01-09 | 2021-01-16 22:00 | nightly, kept 7 days
    2021-01-10 | 2022-01-16 22:00 | chosen for week:2021-W01; nightly, kept 7 days
    2021-01-11 | 2021-01-18 22:00 | nightly, kept 7 days
    2021-01-12 | 2021-01-19 22:00 | nightly, kept 7 days
    2021-01-13 | 2021-02-02 12:00 | nightly, kept 7 days; the best one yet for week:2021-W02; the best one yet for month:2021-01; \
the newest good set; the newest proved set
"""


def test_the_week_53_that_goes_over_the_end_of_2020() -> None:
    """Monday 28 December to Sunday 3 January are one week, and December ends within it. The newest waits until January is decided."""
    week = replace(STANDARD, nightly_days=7)
    look = on_the_last_day(life(days("2020-12-14", "2021-01-13"), "2021-01-14", policies=(week,)))
    assert table(look) == rows(WEEK_53)


# Few good sets

FIRST_OF_MARCH = """
    2026-03-01 | 2046-03-01 22:00 | chosen for month:2026-03; chosen for week:2026-W09; stands in for week:2026-W10; \
stands in for week:2026-W11; stands in for week:2026-W12; stands in for week:2026-W13
    2026-04-05 | 2027-05-02 22:00 | chosen for week:2026-W14; nightly, kept 28 days
"""


def test_a_month_whose_only_good_set_is_on_its_1st() -> None:
    """It is March's own, however near the 1st of April is, and the only one there is for the weeks in between."""
    story = life(days("2026-03-01", "2026-05-01"), "2026-05-02")
    march = [replace(one, protected=None) if "2026-03-02" <= one.id <= "2026-03-31" else one for one in story.sets]
    look = on_the_last_day(replace(story, sets=tuple(march)))
    assert table(look, ["2026-03-01", "2026-04-05"]) == rows(FIRST_OF_MARCH)
    assert [one for one in stays(look) if one < "2026-04-04"] == ["2026-03-01"]


THREE_WEEKS = """
    2026-06-07 | 2027-07-04 22:00 | chosen for week:2026-W23; nightly, kept 28 days; stands in for week:2026-W24; \
stands in for week:2026-W25
    2026-06-29 | 2027-07-26 22:00 | nightly, kept 28 days; stands in for week:2026-W26
    2026-06-30 | 2046-06-30 22:00 | chosen for month:2026-06; nightly, kept 28 days
"""
THREE_WEEKS_AT_ONCE = """
    2026-06-07 | 2027-07-04 22:00 | chosen for week:2026-W23; nightly, kept 28 days; stands in for week:2026-W24
    2026-06-29 | 2027-07-26 22:00 | nightly, kept 28 days; stands in for week:2026-W25; stands in for week:2026-W26
    2026-06-30 | 2046-06-30 22:00 | chosen for month:2026-06; nightly, kept 28 days
"""


def three_weeks_without() -> Story:
    """Nothing from Monday 8 to Sunday 28 June."""
    return life([*days("2026-06-01", "2026-06-07"), *days("2026-06-29", "2026-07-02")], "2026-07-03")


def test_three_weeks_without_sets() -> None:
    """The last set before stands in for the first two weeks; when the third is decided there is one of the night after it."""
    look = on_the_last_day(three_weeks_without())
    assert table(look, ["2026-06-07", "2026-06-29", "2026-06-30"]) == rows(THREE_WEEKS)
    assert look.chosen == {
        "week:2026-W23": "2026-06-07",
        "week:2026-W24": "2026-06-07",
        "week:2026-W25": "2026-06-07",
        "week:2026-W26": "2026-06-29",
        "month:2026-06": "2026-06-30",
    }


def test_of_two_sets_as_near_the_later_stands_in() -> None:
    """When all is decided at once on 3 July, the second week lies eight nights from the set before it and from the one after."""
    story = three_weeks_without()
    look = on_the_last_day(replace(story, passes=story.passes[-1:]))
    assert table(look, ["2026-06-07", "2026-06-29", "2026-06-30"]) == rows(THREE_WEEKS_AT_ONCE)


def test_weeks_before_any_good_set_are_missed_for_ever() -> None:
    story = life(days("2026-06-22", "2026-07-02"), "2026-07-03", first=day("2026-06-08"))
    early = datetime(2026, 6, 16, 12, 30, tzinfo=UTC)
    look = on_the_last_day(replace(story, passes=(Pass(early, early), *story.passes)))
    assert (look.chosen["week:2026-W24"], look.chosen["week:2026-W25"]) == (None, "2026-06-22")


def test_a_chosen_set_found_damaged_is_replaced_by_the_next_best() -> None:
    """Sunday's was chosen; it is found damaged a week later, and Saturday's takes its place, although there are newer ones."""
    story = life(days("2026-06-01", "2026-06-20"), "2026-06-21")
    found = datetime(2026, 6, 15, tzinfo=UTC)
    look = on_the_last_day(replace(story, sets=tuple(replace(one, damaged=found) if one.id == "2026-06-07" else one for one in story.sets)))
    assert (look.chosen["week:2026-W23"], look.chosen["week:2026-W24"]) == ("2026-06-06", "2026-06-14")
    assert table(look, ["2026-06-07"]) == [("2026-06-07", "2026-07-05 22:00", ["nightly, kept 28 days"])]


def test_what_is_protected_the_day_after_still_counts() -> None:
    """The night of grace: Sunday's set reaches the last location on Tuesday morning, half an hour before its week is decided; or after."""
    story = life(days("2026-06-01", "2026-06-09"), "2026-06-10")
    for hour, expected in ((11, "2026-06-07"), (13, "2026-06-06")):
        late = datetime(2026, 6, 9, hour, tzinfo=UTC)
        sets = tuple(replace(one, protected=late) if one.id == "2026-06-07" else one for one in story.sets)
        assert on_the_last_day(replace(story, sets=sets)).chosen == {"week:2026-W23": expected}


# Leap days and agreed terms


@pytest.mark.parametrize(("years", "until"), [(1, "2029-02-28 22:00"), (4, "2032-02-29 22:00"), (None, "2048-02-29 22:00")])
def test_the_set_of_a_leap_day(years: int | None, until: str) -> None:
    """Tuesday 29 February 2028 is the last of its month; a year later there is only a 28th."""
    story = life(days("2028-02-01", "2028-04-10"), "2028-04-11", agreed=((LONG_AGO, years),))
    assert table(on_the_last_day(story), ["2028-02-29"]) == [("2028-02-29", until, ["chosen for month:2028-02"])]


def test_an_end_is_the_last_moment_at_which_a_set_stays() -> None:
    story = life([day("2028-02-29"), *days("2029-02-20", "2029-02-28")], "2028-03-05", agreed=((LONG_AGO, 1),))
    for end, expected in (("2029-02-28 22:00:00+00:00", True), ("2029-02-28 22:00:01+00:00", False)):
        moment = datetime.fromisoformat(end)
        look = on_the_last_day(replace(story, passes=(*story.passes, Pass(moment, moment))))
        assert ("2028-02-29" in stays(look)) == expected


AGREED_ONE_YEAR = """
    2026-02-01 | 2027-02-01 22:00 | chosen for week:2026-W05
    2026-02-08 | 2027-02-08 22:00 | chosen for week:2026-W06
    2026-02-15 | 2027-02-15 22:00 | chosen for week:2026-W07
    2026-02-22 | 2027-02-22 22:00 | chosen for week:2026-W08
    2026-02-28 | 2027-02-28 22:00 | chosen for month:2026-02
    2026-03-01 | 2027-03-01 22:00 | chosen for week:2026-W09
"""


def test_an_agreed_term_of_one_year_ends_weeks_and_months_alike() -> None:
    """A weekly set would stay 392 days; nothing is older than a year, and what stood for January goes on this day."""
    look = on_the_last_day(life(days("2026-01-01", "2027-01-31"), "2027-02-01", agreed=((LONG_AGO, 1),)))
    assert stays(look)[0] == "2026-02-01"
    assert table(look, [one for one in stays(look) if one < "2026-03-08"]) == rows(AGREED_ONE_YEAR)
    assert [(one.set_id, one.words) for one in look.decisions if not one.kept] == [("2026-01-31", "older than 1 year")]


def test_an_agreed_term_of_thirty_years_keeps_months_so_long() -> None:
    look = on_the_last_day(life(days("2026-01-25", "2026-03-10"), "2026-03-11", agreed=((LONG_AGO, 30),)))
    assert table(look, ["2026-01-31"]) == [("2026-01-31", "2056-01-31 22:00", ["chosen for month:2026-01"])]


def test_the_shortest_policy_keeps_one_day_and_the_last_of_a_month() -> None:
    """One day and no weeks: what is left on 3 July is the set of the evening, May's and June's last, and the best yet of the open week."""
    shortest = replace(STANDARD, nightly_days=1, weekly_weeks=0)
    look = on_the_last_day(life(days("2026-05-01", "2026-07-02"), "2026-07-03", policies=(shortest,)))
    assert table(look) == rows("""
        2026-05-31 | 2046-05-31 22:00 | chosen for month:2026-05
        2026-06-30 | 2046-06-30 22:00 | chosen for month:2026-06
        2026-07-02 | 2026-08-02 12:00 | nightly, kept 1 day; the best one yet for week:2026-W27; the best one yet for month:2026-07; \
the newest good set; the newest proved set
    """)


# Holds


def test_a_hold_keeps_all_and_when_it_is_released_what_is_past_its_time_goes() -> None:
    story = life(days("2026-01-05", "2026-03-15"), "2026-03-16")
    hold = [replace(one, held=date(2026, 1, 20) <= one.now.date() < date(2026, 3, 16)) for one in story.passes]
    before, after = list(looks(replace(story, passes=tuple(hold))))[-2:]
    assert len(stays(before)) == 69 and not before.removed
    assert table(before, ["2026-01-06", "2026-01-11"]) == rows("""
        2026-01-06 | 2026-02-03 22:00 | a legal hold is open
        2026-01-11 | 2027-02-07 22:00 | a legal hold is open; chosen for week:2026-W02
    """)
    assert "2026-01-06" in after.removed and "2026-01-11" in stays(after)
    gone = {one.isoformat() for one in days("2026-01-05", "2026-02-15") if one.weekday() != 6} - {"2026-01-31"}
    assert after.removed == gone


# Another policy


def test_a_shorter_policy_takes_sets_when_it_begins_and_none_before() -> None:
    """From 1 July nightly sets stay a week: those of 3 to 23 June go on that day, but for Sundays and the best yet of June."""
    shorter = replace(STANDARD, number=2, in_force_from=datetime(2026, 7, 1, tzinfo=UTC), nightly_days=7)
    story = life(days("2026-06-03", "2026-06-30"), "2026-07-01", policies=(STANDARD, shorter))
    before, after = list(looks(story))[-2:]
    assert not before.removed and len(stays(before)) == 27
    assert after.removed == {one.isoformat() for one in days("2026-06-03", "2026-06-23") if one.weekday() != 6}
    assert table(after, ["2026-06-07", "2026-06-24"]) == rows("""
        2026-06-07 | 2027-06-13 22:00 | chosen for week:2026-W23
        2026-06-24 | 2026-07-01 22:00 | nightly, kept 7 days
    """)


def test_a_longer_policy_keeps_at_once_what_is_still_there() -> None:
    """From 1 July nightly sets stay 60 days: that of 2 June would have gone on that day; that of 1 June went the day before."""
    longer = replace(STANDARD, number=2, in_force_from=datetime(2026, 7, 1, tzinfo=UTC), nightly_days=60)
    story = life(days("2026-06-01", "2026-07-04"), "2026-07-05", policies=(STANDARD, longer))
    look = on_the_last_day(story)
    assert stays(look) == [one.isoformat() for one in days("2026-06-02", "2026-07-04")]
    assert table(look, ["2026-06-02", "2026-06-07"]) == rows("""
        2026-06-02 | 2026-08-01 22:00 | nightly, kept 60 days
        2026-06-07 | 2027-08-05 22:00 | chosen for week:2026-W23; nightly, kept 60 days
    """)


# When nothing goes


def test_nothing_goes_while_the_newest_good_set_is_older_than_48_hours() -> None:
    """The last set is of 10 June, 22:00: at that hour of the 12th an old one still goes, a second later no longer."""
    sets = tuple(of(day(night)) for night in ("2026-01-05", "2026-06-10"))
    for moment, removed in (("2026-06-12T22:00:00+00:00", {"2026-01-05"}), ("2026-06-12T22:00:01+00:00", set())):
        at = datetime.fromisoformat(moment)
        look = on_the_last_day(Story(day("2026-06-08"), None, (STANDARD,), (), sets, (Pass(at, at),)))
        assert (look.removed, bool(look.old)) == (removed, not removed)


def test_a_clock_that_was_set_back_or_on_is_in_doubt() -> None:
    story = life(days("2026-06-01", "2026-07-10"), "2026-07-11")
    *earlier, last = story.passes
    for hours, words in ((-3, "set back by 3 hours"), (3, "set on by 3 hours"), (24 * 300, "set on by 300 days")):
        wrong = replace(last, now=last.now + timedelta(hours=hours))
        assert any(words in doubt for doubt in on_the_last_day(replace(story, passes=(*earlier, wrong))).doubts)
    assert not on_the_last_day(story).doubts
