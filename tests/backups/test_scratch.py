"""A set restored into an empty database: from either engine into either, read back, compared, or nothing at all (P7, P14)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection, models

from audit import registry, rows
from audit.models import Event, JournalRow
from backups.choosing import Only, Selection, UnknownCustomer
from backups.errors import NoSet, NowhereWhole, ReadBackDiffers, TargetInTheWay, TargetUnusable
from backups.scratch import sqlite as sqlite_targets
from backups.scratch.postgresql import PostgresqlScratch
from backups.scratch.restoring import restore_into
from backups.scratch.sqlite import SqliteScratch
from backups.vault import Vault
from subscriptions.models import DataRecord, Export, UploadedContent
from tests.backups.targets import ENGINES, ON_POSTGRESQL, POSTGRESQL, Target, database_on
from tests.backups.test_back_up import backed_up, fill
from tests.backups.test_commands import SECRET, installation, run
from tests.backups.test_restore import blobs, flip
from tests.factory.models import Downtime, Line, Site, Specimen

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["installation"]

AWKWARD = 'tab\t, \\, \\N, \\., "quoted", l\'un\r\nthe next line, é𝄞\u2028'


def fill_the_vendors_own(customer: Any) -> None:
    """Rows of models of the vendor, two foreign keys away, with every kind of column at its edges, changed and deleted since."""
    line = Line.objects.create(site=Site.objects.create(customer=customer, name="Kassel\t1"), name=AWKWARD, speed=Decimal("12.500"))
    stop = Downtime.objects.create(
        line=line,
        began_at=datetime(1, 1, 1, tzinfo=UTC),
        lasted=timedelta(days=-400, microseconds=-7),
        factor=1e23,
        details={"b": [1, 10**30, 1e-7, None, AWKWARD], "ü": {}},
        photo=ContentFile(b"jpg", name="p"),
    )
    stop.began_at = datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)
    stop.save()
    Specimen.objects.create(customer=customer, label="nothing")
    Specimen.objects.create(customer=customer, label="empty", text="", raw=b"", free={}, fixed="")
    full = Specimen.objects.create(
        customer=customer,
        label="é\\",
        text=AWKWARD,
        whole=-(2**31),
        large=2**63 - 1,
        small=0,
        flag=False,
        moment=datetime(2026, 1, 31, 23, 59, 59, 120_000, UTC),
        day=date(1, 1, 1),
        hour=time(23, 59, 59, 999_999),
        span=timedelta(days=9999, microseconds=1),
        key=uuid.UUID(int=2**127),
        amount=Decimal("-12345678.9000"),
        ratio=-0.1,
        raw=bytes(range(256)),
        free=[AWKWARD, 2**60, True],
        fixed={"a\\": AWKWARD, "n": 10**40},
    )
    full.text = None
    full.save()
    Specimen.objects.create(customer=customer, label="gone", raw=b"\\x").delete()


@pytest.fixture
def kept(acme: Any, vault: Vault) -> Any:
    """Acme with content of all models and one protected set."""
    fill(acme)
    fill_the_vendors_own(acme)
    backed_up(vault, acme)
    return acme


def plain(kind: str, value: Any, on_postgresql: bool) -> Any:
    """The value of Django's ORM as plain SQL shows it in the restored table, by what docs/operations.md says of the types there."""
    if value is None:
        return None
    if kind == "json":
        return value  # compared as what it means; `test_scratch_values` holds it to the letter
    if on_postgresql:
        return str(value) if kind == "text" else value
    in_sqlite: dict[str, Any] = {
        "uuid": str,
        "datetime": lambda moment: moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z",
        "date": date.isoformat,
        "time": lambda hour: hour.isoformat("microseconds"),
        "decimal": str,
        "duration": lambda span: span // timedelta(microseconds=1),
        "text": str,
    }
    return in_sqlite.get(kind, lambda same: same)(value)


def assert_table(target: Target, table: str, expected: models.QuerySet) -> None:
    """By plain SQL: the table holds just these rows, value for value."""
    columns = rows.columns(expected.model)
    names = ", ".join(f'"{column.name}"' for column in columns)
    key = str(expected.model._meta.pk.column)  # type: ignore[union-attr]
    found = target.select(f'SELECT {names} FROM "{table}" ORDER BY "{key}"')
    wanted = [
        tuple(plain(column.kind, getattr(one, column.attname), target.on_postgresql) for column in columns)
        for one in expected.order_by("pk")
    ]
    read = json.loads if not target.on_postgresql else (lambda value: value)
    assert [
        tuple(read(value) if column.kind == "json" and value is not None else value for column, value in zip(columns, row, strict=True))
        for row in found
    ] == wanted


