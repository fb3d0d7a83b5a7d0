"""Each promise of the policy has a control that measures it, a population that proves it, and tests that hold us to it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from audit import controls, populations
from audit.promises import PROMISES

FILES = {number: f"test_{number.lower()}" for number in PROMISES}


@pytest.mark.parametrize("number", PROMISES)
def test_its_file_is_called_by_the_sentence_of_the_policy(number: str) -> None:
    module = importlib.import_module(f"tests.policy.{FILES[number]}")
    assert (module.__doc__ or "").strip() == PROMISES[number].sentence
    marks = [mark for mark in module.pytestmark if mark.name == "promise"]
    assert [mark.args for mark in marks] == [(number,)]
    assert [name for name in dir(module) if name.startswith("test_")]


def test_there_is_no_file_without_a_promise() -> None:
    found = {path.stem for path in Path(__file__).parent.glob("test_p*.py")}
    assert found == set(FILES.values())


@pytest.mark.parametrize("number", PROMISES)
def test_it_is_measured_and_proved(number: str) -> None:
    assert [control.name for control in controls.all_controls() if control.promise == number]
    assert [one.name for one in populations.all_populations() if number in one.promises]


def test_controls_name_populations_that_there_are() -> None:
    known = {one.name for one in populations.all_populations()}
    named = {name for control in controls.all_controls() for name in control.populations}
    assert named <= known
