"""Many customers from one CSV file: all or nothing, every problem with its line, and again only what is new (P1)."""

from __future__ import annotations

import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

import audit
from audit.events import Event
from audit.models import Event as Recorded
from audit.models import Stream
from subscriptions.importing import sheets
from subscriptions.importing.customers import COLUMNS, Imported, import_customers
from subscriptions.importing.report import FileRefused
from subscriptions.models import Customer, Subscription

HEADER = "code,name,start,end,zone,account_manager,agreement_number,agreed_years,destroy_within_days,deemed_receipt,notice_contacts"
GAMMA = "gamma,Gamma GmbH,2026-02-01,2027-01-31,Europe/Berlin,bo,G-17,7,14,yes,it@gamma.example law@gamma.example"
DELTA = "delta,Delta Ltd,2026-03-01,,,,,,,,"


def take(text: str | bytes, **options: Any) -> Imported:
    content = text if isinstance(text, bytes) else text.encode()
    with audit.acting("setup", reason="a test", source="test"):
        return import_customers(io.BytesIO(content), "new.csv", **options)


def refusals(text: str | bytes) -> list[str]:
    with pytest.raises(FileRefused) as refused:
        take(text)
    return [str(one) for one in refused.value.refusals]


def test_each_row_becomes_a_customer_with_its_subscription(people: dict[str, User]) -> None:
    done = take(f"{HEADER}\n{GAMMA}\n{DELTA}\n")
    assert (done.added, done.known) == (["gamma", "delta"], 0)
    gamma = Customer.objects.get(code="gamma")
    subscription = gamma.subscriptions.get()
    assert (gamma.name, gamma.zone, gamma.account_manager) == ("Gamma GmbH", "Europe/Berlin", people["bo"])
    assert (subscription.agreement_number, subscription.start, subscription.end) == ("G-17", date(2026, 2, 1), date(2027, 1, 31))
    assert (subscription.agreed_retention_years, subscription.agreed_destruction_days) == (7, 14)
    assert subscription.deemed_receipt_allowed and subscription.notice_contacts == "it@gamma.example\nlaw@gamma.example"
    delta = Customer.objects.get(code="delta").subscriptions.get()
    assert (delta.agreement_number, delta.end, delta.agreed_retention_years, delta.return_days) == ("delta-1", None, None, 30)
    assert {one.name for one in Stream.objects.filter(pk__in=[gamma.pk, delta.customer_id])} == {"gamma", "delta"}
    told = Recorded.objects.filter(event=Event.CUSTOMER_ADDED.value, customer__in=[gamma.pk, delta.customer_id])
    assert [one.facts["code"] for one in told.order_by("number")] == ["gamma", "delta"]
    assert gamma.history.get().history_actor == "setup"


def test_again_only_what_is_new_is_added(people: dict[str, User]) -> None:
    take(f"{HEADER}\n{GAMMA}\n")
    done = take(f"{HEADER}\n{GAMMA}\n{DELTA}\n")
    assert (done.added, done.known) == (["delta"], 1)
    assert Customer.objects.get(code="gamma").history.count() == 1


def test_what_is_known_and_differs_is_refused_with_what_changes_it(people: dict[str, User]) -> None:
    take(f"{HEADER}\n{GAMMA}\n")
    told = refusals(f"{HEADER}\n{GAMMA.replace(',7,', ',30,').replace(',bo,', ',ada,').replace('Gamma GmbH', 'Gamma AG')}\n{DELTA}\n")
    assert [one.partition(": ")[0] for one in told] == [
        "new.csv, line 2, column name",
        "new.csv, line 2, column account_manager",
        "new.csv, line 2, column agreed_years",
    ]
    assert "customer's page" in told[0] and "hand the customer over" in told[1] and "manage.py terms" in told[2]
    assert not Customer.objects.filter(code="delta").exists()


def test_columns_that_the_file_does_not_have_are_not_compared(people: dict[str, User]) -> None:
    take(f"{HEADER}\n{GAMMA}\n")
    assert take("code,name,start,agreement_number\ngamma,Gamma GmbH,2026-02-01,G-17\n").known == 1


