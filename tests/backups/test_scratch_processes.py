"""Restores into databases as processes of their own: killed in the middle, and by an installation whose database knows nobody."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from subscriptions.sample_content import write_sample
from tests.backups.targets import Target, database_on
from tests.home import Home

pytestmark = pytest.mark.slow

KILLS = 6
PATIENCE = 300.0


def with_content(home: Home, content: Path) -> str:
    """Fills a home with a customer and a set; returns the customer's id."""
    home.init()
    home.manage("add_customer", "acme", "--name", "Acme", "--start", "2026-01-01")
    write_sample(content, seed=1, size="large")
    home.manage("import_content", "acme", str(content))
    assert home.json("backup", "acme")[0]["protected"]
    return home.ask("str(__import__('subscriptions.models').models.Customer.objects.get().pk)")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    one = Home(tmp_path / "home")
    with_content(one, tmp_path / "content")
    return one


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_kills_leave_all_or_nothing(home: Home, target: Target, tmp_path: Path) -> None:
    chosen, seen = random.Random(5), []
    began = time.monotonic()
    whole = home.json("restore", "acme", "--to-database", target.url)["tables"]
    length = time.monotonic() - began
    for number in range(KILLS):
        other = database_on(target.url) if target.on_postgresql else Target(f"sqlite:///{tmp_path / f'{number}.sqlite3'}")
        process = home.start("restore", "acme", "--to-database", other.url)
        wait_for_the_beginning(other, process)
        time.sleep(chosen.random() * length * 0.4 if number % 2 else 0)
        process.kill()
        process.communicate()
        wait_for_the_end(other)
        seen.append(other.tables())
        assert seen[-1] in (set(), {*whole, "restored_set"}), seen[-1]
    assert set() in seen  # some were killed in the middle
    again = Target(f"{target.url}.again") if not target.on_postgresql else database_on(target.url)
    assert home.json("restore", "acme", "--to-database", again.url)["tables"] == whole


def wait_for_the_beginning(target: Target, process: Any) -> None:
    """Until the restore has the target in its hands, so that the kill comes in the middle."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and not at_work(target):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_the_end(target: Target) -> None:
    deadline = time.monotonic() + PATIENCE
    while target.on_postgresql and at_work(target):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def at_work(target: Target) -> bool:
    if not target.on_postgresql:
        return bool(list(target.path.parent.glob(f"{target.path.name}.incomplete-*")))
    question = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'l2l restore' AND datname = current_database()"
    return target.select(question) != [(0,)]


def contents(home: Home, customer: str, target: Target, folder: Path) -> tuple[Any, Any]:
    """What a home restores: tables with their sums in a database, rows by part and files in a folder."""
    tables = home.json("restore", customer, "--to-database", target.url)
    rows = home.json("restore", customer, "--to", str(folder))
    return tables["tables"], (rows["rows"], rows["files"], rows["file_bytes"])


@pytest.mark.parametrize("first", ["sqlite", "postgresql"])
def test_sets_of_one_engine_restore_where_the_other_knows_nobody(first: str, postgresql_server: str, tmp_path: Path) -> None:
    """One home, its keys and locations, with another database: empty but for what `init` makes."""
    on_postgresql = {"DATABASE_URL": database_on(postgresql_server).url}
    settings: list[dict[str, str]] = [{}, on_postgresql] if first == "sqlite" else [on_postgresql, {}]
    made, found = (Home(tmp_path / "home", one) for one in settings)
    customer = with_content(made, tmp_path / "content")
    found.init()
    assert "There is no customer 'acme'" in found.run("restore", "acme", "--to", str(tmp_path / "none")).stderr
    assert len(found.json("restore_points", customer)["sets"]) == 1
    targets = (database_on(postgresql_server), Target(f"sqlite:///{tmp_path / 'out.sqlite3'}"))
    by_maker = contents(made, "acme", targets[0], tmp_path / "by-maker")
    assert by_maker == contents(found, customer, targets[1], tmp_path / "by-finder")
    assert by_maker[0]["l2l_subscriptions_datarecord"]["rows"] == 5000
    assert {target.select("SELECT count(*) FROM journal")[0][0] for target in targets} == {5066}
    said = json.loads(targets[1].select("SELECT document FROM restored_set")[0][0])
    assert said["customer"] == {"id": customer, "code": ""}
    assert found.ask("list(__import__('audit.models').models.Event.objects.values_list('event', flat=True))").count("data:exported") == 2
    found.manage("verify_audit")
