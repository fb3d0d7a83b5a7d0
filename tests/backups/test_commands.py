"""The commands as people and programs call them: one document for a program, a clear message and a red end when not all is done."""

from __future__ import annotations

import io
import itertools
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from backups import keyfiles, locations, nightly
from backups.locations import Named
from backups.models import BackupSet
from backups.vault import from_settings
from subscriptions.models import UploadedContent
from tests.backups.test_back_up import assert_restored, fill, read
from tests.home import Home

SECRET = "wJalrXUtnFEMI-not-to-be-shown"


@dataclass
class Said:
    """What a command wrote; `failed` is its message when it did not end well."""

    out: str
    err: str
    failed: str = ""

    @property
    def document(self) -> Any:
        """The one JSON document on standard output: anything else there would not parse."""
        return json.loads(self.out)


def run(*arguments: object) -> Said:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(*map(str, arguments), stdout=out, stderr=err)
    except CommandError as problem:
        return Said(out.getvalue(), err.getvalue(), str(problem))
    return Said(out.getvalue(), err.getvalue())


@pytest.fixture
def installation(settings: Any, tmp_path: Path, key_folder: Path, folders: dict[str, Path]) -> dict[str, Path]:
    """Settings that name two prepared folders; returns the folders."""
    settings.L2L_KEYS, settings.L2L_SPOOL = key_folder, tmp_path / "spool"
    settings.L2L_LOCATIONS = " ".join(f"{name}=file://{folder}" for name, folder in folders.items())
    settings.L2L_OFFSITE = ["offsite"]
    signer = keyfiles.signer(key_folder)
    for folder in folders.values():
        store = locations.open_store(f"file://{folder}", credentials=None)
        locations.prepare(store, signer, "read me\n", made="2026-03-01", sample=True)
    return folders


@pytest.fixture
def kept(acme: Any, installation: dict[str, Path]) -> Any:
    """Acme with content and one set."""
    fill(acme)
    assert not run("backup", "acme").failed
    return acme


pytestmark = pytest.mark.django_db(transaction=True)


def test_backup_says_in_one_document_what_was_made(acme: Any, installation: dict[str, Path]) -> None:
    fill(acme)
    said = run("backup", "acme", "--night", "2026-03-09", "--json")
    (one,) = said.document
    assert not said.failed
    assert (one["customer"], one["night"], one["protected"], one["whole_at"]) == ("acme", "2026-03-09", True, ["primary", "offsite"])
    assert one["rows"] == 55 and one["files"] == 6 and one["new_bytes"] > 0 and one["troubles"] == {} and one["notes"] == []
    assert str(BackupSet.objects.get().pk) == one["set"]


def test_backup_says_the_same_to_people(acme: Any, installation: dict[str, Path]) -> None:
    fill(acme)
    said = run("backup", "acme")
    assert re.search(r"acme: set [0-9a-f]{8} for the night of .*: 55 rows, .* 6 files, .*; whole at primary, offsite; ", said.out)
    assert "Owed" not in said.out


def test_backup_of_all_is_of_every_customer_and_the_system(acme: Any, acme2: Any, installation: dict[str, Path]) -> None:
    assert [one["customer"] for one in run("backup", "--json").document] == ["acme", "acme2", "system"]


