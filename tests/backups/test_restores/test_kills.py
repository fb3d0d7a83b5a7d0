"""A real process, killed with a real signal, at any moment of a test restore: nothing stays, and the test is begun again (P7)."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from subscriptions.sample_content import write_sample
from tests.home import Home, in_turns

pytestmark = pytest.mark.slow

KILLS = 3


def test_killed_tests_leave_no_scratch_and_no_half_of_a_result(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.init()
    home.manage("add_customer", "acme", "--name", "Acme", "--start", "2026-01-01")
    write_sample(tmp_path / "content", seed=1, size="small")
    home.manage("import_content", "acme", str(tmp_path / "content"))
    home.manage("hotbackup", "--once")
    home.manage("backup", "acme")
    whole = home.json("test_restore", "acme", "--location", "primary")["tests"]
    assert [one["result"] for one in whole] == ["passed"]
    spool, chosen = home.folder / "spool", random.Random(3)
    for _ in range(KILLS):
        process = home.start("test_restore", "acme", "--location", "offsite")
        assert in_turns(process, lambda: bool(list(spool.glob("test-restore-*"))), turn=0.005), process.communicate()
        process.send_signal(signal.SIGCONT)
        time.sleep(chosen.random() / 20)
        process.kill()
        process.communicate()
        if list(spool.glob("test-restore-*")):
            assert {path.stat().st_mode & 0o077 for path in spool.iterdir()} == {0}
    done = home.json("test_restore")["tests"]
    assert done and {one["result"] for one in done} == {"passed"}
    assert len({one["test"] for one in done}) == len(done) and not list(spool.iterdir())
