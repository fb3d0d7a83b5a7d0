"""`make demo` and a fresh installation, as a new user runs them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from l2l.demo import Content, differences
from tests.home import PROJECT, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_difference_is_said_in_words() -> None:
    expected = Content(records={("part", "1"): {"a": "x"}}, uploads={"f": "1"}, links={})
    found = Content(records={("part", "1"): {"a": "y"}}, uploads={"f": "1", "g": "2"}, links={})
    assert differences(expected, found) == "1 of 1 records differ, such as ('part', '1'); 1 of 1 uploads differ, such as 'g'"
    assert differences(expected, expected) == ""


@pytest.mark.slow
def test_the_demo_ends_well(home: Home) -> None:
    said = home.manage("demo")
    assert said.count("equal to what was imported") == 2
    assert "reused" in said and "primary location is lost" in said


@pytest.mark.slow
@pytest.mark.skipif(not (PROJECT.parent / "shared/data/adventureworks").is_dir(), reason="the large sample data is not there")
def test_a_real_manufacturers_data_comes_back(home: Home) -> None:
    said = home.manage("demo", "--content", str(PROJECT.parent / "shared/data/adventureworks"))
    assert "17,243 records, 109 uploads, 6 links" in said and said.count("equal to what was imported") == 2


@pytest.mark.slow
def test_init_keeps_what_it_made_and_its_keys_to_itself(home: Home) -> None:
    first = home.manage("init")
    keys = home.folder / "keys"
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    assert "KEEP THE RECOVERY KIT" in first and "AGE-SECRET-KEY" not in first
    assert "KEEP THE RECOVERY KIT" not in home.manage("init")
    assert {path.name: path.read_bytes() for path in keys.iterdir()} == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}


@pytest.mark.slow
def test_a_home_with_real_data_never_becomes_a_sample(home: Home) -> None:
    home.manage("init")
    refused = home.run("init", "--sample")
    assert refused.returncode == 1 and "real installation" in refused.stderr
    assert not (home.folder / "SAMPLE").exists()