def test_every_problem_is_told_with_its_line_and_nothing_is_written(people: dict[str, User]) -> None:
    told = refusals(
        "code,name,start,end,zone,account_manager,agreed_years,notice_contacts\n"
        "Zeta,Z,2026-01-01,,,,,\n"
        "eta,Eta,01.02.2026,,,,,\n"
        "eta,,2026-02-30,,,,,\n"
        "theta,Theta,2026-02-01,2026-01-01,Mars/Base,otto,0,nobody\n"
        "iota,Iota,2026-01-01,,,,,\n"
    )
    assert [one.partition(": ")[0] for one in told] == [
        "new.csv, line 2, column code",
        "new.csv, line 3, column start",
        "new.csv, line 4, column start",
        "new.csv, line 4, column name",
        "new.csv, line 4, column code",
        "new.csv, line 5, column account_manager",
        "new.csv, line 5, column notice_contacts",
    ]
    assert "write it like 2026-12-31" in told[1] and "there is no day" in told[2] and "stands in line 3" in told[4]
    assert not Customer.objects.filter(code="iota").exists()
    [zone, end, years] = sorted(refusals("code,name,start,end,zone,agreed_years\ntheta,Theta,2026-02-01,2026-01-01,Mars/Base,0\n"))[::-1]
    assert "no time zone" in zone and "before the start" in end and "agreed_years" in years


def test_a_code_and_a_number_are_never_used_again(acme: Customer, people: dict[str, User]) -> None:
    Stream.objects.create(name="gone")
    told = refusals(
        "code,name,start,agreement_number\ngone,Gone,2026-01-01,\nkappa,Kappa,2026-01-01,acme-1\nlambda,L,2026-01-01,X\nmy1,M,2026-01-01,X\n"
    )
    assert ["never used again" in told[0], "another one's" in told[1], "another one's" in told[2], len(told)] == [True, True, True, 3]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffcode;name;start\r\ngamma;Gamma; 2026-02-01 \r\n".encode(),
        b"code\tname\tstart\ngamma\tGamma\t2026-02-01\n",
        b'code,start,name\ngamma,2026-02-01,"Gamma, Inc."\n',
    ],
)
def test_as_spreadsheets_write_it(content: bytes, db: None) -> None:
    assert take(content).added == ["gamma"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"code,name,start\n", "has no rows"),
        (b"name,code,start\nx,gamma,2026-01-01\n", "the first column is 'name' instead of 'code'"),
        (b"code,name\ngamma,x\n", "the column 'start' is missing"),
        (b"code,name,start,colour\ngamma,x,2026-01-01,red\n", "there is no column 'colour'"),
        (b"code,name,start,name\ngamma,x,2026-01-01,y\n", "stands there 2 times"),
        (b"code,name,start\ngamma,x\n", "has 2 fields; the header has 3"),
        ("code,name,start\ngamma,Gämma,2026-01-01\n".encode("cp1252"), "save the file as UTF-8"),
        ("code,name,start\ngamma,x,2026-01-01\n".encode("utf-16"), "save the file as UTF-8"),
        (b'code,name,start\ngamma,"a\nb",2026-01-01\n', "a line break"),
        (b"\x00\x01PK\x03\x04" * 50, "the first column"),
    ],
)
def test_hostile_and_broken_files_are_refused_with_what_is_wrong(content: bytes, told: str, db: None) -> None:
    assert told in " ".join(refusals(content))
    assert not Customer.objects.exists()


def test_a_file_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setattr(sheets, "MAX_BYTES", 100)
    monkeypatch.setattr(sheets, "MAX_ROWS", 2)
    assert "no list of customers" in refusals(b"code,name,start\n" + b"x" * 101)[0]
    assert "more than 2 rows" in refusals("code,name,start\n" + "".join(f"c{n:02},x,2026-01-01\n" for n in range(3)))[0]


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    path.write_text(f"{HEADER}\n{DELTA}\n")
    return path


def test_a_dry_run_writes_nothing(csv_file: Path, capsys: pytest.CaptureFixture[str], db: None) -> None:
    call_command("import_customers", str(csv_file), "--dry-run", "--json")
    assert json.loads(capsys.readouterr().out) == {"ok": True, "dry_run": True, "added": ["delta"], "known": 0}
    assert not Customer.objects.exists()
    call_command("import_customers", str(csv_file))
    assert capsys.readouterr().out.splitlines() == ["added: delta", "1 customer added, 0 known already."]


def test_the_command_names_what_is_wrong_and_fails(csv_file: Path, capsys: pytest.CaptureFixture[str], db: None) -> None:
    csv_file.write_text("code,name,start\nx,X,2026-01-01\n")
    with pytest.raises(CommandError, match="nothing was written"):
        call_command("import_customers", str(csv_file), "--json")
    [told] = json.loads(capsys.readouterr().out)["refused"]
    assert told.startswith("new.csv, line 2, column code: 3 to 32 small letters")
    assert not Subscription.objects.exists()


def test_the_example_in_the_manual_is_taken(people: dict[str, User]) -> None:
    example = Path(__file__).parents[2] / "docs/examples/customers.csv"
    done = take(example.read_bytes().replace(b",ada,", b",bo,"), dry_run=True)
    assert len(done.added) == 3
    assert set(example.read_text().splitlines()[0].split(",")) == {*COLUMNS.required, *COLUMNS.optional}