def assert_holds(target: Target, customer: Any) -> None:
    for protected in registry.of_stream(customer.pk):
        table = protected.label.replace(".", "_")
        assert_table(target, table, protected.rows(customer.pk))
        assert_table(target, f"{table}_history", protected.history_model.objects.filter(history_stream=customer.pk))
    assert_table(target, "journal", JournalRow.objects.filter(stream=customer.pk))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_row_of_every_model_is_there_for_plain_sql(kept: Any, vault: Vault, target: Target) -> None:
    loaded = restore_into(vault, kept, target.url)
    assert_holds(target, kept)
    assert target.tables() == {*loaded.tables, "restored_set"}
    assert {name: tally.rows for name, tally in loaded.tables.items()} == {
        name: target.select(f'SELECT count(*) FROM "{name}"')[0][0] for name in loaded.tables
    }
    assert loaded.tables["factory_specimen"].rows == 3 and loaded.tables["factory_specimen_history"].rows == 6


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_restored_stands_beside_it_with_the_digest_of_the_export(kept: Any, vault: Vault, target: Target) -> None:
    loaded = restore_into(vault, kept, target.url, reason="the yearly test")
    ((document,),) = target.select("SELECT CAST(document AS TEXT) FROM restored_set")
    export = Export.objects.get()
    assert hashlib.sha256(document.encode()).hexdigest() == export.sha256
    said = json.loads(document)
    assert (said["set"], said["customer"]) == (loaded.found.id, {"id": str(kept.pk), "code": "acme"})
    assert said["tables"] == {name: {"rows": tally.rows, "sum": tally.sum} for name, tally in loaded.tables.items()}
    assert (export.by, export.reason, export.path, export.customer) == ("ada", "the yearly test", loaded.database, kept)
    assert export.expires_at > export.made_at
    event = Event.objects.get(event="data:exported")
    assert (event.subject, event.customer) == (f"l2l_subscriptions.export:{export.pk}", kept.pk)
    assert event.facts == {
        "files": 7,
        "rows": sum(tally.rows for tally in loaded.tables.values()),
        "set": said["set"],
        "sha256": export.sha256,
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_files_are_listed_with_those_that_were_absent(acme: Any, vault: Vault, target: Target, uploads: Path) -> None:
    fill(acme)
    lost = UploadedContent.objects.get(name="doc 4.bin")
    (uploads / lost.file.name).unlink()
    backed_up(vault, acme)
    loaded = restore_into(vault, acme, target.url)
    found = target.select('SELECT name, sha256, size, absent FROM "l2l_subscriptions_uploadedcontent_files"')
    history: models.QuerySet = registry.of(UploadedContent).history_model.objects.all()
    expected = {(str(one.file), one.sha256, one.size, str(one.file) == lost.file.name) for one in history}
    assert set(found) == expected and len(found) == len(expected) == loaded.files == 6
    assert loaded.absent == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_each_table_has_its_key_and_an_index_on_the_reference(kept: Any, vault: Vault, target: Target) -> None:
    restore_into(vault, kept, target.url)
    question = "SELECT indexdef FROM pg_indexes" if target.on_postgresql else "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
    found = [sql.replace('"', "") for (sql,) in target.select(question)]
    assert any("l2l_subscriptions_datarecord_reference_idx ON" in sql and sql.endswith("(reference)") for sql in found)
    keys = {"l2l_subscriptions_datarecord": "id", "l2l_subscriptions_datarecord_history": "history_id", "journal": "id"}
    for table, key in keys.items():
        if target.on_postgresql:
            assert any(sql.startswith(f"CREATE UNIQUE INDEX {table}_pkey") and sql.endswith(f"({key})") for sql in found)
        else:
            assert any(f"TABLE {table} (" in sql and f"{key} INTEGER NOT NULL PRIMARY KEY" in sql for sql in found)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_item_alone_comes_with_its_history(kept: Any, vault: Vault, target: Target) -> None:
    restore_into(vault, kept, target.url, only=Only.of_text("uploadedcontent:doc 3.bin"))
    assert target.select("SELECT name FROM l2l_subscriptions_uploadedcontent") == [("doc 3.bin",)]
    assert len(target.select("SELECT * FROM l2l_subscriptions_uploadedcontent_history")) == 2
    assert len(target.select("SELECT * FROM l2l_subscriptions_uploadedcontent_files")) == 2
    assert len(target.tables()) == 4


@pytest.mark.parametrize("engine", ENGINES)
def test_an_item_that_is_not_there_leaves_nothing(kept: Any, vault: Vault, target: Target) -> None:
    with pytest.raises(NoSet, match="not even in its history"):
        restore_into(vault, kept, target.url, only=Only.of_text("datarecord:nonsense"))
    assert target.untouched() and not Export.objects.exists()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_blob_is_taken_from_elsewhere_and_said(kept: Any, vault: Vault, folders: dict[str, Path], target: Target) -> None:
    for path in blobs(folders["primary"]):
        flip(path)
    loaded = restore_into(vault, kept, target.url)
    assert any("damaged at primary" in note and "taken from offsite" in note for note in loaded.notes)
    assert_holds(target, kept)
    ((document,),) = target.select("SELECT CAST(document AS TEXT) FROM restored_set")
    assert json.loads(document)["notes"] == loaded.notes


@pytest.mark.parametrize("engine", ENGINES)
def test_what_no_location_has_whole_is_named_and_nothing_is_there(
    kept: Any, vault: Vault, folders: dict[str, Path], target: Target
) -> None:
    for path in blobs(folders["primary"]):
        flip(path)
    for path in blobs(folders["offsite"]):
        path.unlink()
    with pytest.raises(NowhereWhole, match=r"damaged at primary; .* missing at offsite"):
        restore_into(vault, kept, target.url)
    assert target.untouched() and not Export.objects.exists()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE l2l_subscriptions_datarecord SET kind = 'Part' WHERE reference = '9'",
        "DELETE FROM journal WHERE id = (SELECT max(id) FROM journal)",
        "INSERT INTO l2l_subscriptions_link SELECT customer_id, 0 - id, reference, title, url FROM l2l_subscriptions_link",
        "UPDATE factory_specimen SET amount = '-12345678.90' WHERE amount IS NOT NULL",
    ],
)
def test_a_database_that_gives_back_something_else_is_found_out(
    kept: Any, vault: Vault, target: Target, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    for scratch in (PostgresqlScratch, SqliteScratch):
        monkeypatch.setattr(scratch, "finish_loading", meddling(scratch.finish_loading, change))
    with pytest.raises(ReadBackDiffers, match="otherwise than it was filled"):
        restore_into(vault, kept, target.url)
    assert target.untouched() and not Export.objects.exists()


def meddling(finish_loading: Any, change: str) -> Any:
    def finish(scratch: Any) -> None:
        assert scratch.connection.execute(change).rowcount == 1
        finish_loading(scratch)

    return finish


@pytest.mark.parametrize("engine", ENGINES)
def test_when_the_export_cannot_be_recorded_nothing_leaves(
    kept: Any, vault: Vault, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no evidence")

    monkeypatch.setattr("audit.access.exported", broken)
    with pytest.raises(RuntimeError, match="no evidence"):
        restore_into(vault, kept, target.url)
    assert target.untouched() and not Export.objects.exists()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_database_with_anything_in_it_is_refused(kept: Any, vault: Vault, target: Target) -> None:
    restore_into(vault, kept, target.url)
    before = target.select("SELECT count(*) FROM journal")
    with pytest.raises(TargetInTheWay, match=r"Name a(n empty database| new file)"):
        restore_into(vault, kept, target.url)
    assert target.select("SELECT count(*) FROM journal") == before and Export.objects.count() == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_customer_that_this_database_does_not_know_is_restored_and_told_in_the_evidence(kept: Any, vault: Vault, target: Target) -> None:
    loaded = restore_into(vault, UnknownCustomer(kept.pk), target.url)
    assert_holds(target, kept)
    assert any("no customer of this database" in note for note in loaded.notes)
    event = Event.objects.get(event="data:exported")
    assert (event.subject, event.customer) == (f"set:{loaded.found.id}", kept.pk) and not Export.objects.exists()


@pytest.mark.parametrize(
    "url", ["", "acme", "mysql://root@localhost/x", "sqlite://", "sqlite:///", "sqlite://:memory:", "postgres:/x", "/tmp/x"]
)
def test_an_address_that_is_none_is_refused_in_words(kept: Any, vault: Vault, url: str) -> None:
    with pytest.raises(TargetUnusable, match="begins with postgres://"):
        restore_into(vault, kept, url)


@pytest.mark.parametrize(
    "url",
    [
        f"postgres://ada:{SECRET}@127.0.0.1:1/none",
        f"postgres://ada:{SECRET}@/none?host=/no-such-folder",
        f"postgres://ada@127.0.0.1:1/none?password={SECRET}",
        f"postgres://ada:{SECRET}/x@127.0.0.1:1/none",
        f"postgres://ada:x@{SECRET}@127.0.0.1:1/none",
        f"postgres://ada:{SECRET}%@127.0.0.1:1/none",
        f"postgres://ada:1?{SECRET}@127.0.0.1:1/none",
        f"postgres://ada:1#{SECRET}@127.0.0.1:1/none",
        f"postgres://ada:{SECRET}@127.0.0.1:1/none?no_such_option={SECRET}",
        f"postgres://ada:{SECRET}@127.0.0.1:{SECRET}/none",
        f"mysql://ada:{SECRET}@127.0.0.1/none",
        f"sqlite:{SECRET}",
    ],
)
def test_a_server_that_cannot_be_reached_is_said_without_the_password(
    kept: Any, installation: dict[str, Path], url: str, caplog: pytest.LogCaptureFixture
) -> None:
    said = run("restore", "acme", "--to-database", url, "--json")
    assert "database" in said.failed and said.document == {"error": said.failed}
    assert SECRET not in said.out + said.err + said.failed + caplog.text
    assert not Export.objects.exists()


@pytest.mark.parametrize("engine", [POSTGRESQL])
def test_the_password_in_an_address_is_recorded_nowhere(kept: Any, installation: dict[str, Path], target: Target) -> None:
    place, rest = target.url.split("://")[1].split("/", 1)
    url = f"postgres://{place.split(':')[0].rstrip('@')}:{SECRET}@{place.partition('@')[2]}/{rest}"
    said = run("restore", "acme", "--to-database", url, "--json")
    assert not said.failed and target.tables()
    assert SECRET not in said.out + said.err
    assert SECRET not in Export.objects.get().path + json.dumps(Event.objects.get(event="data:exported").facts)
    assert Export.objects.get().path == said.document["database"]


def test_the_own_database_is_refused_by_name(kept: Any, vault: Vault) -> None:
    if ON_POSTGRESQL:
        settings = connection.settings_dict
        url = f"postgres://{settings['USER']}@/{settings['NAME']}?host={settings['HOST'] or settings['OPTIONS']['host']}"
    else:
        url = f"sqlite:///{connection.settings_dict['NAME']}"
    with pytest.raises(TargetInTheWay, match="own database"):
        restore_into(vault, kept, url)
    assert DataRecord.objects.count() == 49 and not Export.objects.exists()


@pytest.mark.parametrize("engine", [POSTGRESQL])
def test_a_database_that_cannot_hold_every_text_is_refused(kept: Any, vault: Vault, target: Target) -> None:
    target = database_on(target.url, "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pytest.raises(TargetUnusable, match="ENCODING 'UTF8'"):
        restore_into(vault, kept, target.url)


@pytest.mark.parametrize("engine", [POSTGRESQL])
@pytest.mark.parametrize("there", ["CREATE VIEW v AS SELECT 1", "CREATE SEQUENCE s", "CREATE SCHEMA x CREATE TABLE x.t ()"])
def test_views_sequences_and_other_schemas_count_as_something(kept: Any, vault: Vault, target: Target, there: str) -> None:
    target.execute(there)
    with pytest.raises(TargetInTheWay, match="is not empty: "):
        restore_into(vault, kept, target.url)


@pytest.mark.parametrize("engine", [POSTGRESQL])
def test_a_server_that_gives_up_in_the_middle_leaves_nothing(
    kept: Any, vault: Vault, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Selection.lines

    def cut_off(selection: Selection, part: Any) -> Any:
        if part.what == "journal":
            target.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'l2l restore'")
        return lines(selection, part)

    monkeypatch.setattr(Selection, "lines", cut_off)
    with pytest.raises(TargetUnusable, match="terminating connection"):
        restore_into(vault, kept, target.url)
    assert target.untouched() and not Export.objects.exists()


@pytest.mark.parametrize("engine", [POSTGRESQL])
def test_a_person_without_the_right_to_make_tables_is_told(kept: Any, vault: Vault, target: Target) -> None:
    role = f"reader_{uuid.uuid4().hex[:8]}"
    target.execute(f"CREATE ROLE {role} LOGIN")
    with pytest.raises(TargetUnusable, match="permission denied for schema public"):
        restore_into(vault, kept, target.url.replace("://postgres:@", f"://{role}@"))
    assert target.untouched()


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_full_disk_is_said_and_leaves_nothing(kept: Any, vault: Vault, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_targets, "_PRAGMAS", (*sqlite_targets._PRAGMAS, "max_page_count = 30"))  # as SQLite meets a full disk
    with pytest.raises(TargetUnusable, match=r"database or disk is full. See whether the disk of .* is full"):
        restore_into(vault, kept, target.url)
    assert target.untouched() and not Export.objects.exists()


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_file_that_comes_meanwhile_is_not_replaced(kept: Any, vault: Vault, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteScratch, "commit", coming_before(SqliteScratch.commit, target.path))
    with pytest.raises(TargetInTheWay, match="has come to be meanwhile"):
        restore_into(vault, kept, target.url)
    assert target.path.read_text() == "mine" and not Export.objects.exists()


def coming_before(commit: Any, path: Path) -> Any:
    def late(scratch: Any) -> None:
        path.write_text("mine")
        commit(scratch)

    return late


def test_a_new_file_is_for_its_owner_alone_and_a_relative_path_is_from_here(
    kept: Any, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = restore_into(vault, kept, "sqlite:///here.sqlite3")
    assert loaded.database == f"sqlite:///{tmp_path}/here.sqlite3"
    assert (tmp_path / "here.sqlite3").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob("here*")] == ["here.sqlite3"]
    with closing(sqlite3.connect(tmp_path / "here.sqlite3")) as found:
        assert found.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("url", ["sqlite:///no-such-folder/x.sqlite3", "sqlite:///taken"])
def test_a_path_that_cannot_be_is_refused(kept: Any, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    with pytest.raises(TargetInTheWay):
        restore_into(vault, kept, url)


def test_the_command_says_what_is_where(kept: Any, installation: dict[str, Path], tmp_path: Path) -> None:
    said = run("restore", "acme", "--to-database", f"sqlite:///{tmp_path}/one.sqlite3", "--json")
    assert said.document["tables"]["l2l_subscriptions_datarecord"]["rows"] == 49 and said.document["files"] == 7
    assert said.document["database"] == f"sqlite:///{tmp_path}/one.sqlite3"
    told = run("restore", "acme", "--to-database", f"sqlite:///{tmp_path}/two.sqlite3", "--location", "offsite").out.splitlines()
    assert "  7 files are listed, 0 of them absent from the set; 'restore --to' brings their bytes" in told
    assert told[-1] == f"Loaded, every row read back and compared, into sqlite:///{tmp_path}/two.sqlite3"


@pytest.mark.parametrize("arguments", [[], ["--to", "x", "--to-database", "sqlite:///x"]])
def test_either_a_folder_or_a_database(kept: Any, installation: dict[str, Path], arguments: list[str]) -> None:
    failed = run("restore", "acme", *arguments).failed
    assert "--to-database" in failed and ("not allowed with" in failed or "is required" in failed)


def test_a_customer_may_be_called_by_id(kept: Any, installation: dict[str, Path], tmp_path: Path) -> None:
    assert len(run("restore_points", kept.pk, "--json").document["sets"]) == 1
    assert not run("restore", kept.pk, "--to", tmp_path / "out").failed
    assert Export.objects.get().customer == kept
    assert "A customer of another database is called by its id." in run("restore", "nobody", "--to", tmp_path / "none").failed
    nobody = uuid.uuid4()
    assert "No location holds a set of this customer" in run("restore", nobody, "--to", tmp_path / "none").failed
