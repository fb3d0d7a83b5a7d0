"""Six versions of a vendor's app, one deployed after the other over data: no false alarm, nothing laundered, nothing lost (P8)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.backups.targets import ENGINES, Target
from tests.home import PROJECT, Home

pytestmark = pytest.mark.slow

MIGRATIONS = PROJECT / "tests" / "deployed" / "migrations"


class Vendor:
    """An installation, run at one version of its software after another."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        (folder / "home").mkdir()

    def home(self, version: int) -> Home:
        package = self.folder / f"up_to_{version}"
        if not package.exists():
            package.mkdir()
            (package / "__init__.py").touch()
            for path in sorted(MIGRATIONS.glob("0*.py"))[:version]:
                shutil.copy(path, package)
        settings = {
            "DATABASE_URL": self.url,
            "DJANGO_SETTINGS_MODULE": "tests.deployed.settings",
            "DEPLOYED": str(version),
            "DEPLOYED_MIGRATIONS": package.name,
            "PYTHONPATH": str(self.folder),
        }
        return Home(self.folder / "home", settings)

    def do(self, version: int, *steps: str) -> list[Any]:
        """What each step told."""
        script = "from tests.deployed.driving import *; " + "; ".join(steps)
        done = self.home(version).run("shell", "-v", "0", "-c", script)
        assert done.returncode == 0, f"{steps}\n{done.stdout}\n{done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def well(kept: dict[str, Any]) -> bool:
    return kept["wrong"] == ["", "", ""] and {proof for _, proof, _ in kept["proofs"]} == {"proved"}


@pytest.mark.parametrize("engine", ENGINES)
def test_six_versions_one_after_the_other(target: Target, tmp_path: Path) -> None:
    vendor = Vendor(tmp_path, target.url)
    first, _, before = vendor.do(1, "installed()", "filled()", "kept()")
    assert (first["version"], first["due"]) == (1, 0) and well(before), before

    # 2: columns with defaults, one of them another one each time; rows changed, added and removed behind history's back.
    second, after = vendor.do(2, "installed()", "kept()")
    assert second["document"]["tracked"] == {"deployed.machine": [2, 1, 1]} and not second["document"]["left"], second
    assert (second["version"], second["due"], second["wrong"]) == (2, 2, "") and well(after), after
    made = [one for one in after["history"] if one[1] == "deploy"]
    assert {(one[0], one[3]) for one in made} == {("~", "first"), ("~", "second"), ("+", "made by a migration"), ("-", "scrapped")}
    assert {one[2] for one in made} == {"migration deployed.0002_labels"}
    again, then, now = vendor.do(
        2, "installed()", f"restored('{tmp_path}/then', '--at', '{before['at']}')", f"restored('{tmp_path}/now', '--at', 'now')"
    )
    assert (again["version"], again["said"].strip()) == (2, "")
    assert [(one["name"], "label" in one) for one in then["rows"]["deployed.machine"]] == [
        ("first", False),
        ("second", False),
        ("scrapped", False),
    ]
    assert [one["label"] for one in now["rows"]["deployed.machine"]] == ["Werk 1: first", "Werk 1: second", ""]

    # 3: wider text, more digits. 4: a new model, filled. 5: a column renamed. All older changes are proved still.
    for version, tracked in ((3, {}), (4, {"deployed.sign": [0, 3, 0]}), (5, {})):
        done, kept = vendor.do(version, "installed()", "kept()")
        assert (done["version"], done["document"]["tracked"], done["document"]["lost"]) == (version, tracked, {}), done
        assert well(kept) and not kept["unread"] and not kept["dropped"], kept
    last = kept

    # 6: a column and a model dropped. What their changes were, a signed head says; what they held, the sets of before.
    sixth, kept = vendor.do(6, "installed()", "kept()")
    assert sixth["document"]["lost"] == {"deployed.machine": ["colour"], "deployed.reading": ["*"]}, sixth
    assert well(kept) and not kept["unread"], kept
    assert {one["model"]: one["version"] for one in kept["dropped"]} == {"deployed.machine": 6, "deployed.reading": 6}
    then, old, live, back, again = vendor.do(
        6,
        f"restored('{tmp_path}/before-6', '--at', '{last['at']}')",
        f"restored('{tmp_path}/old', '--set', '{before['sets'][0]}')",
        f"previewed('{before['sets'][0]}', 'deployed.machine')",
        f"restored_live('{before['sets'][0]}', 'deployed.machine')",
        "kept()",
    )
    assert [one["colour"] for one in then["rows"]["deployed.machine"]] == ["red", "blue", ""] and len(then["rows"]["deployed.reading"]) == 1
    assert [one["weight"] for one in old["rows"]["deployed.machine"]] == ["1.50"] * 3
    assert not live["obstacles"] and live["counts"] == {"deployed.machine": [1, 2, 1]}, live
    assert any("labelled, weighed_better, weight_is_mass, colourless" in note for note in live["notes"]), live
    assert back["state"] == "done", back
    machines = [(one["name"], one["mass"], one["label"], one["site"]) for one in back["machines"]]
    assert machines == [(name, "1.5000", f"Werk 1: {name}", "Werk 1") for name in ("first", "second", "scrapped")], back
    assert well(again), again


@pytest.mark.parametrize("engine", ENGINES)
def test_what_differed_before_is_named_before_and_after(target: Target, tmp_path: Path) -> None:
    vendor = Vendor(tmp_path, target.url)
    tamper = "tampered(\"UPDATE deployed_machine SET colour = 'secret' WHERE name = 'first'\")"
    vendor.do(1, "installed()", "filled()", "kept()", "touched()", tamper)
    refused, forced, kept = vendor.do(2, "installed()", "installed('--without-sets', '--reason', 'the vault is flooded')", "kept()")
    assert "its rows are not what history says: deployed.machine 1 (first): colour differs" in refused["wrong"] and refused["version"] == 1
    assert forced["document"]["left"] == {"deployed.machine": 1} and forced["document"]["tracked"] == {"deployed.machine": [1, 1, 1]}
    assert not well(kept)
    [(_, proof, text)] = [one for one in kept["proofs"] if one[0] == "acme"]
    assert proof == "broken" and "(first): colour, label, token differ" in text and "\n" not in text, text


def test_killed_behind_the_migrations_it_goes_on_from_what_was_known_before(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path, f"sqlite:///{tmp_path}/home/l2l.sqlite3")
    vendor.do(1, "installed()", "filled()", "kept()")
    killed = vendor.home(2).run(
        "shell",
        "-v",
        "0",
        "-c",
        "import os; from audit.schema import changing; changing.track = lambda *_: os._exit(9); "
        "from tests.deployed.driving import *; installed()",
    )
    assert killed.returncode == 9
    [done, kept, again] = vendor.do(2, "installed()", "kept()", "installed()")
    assert done["document"]["tracked"] == {"deployed.machine": [2, 1, 1]} and done["version"] == 2 and done["open"] == 0
    assert well(kept) and again["version"] == 2


def test_migrations_by_hand_are_noticed_and_nothing_is_passed_off_as_theirs(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path, f"sqlite:///{tmp_path}/home/l2l.sqlite3")
    vendor.do(1, "installed()", "filled()", "kept()")
    vendor.home(2).manage("migrate", "-v", "0")
    kept, done, after = vendor.do(2, "kept()", "installed()", "kept()")
    assert any("no recorded version" in one for one in kept["troubles"]), kept
    assert (done["version"], done["document"]["watched"], done["document"]["tracked"]) == (2, False, {})
    assert not well(after) and not after["troubles"]
