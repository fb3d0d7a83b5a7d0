"""The machine burns while the shipper is killed: the steps of docs/runbooks.md, literally, bring the service back (P1, P3, P4, P7)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.backups.recovery.service import CODES, PASSWORD
from tests.backups.targets import ON_POSTGRESQL, Target, database_on, drop_database
from tests.home import PROJECT, Home, in_turns

pytestmark = pytest.mark.slow
PATIENCE = 300.0
SERVICE = "tests.backups.recovery.service"


def steps(**values: str) -> list[str]:
    """The fenced commands of the first runbook, in their order, with what stands in capitals filled in."""
    text = (PROJECT / "docs" / "runbooks.md").read_text()
    section = text.split("## The machine is lost")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    for name, value in values.items():
        blocks = [re.sub(rf"\b{name}\b", lambda _, value=value: value, block) for block in blocks]
    return blocks


def call(home: Home, code: str) -> Any:
    """What a call of the service's module gives, inside of the home."""
    line = f"import json; from {SERVICE} import *; print('=' + json.dumps({code}, default=str))"
    return json.loads(home.manage("shell", "-v", "0", "-c", line).rpartition("\n=")[2].removeprefix("="))


@pytest.fixture
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """The addresses of the database that is lost and of an empty one."""
    if not ON_POSTGRESQL:
        yield [f"sqlite:///{tmp_path}/old.sqlite3", f"sqlite:///{tmp_path}/new.sqlite3"]
        return
    server = request.getfixturevalue("postgresql_server")
    made = [database_on(server) for _ in range(2)]
    yield [one.url for one in made]
    for one in made:
        if one.url not in _gone:
            drop_database(server, one)


_gone: set[str] = set()


def burn(home: Home, url: str, server: str) -> None:
    """Database, keys, uploads and the primary location."""
    if url.startswith("postgres"):
        drop_database(server, Target(url))
        _gone.add(url)
    else:
        for path in Path(url.removeprefix("sqlite:///")).parent.glob("old.sqlite3*"):
            path.unlink()
    shutil.rmtree(home.folder)


def ship_and_be_killed(home: Home) -> dict[str, Any]:
    """A shipper killed in the middle of what is written. What stands to be lost is told after it, as people see it."""
    shipper = home.start("hotbackup", said=home.folder / "shipper.txt")
    try:
        writer = home.start("shell", "-v", "0", "-c", f"from {SERVICE} import *; write_on('acme', 250)", said=home.folder / "writer.txt")
        deadline = time.monotonic() + PATIENCE
        while not call(home, "len(durable_offsite()['acme']) > 160"):
            assert time.monotonic() < deadline, (home.folder / "shipper.txt").read_text()
            time.sleep(0.1)
    finally:
        shipper.send_signal(signal.SIGKILL)
        shipper.wait()
    assert writer.wait(PATIENCE) == 0, (home.folder / "writer.txt").read_text()
    return json.loads(home.run("hotbackup", "--status", "--json").stdout)


def killed_in_the_middle(home: Home, kit: Path) -> None:
    """A first try, killed when two of the five streams are back."""
    database = Target(home.settings["DATABASE_URL"])
    process = home.start("recover", "offsite", "--kit", str(kit), said=home.folder.parent / "first.txt")
    in_turns(process, lambda: _back(database) >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= _back(database) < 5, (home.folder.parent / "first.txt").read_text()


def _back(database: Target) -> int:
    try:
        return int(database.select("SELECT count(*) FROM l2l_backups_recoveredstream")[0][0])
    except (sqlite3.Error, psycopg.Error):
        return 0  # before the tables are made


def run_steps(home: Home, blocks: list[str], typed: str) -> str:
    script = "set -e\n" + "\n".join(blocks)
    environment = {name: value for name, value in home.environment.items() if name not in home.settings}
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment | {"L2L_LOG_LEVEL": "ERROR"},
        input=typed,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=False,
        start_new_session=True,  # nobody sits at a terminal: what is asked for comes from standard input
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_runbook_brings_the_service_back(tmp_path: Path, databases: list[str]):
    places = {name: tmp_path / name for name in ("primary", "offsite")}
    for folder in places.values():
        folder.mkdir()
    named = {name: f"{name}=file://{folder}" for name, folder in places.items()}
    old = Home(tmp_path / "old", {"DATABASE_URL": databases[0], "L2L_LOCATIONS": " ".join(named.values()), "L2L_OFFSITE": "offsite"})
    old.folder.mkdir()
    old.init()
    kit = tmp_path / "kit.txt"
    shutil.copy(old.folder / "keys" / "recovery-kit.txt", kit)
    call(old, "build()")
    shown = ship_and_be_killed(old)
    durable, all_numbered = call(old, "durable_offsite()"), call(old, "numbered()")
    untouched = call(old, "contents('beta', 'young')")
    burn(old, databases[0], os.environ.get("DATABASE_URL", ""))
    shutil.rmtree(places["primary"])

    new = Home(tmp_path / "new", {"DATABASE_URL": databases[1], "L2L_LOCATIONS": named["offsite"], "L2L_OFFSITE": "offsite"})
    blocks = steps(
        NEW_HOME=str(new.folder), NEW_DATABASE=databases[1], OFFSITE=f"file://{places['offsite']}", KIT_FILE=str(kit), PERSON="ada"
    )
    assert len(blocks) == 4
    killed_in_the_middle(new, kit)
    said = run_steps(new, blocks, f"{PASSWORD}\n{PASSWORD}\n")

    assert re.search(r"Recovered from offsite in [\d.]+ s: 3 customers", said), said
    assert "gone: destroyed before; it stays so" in said
    # Every change that was durable offsite is back, with its digest; what is lost was said to be.
    found = call(new, "numbered()")
    for code in CODES:
        if code != "gone":
            assert found[code][: len(durable[code])] == durable[code], code
            assert found[code][: len(all_numbered[code])] == all_numbered[code][: len(found[code])], code
    late = call(new, "DataRecord.objects.filter(kind='late').count()")
    assert 250 - late <= shown["locations"]["offsite"]["changes"]
    assert call(new, "contents('beta', 'young')") == untouched
    assert found["gone"] == []
    # The next night reused what is stored, and its proof is good; nothing is to go.
    made = call(new, "newest_sets()")
    assert {name for name, proof, _ in made if proof == "proved"} == {"acme", "beta", "young", "system"}
    assert all(reused for name, _, reused in made if name in ("acme", "beta"))
    assert call(new, "missing_sets()") == []
    assert new.json("prune")["going"] == 0
    # People: the password that was set signs in, and what the role may do is known.
    assert call(new, "sign_ins('ada', 'rita')") == [True, False]
    assert call(new, "rights()") == {"ada views customers": True, "root is a superuser": True, "held": ["beta"]}
    new.manage("restore", "acme", "--at", "now", "--to", str(tmp_path / "out"))
    assert len((tmp_path / "out" / "rows" / "l2l_subscriptions.datarecord.ndjson").read_text().splitlines()) == 58 + late