def test_one_customers_failure_stops_no_other_and_the_end_is_red(
    acme: Any, acme2: Any, installation: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_for_acme(reader: Any) -> Any:
        if reader.stream == acme.pk:
            raise RuntimeError("a mistake of ours")
        return read(reader)

    read = nightly.ContentReader.read
    monkeypatch.setattr(nightly.ContentReader, "read", broken_for_acme)
    said = run("backup", "--json")
    assert [one["customer"] for one in said.document] == ["acme2", "system", "acme"]
    assert said.document[-1] == {"customer": "acme", "failed": "RuntimeError: a mistake of ours"}
    assert "1 failed (acme)" in said.failed


@pytest.mark.parametrize("command", [["backup"], ["restore", "--to", "out"], ["restore_points"]])
def test_an_unknown_customer_is_said_with_what_to_do(installation: dict[str, Path], command: list[str]) -> None:
    said = run(command[0], "nobody", *command[1:], "--json")
    assert said.failed.startswith("There is no customer 'nobody'. 'manage.py add_customer nobody")
    assert said.document == {"error": said.failed}


def test_one_unknown_customer_among_others_is_said_before_anything_is_made(acme: Any, installation: dict[str, Path]) -> None:
    assert "no customer 'nobody'" in run("backup", "acme", "nobody").failed
    assert not BackupSet.objects.exists()


def test_a_wrong_night_is_said_in_words(acme: Any, installation: dict[str, Path]) -> None:
    assert "'yesterday' is not a date such as 2026-11-23" in run("backup", "acme", "--night", "yesterday").failed
    assert not BackupSet.objects.exists()


def test_a_location_that_is_down_ends_red_with_the_document_whole(acme: Any, installation: dict[str, Path]) -> None:
    fill(acme)
    shutil.rmtree(installation["offsite"])
    said = run("backup", "acme", "--json")
    (one,) = said.document
    assert one["complete"] and not one["protected"] and one["whole_at"] == ["primary"]
    assert "mount it" in one["troubles"]["offsite"] and one["owed"]["offsite"]["copies"] > 0
    assert "1 not yet at every required location (acme); the next backup catches up" in said.failed
    assert "Owed to offsite: " in run("backup", "acme").out


@pytest.mark.parametrize("command", [["backup"], ["restore", "--to", "out"], ["restore_points"]])
def test_no_location_at_all_names_each_with_its_trouble(
    kept: Any, installation: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in installation.values():
        shutil.rmtree(folder)
    said = run(command[0], "acme", *command[1:], "--json")
    assert said.failed
    assert re.search("No location can be used: primary: .*; offsite: ", said.out)
    assert said.document
    assert not (tmp_path / "out").exists()


def test_a_file_that_uploads_lost_ends_red_and_says_which_customers(acme: Any, installation: dict[str, Path], uploads: Path) -> None:
    fill(acme)
    (uploads / UploadedContent.objects.get(name="doc 4.bin").file.name).unlink()
    said = run("backup", "acme", "--json")
    assert "1 with files that the upload storage no longer has (acme)" in said.failed
    assert said.document[0]["absent_files"] == 1


def test_restore_says_in_one_document_what_came_back(kept: Any, tmp_path: Path) -> None:
    said = run("restore", "acme", "--to", tmp_path / "out", "--json")
    assert not said.failed
    assert said.document["folder"] == str(tmp_path / "out") and said.document["files"] == 6
    assert said.document["rows"]["rows/l2l_subscriptions.datarecord"] == 49
    assert_restored(tmp_path / "out", kept)


def test_restore_tells_people_where_it_is_and_that_it_was_checked(kept: Any, tmp_path: Path) -> None:
    said = run("restore", "acme", "--to", tmp_path / "out", "--location", "offsite")
    assert said.out.splitlines()[-1] == f"Restored, every byte checked, to {tmp_path / 'out'}"


def test_one_item_by_its_reference(kept: Any, tmp_path: Path) -> None:
    said = run("restore", "acme", "--only", "DataRecord:7", "--to", tmp_path / "out", "--json")
    assert said.document["rows"]["rows/l2l_subscriptions.datarecord"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "nonsense"], "holds no model 'nonsense'; it holds "),
        (["--only", "datarecord:nonsense"], "holds no datarecord called 'nonsense'"),
        (["--only", ":7"], "holds no model ''"),
        (["--set", "ffff-no-such"], "No location holds the set ffff-no-such"),
        (["--location", "moon"], "no location 'moon'; there are: primary, offsite"),
    ],
)
def test_what_cannot_be_restored_is_said_and_nothing_is_left(kept: Any, tmp_path: Path, options: list[str], message: str) -> None:
    said = run("restore", "acme", *options, "--to", tmp_path / "out", "--json")
    assert message in said.failed and said.document == {"error": said.failed}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]


