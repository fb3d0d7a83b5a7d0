import json
from argparse import ArgumentTypeError
from datetime import date
from io import StringIO

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError
from django.db import OperationalError

from audit.commands import BackOfficeCommand, a_day
from audit.errors import Frozen


class Odd(Exception):
    """Not known to the base class."""


class Command(BackOfficeCommand):
    known = (Odd,)
    problem: Exception | None = None

    def work(self, **options):
        if self.problem:
            raise self.problem
        self.report(["one", "two"], {"lines": 2, "name": "ü"})
        if options["fail"]:
            raise CommandError("not all was done")


def run(problem=None, *, fail=False, as_json=True):
    out = StringIO()
    command = Command(stdout=out, stderr=StringIO())
    command.problem = problem
    try:
        command.handle(json=as_json, fail=fail)
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), None


def test_the_report_is_lines_or_one_document():
    assert run(as_json=False) == ("one\ntwo\n", None)
    assert json.loads(run()[0]) == {"lines": 2, "name": "ü"}


def test_a_failure_after_the_report_keeps_its_document():
    out, error = run(fail=True)
    assert (json.loads(out), error) == ({"lines": 2, "name": "ü"}, "not all was done")


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Frozen("frozen since then"), "frozen since then"),
        (Odd("odd"), "odd"),
        (FileNotFoundError(2, "No such file", "x"), "[Errno 2] No such file: 'x'"),
        (ValidationError({"code": ["too short", "too odd"]}), "code: too short too odd"),
        (ValidationError("wrong"), "wrong"),
        (
            OperationalError("no such table: x"),
            "The database refused: no such table: x. If it was never set up, 'manage.py init' does that.",
        ),
    ],
)
def test_known_errors_are_messages_and_one_document(problem, message):
    out, error = run(problem)
    assert error == message
    assert json.loads(out) == {"error": message}


def test_what_nobody_expected_stays_what_it_is():
    with pytest.raises(ZeroDivisionError):
        run(ZeroDivisionError())


def test_a_day_that_is_none_is_refused_in_words_that_say_how_it_is_written():
    assert a_day("2026-11-23") == date(2026, 11, 23)
    with pytest.raises(ArgumentTypeError, match="'2026-13-01' is not a date such as 2026-11-23"):
        a_day("2026-13-01")


def test_progress_speaks_at_most_once_in_a_while():
    told = StringIO()
    command = Command(stderr=told)
    tell = command.progress(every=60)
    for number in range(100):
        tell(f"{number}")
    assert told.getvalue() == ""
    command.progress(every=0)("now")
    assert told.getvalue() == "now\n"