def test_a_target_in_the_way_is_left_as_it_is(kept: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    assert "is not an empty folder. Name a new one" in run("restore", "acme", "--to", tmp_path / "out").failed
    assert "Make it first" in run("restore", "acme", "--to", tmp_path / "no-such/out").failed
    assert (tmp_path / "out/mine.txt").read_text() == "mine"


def test_a_beginning_that_fits_two_sets_restores_neither(kept: Any, tmp_path: Path) -> None:
    while len({str(pk)[0] for pk in BackupSet.objects.values_list("pk", flat=True)}) == BackupSet.objects.count():
        run("backup", "acme")
    letters = [str(pk)[0] for pk in BackupSet.objects.values_list("pk", flat=True)]
    twice = next(letter for letter in letters if letters.count(letter) > 1)
    said = run("restore", "acme", "--set", twice, "--to", tmp_path / "out")
    assert f"2 sets of this customer begin with {twice!r}" in said.failed
    assert not (tmp_path / "out").exists()


def test_restore_points_lists_the_sets_where_they_are(kept: Any, installation: dict[str, Path]) -> None:
    shutil.rmtree(installation["primary"])
    said = run("restore_points", "acme", "--json")
    (one,) = said.document["sets"]
    assert one["set"] == str(BackupSet.objects.get().pk) and one["locations"] == ["offsite"] and one["counts"]["rows"] == 55
    assert any("primary cannot be used" in note for note in said.document["notes"])
    assert one["set"][:8] in run("restore_points", "acme").out


def test_restore_points_tells_the_seconds_covered(kept: Any) -> None:
    assert not run("hotbackup", "--once").failed
    said = run("restore_points", "acme", "--json")
    assert [one["location"] for one in said.document["seconds"]] == [None, "primary", "offsite"]
    assert said.document["covered_until"] and not said.document["gaps"]
    assert "Any second from " in run("restore_points", "acme").out


def test_restore_at_a_moment(kept: Any, tmp_path: Path) -> None:
    assert not run("hotbackup", "--once").failed
    said = run("restore", "acme", "--at", "now", "--to", tmp_path / "now", "--json")
    assert not said.failed and said.document["moment"]["number"] and said.document["state_at"] == said.document["moment"]["at"]
    assert "has no zone" in run("restore", "acme", "--at", "2026-03-04T02:05:09", "--to", tmp_path / "no").failed
    early = run("restore", "acme", "--at", "2026-01-01T00:00:00Z", "--to", tmp_path / "early")
    assert "up to change 0, before the first" in early.out and not early.failed
    assert read(tmp_path / "early/rows/l2l_subscriptions.datarecord.ndjson") == []
    late = run("restore", "acme", "--at", "2099-01-01T00:00:00Z", "--to-database", f"sqlite:///{tmp_path}/late.sqlite3")
    assert "cover this customer until" in late.failed and not (tmp_path / "late.sqlite3").exists()
    assert not run("restore", "acme", "--at", "now", "--to-database", f"sqlite:///{tmp_path}/now.sqlite3").failed


def test_find_tells_the_item_and_its_versions(kept: Any) -> None:
    said = run("find", "acme", "Changed")
    assert "l2l_subscriptions.datarecord:7  live" in said.out and "changed by" in said.out
    (one,) = run("find", "acme", "doc 3.bin", "--json").document["items"]
    assert [version["kind"] for version in one["versions"]] == ["changed", "added"]
    assert [found["reference"] for found in run("find", "acme", "Changed", "--in-sets", "--json").document["items"]] == ["7"]
    assert "--in-sets also reads" in run("find", "acme", "nowhere to be found").failed


def test_restore_points_without_a_set_says_how_to_make_one(acme: Any, installation: dict[str, Path]) -> None:
    assert "No sets yet: 'manage.py backup acme' makes one." in run("restore_points", "acme").out


@pytest.mark.parametrize("command", [["backup", "acme"], ["restore", "acme", "--to", "out"]])
def test_progress_goes_to_standard_error_and_leaves_the_document_alone(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    hours = SimpleNamespace(monotonic=itertools.count(0, 3600).__next__)
    monkeypatch.setattr("audit.commands.time", hours)
    monkeypatch.setattr("backups.content.time", hours)
    monkeypatch.chdir(tmp_path)
    said = run(*command, "--json")
    shown = capsys.readouterr()
    assert said.document and not shown.out
    assert "rows" in said.err + shown.err


def test_secrets_are_in_no_output_and_no_repr(
    acme: Any, installation: dict[str, Path], settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("L2L_LOCATION_FAR_ACCESS_KEY_ID", "AKIA-far")
    monkeypatch.setenv("L2L_LOCATION_FAR_SECRET_ACCESS_KEY", SECRET)
    settings.L2L_LOCATIONS += " far=s3://bucket/l2l?endpoint=http://127.0.0.1:1"
    vault = from_settings()
    assert SECRET not in repr(vault) + repr(vault.places[2].store) + repr(vars(vault.places[2].location))
    named = [Named("bad", f"s3://AKIA:{SECRET}@bucket/l2l", True)]
    with pytest.raises(locations.StoreRefused, match="take them out") as problem:
        locations.open_places(named)
    assert SECRET not in str(problem.value)


@dataclass(frozen=True)
class HomeWithS3(Home):
    """A home whose third location is a server that answers nothing."""

    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.extra


@pytest.mark.slow
def test_in_processes_of_their_own(tmp_path: Path) -> None:
    """Exit status, standard output, standard error, as a scheduler sees them."""
    home = Home(tmp_path / "home")
    home.init()
    home.manage("add_customer", "acme", "--name", "Acme", "--start", "2026-01-01")
    assert home.json("backup", "acme")[0]["protected"]
    assert len(home.json("restore_points", "acme")["sets"]) == 1
    for arguments, status, message in (
        (["backup", "nobody"], 1, "no customer 'nobody'"),
        (["backup", "acme", "--night", "tomorrow"], 2, "not a date"),
        (["restore", "acme", "--to", str(home.folder)], 1, "not an empty folder"),
        (["restore", "acme", "--only", "nonsense", "--to", str(tmp_path / "out")], 1, "holds no model"),
    ):
        done = home.run(*arguments, "--json")
        assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
        assert message in done.stderr
    shutil.rmtree(home.location("offsite"))
    done = home.run("backup", "acme", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)[0]["whole_at"] == ["primary"]


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_said_without_its_secret(tmp_path: Path) -> None:
    plain = Home(tmp_path / "home")
    plain.init()
    plain.manage("add_customer", "acme", "--name", "Acme", "--start", "2026-01-01")
    place = f"primary=file://{plain.location('primary')} far=s3://bucket/l2l?endpoint=http://127.0.0.1:1"
    secret = {"L2L_LOCATION_FAR_ACCESS_KEY_ID": "AKIA-far", "L2L_LOCATION_FAR_SECRET_ACCESS_KEY": SECRET}
    home = HomeWithS3(plain.folder, {"L2L_LOCATIONS": place, "L2L_OFFSITE": "far", **secret})
    for arguments in (["backup", "acme", "--json"], ["restore_points", "acme", "--json"], ["check"]):
        done = home.run(*arguments)
        assert SECRET not in done.stdout + done.stderr
    done = home.run("backup", "acme", "--json")
    assert done.returncode == 1 and "far" in json.loads(done.stdout)[0]["troubles"]
