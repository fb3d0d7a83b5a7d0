import hashlib
import json
import os
import socket
import threading
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

import audit
from audit import freezes
from audit.errors import Frozen, NoActor
from audit.models import JournalRow
from subscriptions.importing import NothingToImport, import_content
from subscriptions.importing.liverows import LiveRows
from subscriptions.models import DataRecord, Link, UploadedContent
from subscriptions.onboarding import add_customer

ADVENTUREWORKS = Path(__file__).resolve().parents[3] / "shared" / "data" / "adventureworks"


def live(customer):
    """All live content of a customer, as plain values."""
    records = {(one.kind, one.reference): one.data for one in DataRecord.objects.filter(customer=customer)}
    uploads = {one.name: stored(one) for one in UploadedContent.objects.filter(customer=customer)}
    return records, uploads, {one.reference: (one.title, one.url) for one in Link.objects.filter(customer=customer)}


def stored(upload):
    with upload.file.open() as file:
        return file.read()


def counts(outcome):
    return outcome.created, outcome.changed, outcome.unchanged, outcome.missing, outcome.deleted


def refusals(report):
    return [str(refusal) for refusal in report.refused]


def test_a_nasty_data_set_comes_in_as_it_is(acme, acme2, delivery, take):
    nasty = 'two\r\nlines, "quotes"\n\nand ; é ü 李 \U0001f6e0 \u2028 \x85 \x0b\ttab'
    delivery.records(
        "Störung (1)", ("No.", "Notiz", "ohne Wert", " spaced "), ("1", nasty, "", "  x  "), (" 2", "'; DROP TABLE", "\\", "NULL")
    )
    delivery.records("only references", ("ref",), ("a",), ("B",), ("b",))
    files = {
        "ünï cödé/100% (final) #1+2.bin": bytes(range(256)) * 5000,
        "new\nline.txt": b"\r\n",
        ".hidden": b"",
        "a/b/c/d.png": b"\x89PNG\0",
        "-rf": b"x",
        "back\\slash": b"y",
    }
    for name, content in files.items():
        delivery.upload(name, content)
    delivery.links(("1", 'Äpfel, "Birnen"', "https://example.com/ü?a=b&c=%20#d"), ("2", "", "mailto:x@example.com"))
    report = take()
    assert refusals(report) == [] and report.ok
    records, uploads, links = live(acme)
    assert records == {
        ("Störung (1)", "1"): {"Notiz": nasty, "ohne Wert": "", " spaced ": "  x  "},
        ("Störung (1)", " 2"): {"Notiz": "'; DROP TABLE", "ohne Wert": "\\", " spaced ": "NULL"},
        ("only references", "a"): {},
        ("only references", "B"): {},
        ("only references", "b"): {},
    }
    assert uploads == files
    assert links == {"1": ('Äpfel, "Birnen"', "https://example.com/ü?a=b&c=%20#d"), "2": ("", "mailto:x@example.com")}
    assert live(acme2) == ({}, {}, {})
    picture = UploadedContent.objects.get(name="a/b/c/d.png")
    assert (picture.content_type, picture.size, picture.sha256) == ("image/png", 5, hashlib.sha256(b"\x89PNG\0").hexdigest())
    assert UploadedContent.objects.get(name="-rf").content_type == "application/octet-stream"


def test_importing_again_writes_only_what_changed(acme, delivery, take):
    delivery.records("Part", ("No", "Name", "Price"), ("1", "Gear", "1.00"), ("2", "Nut", "2.00"), ("3", "Bolt", "3.00"))
    delivery.upload("a.txt", b"one")
    delivery.upload("b.txt", b"two")
    delivery.links(("1", "one", "https://example.com/1"), ("2", "two", "https://example.com/2"))
    take()
    before = JournalRow.objects.count()
    again = take()
    assert [counts(outcome) for outcome in again.outcomes] == [(0, 0, 3, 0, 0), (0, 0, 2, 0, 0), (0, 0, 2, 0, 0)]
    assert JournalRow.objects.count() == before
    # Columns in another order hold the same data.
    delivery.records(
        "Part", ("No", "Price", "Name"), ("3", "3.00", "Bolt"), ("1", "1.00", "Gear"), ("2", "2.50", "Nut"), ("4", "4.00", "Pin")
    )
    delivery.upload("b.txt", b"two!")
    delivery.upload("c.txt", b"three")
    delivery.links(("1", "one", "https://example.com/1"), ("2", "two", "https://example.com/changed"))
    changed = take()
    assert [counts(outcome) for outcome in changed.outcomes] == [(1, 1, 2, 0, 0), (1, 1, 1, 0, 0), (0, 1, 1, 0, 0)]
    assert JournalRow.objects.count() == before + 5
    assert DataRecord.objects.get(reference="2").data == {"Name": "Nut", "Price": "2.50"}
    assert [row.history_type for row in UploadedContent.objects.get(name="b.txt").history.order_by("history_id")] == ["+", "~"]
    assert stored(UploadedContent.objects.get(name="b.txt")) == b"two!"


def test_missing_rows_are_listed_and_deleted_only_on_request(acme, acme2, delivery, take):
    delivery.records("Part", ("No", "Name"), *((str(n), "x") for n in range(9)))
    gone = delivery.records("Machine", ("No", "Name"), ("M1", "Press"))
    file = delivery.upload("old/a.txt", b"one")
    delivery.upload("b.txt", b"two")
    delivery.links(("1", "one", "https://example.com/1"), ("2", "two", "https://example.com/2"))
    take()
    import_content(acme2, delivery.folder)
    delivery.records("Part", ("No", "Name"), ("0", "x"))
    gone.unlink()
    file.unlink()
    delivery.links(("1", "one", "https://example.com/1"))
    report = take()
    assert {kind: counts(outcome) for kind, outcome in report.records.items()} == {"Part": (0, 0, 1, 8, 0), "Machine": (0, 0, 0, 1, 0)}
    assert report.records["Part"].examples == ["1", "2", "3", "4", "5"] and report.uploads.examples == ["old/a.txt"]
    assert {outcome.kept_because for outcome in report.outcomes} == {"not asked to delete them"}
    deleted = take(delete_missing=True)
    assert [outcome.deleted for outcome in deleted.outcomes] == [8, 1, 1, 1] and deleted.ok
    assert live(acme) == ({("Part", "0"): {"Name": "x"}}, {"b.txt": b"two"}, {"1": ("one", "https://example.com/1")})
    assert DataRecord.history.filter(history_type="-", history_stream=acme.id).count() == 9
    assert [len(part) for part in live(acme2)] == [10, 2, 2]
    assert sum(outcome.missing for outcome in take(delete_missing=True).outcomes) == 0


def test_a_part_that_was_not_delivered_is_never_deleted(acme, delivery, take, tmp_path):
    delivery.records("Part", ("No",), ("1",))
    delivery.upload("a.txt", b"one")
    take()
    for part in ("records", "uploads"):
        (delivery.folder / part).rename(tmp_path / f"not delivered {part}")
    delivery.links()
    report = take(delete_missing=True)
    assert report.ok and [len(part) for part in live(acme)] == [1, 1, 0]
    assert report.records["Part"].kept_because == "the folder has no records"
    assert report.uploads.missing == 1


def test_nothing_is_deleted_because_its_file_was_refused(acme, delivery, take):
    delivery.records("Part", ("No", "Name"), ("1", "Gear"), ("2", "Nut"))
    delivery.records("Machine", ("No", "Name"), ("M1", "Press"))
    delivery.records("Shift", ("No", "Name"), ("S1", "early"), ("S2", "late"))
    delivery.upload("a.txt", b"one")
    delivery.upload("b.txt", b"two")
    delivery.links(("1", "one", "https://example.com/1"))
    take()
    before = live(acme)
    delivery.records("Part", ("No", "Name"), ("1", "changed"), ("", "no reference"))
    (delivery.folder / "records/Machine.csv").rename(delivery.folder / "records/Machine.txt")
    delivery.records("Shift", ("No", "Name"), ("S1", "early"))
    (delivery.folder / "uploads/a.txt").unlink()
    (delivery.folder / "uploads/a.txt").symlink_to("/etc/hostname")
    (delivery.folder / "uploads/b.txt").unlink()
    delivery.raw("links.csv", b"")
    report = take(delete_missing=True)
    records, uploads, links = live(acme)
    del before[0]["Shift", "S2"]  # its own file was read whole
    assert (records, uploads, links) == before
    assert report.refused_files == ["records/Machine.txt", "records/Part.csv", "links.csv", "uploads/a.txt"]
    assert report.uploads.kept_because == "something in uploads was refused"
    assert report.records["Machine"].kept_because == "something in records was refused"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ["records/X.csv: is empty: the header row is missing"]),
        (b"\xef\xbb\xbf", ["records/X.csv: is empty: the header row is missing"]),
        (b"\n\n", ["records/X.csv: is empty: the header row is missing"]),
        (b"No,Name\n1,\xe4\n", ["records/X.csv, line 2, column Name: is not UTF-8 at byte offset 10 (0xe4); save the file as UTF-8"]),
        (
            "No,Name\n1,ä\n".encode("utf-16"),
            ["records/X.csv, line 1, column number 1: is not UTF-8 at byte offset 0 (0xff); save the file as UTF-8"],
        ),
        (
            b"No,Name\n1,\xed\xa0\x80\n",
            ["records/X.csv, line 2, column Name: is not UTF-8 at byte offset 10 (0xed); save the file as UTF-8"],
        ),
        (b"No,Name\n1,a\n2,\xc3", ["records/X.csv, line 3, column Name: is not UTF-8 at byte offset 14 (0xc3); save the file as UTF-8"]),
        (b"No,Name\n,a\n  ,b\n", [f"records/X.csv, line {n}, column No: the reference is missing" for n in (2, 3)]),
        (b'No,Name\n1,"a\n\nb"\n2,b\n1,c\n', ["records/X.csv, line 6: repeats the reference 1 of line 2"]),
        (b"No,Name\r1,a\r1,c\r", ["records/X.csv, line 3: repeats the reference 1 of line 2"]),
        (
            b"No,Name\n1\n\n2,b,c\n",
            ["records/X.csv, line 2: has 1 field; the header has 2", "records/X.csv, line 4: has 3 fields; the header has 2"],
        ),
        (b"No,Name,Name,,No\n", ["columns 2 and 3 are both named Name", "column 4 has no name", "columns 1 and 5 are both named No"]),
        (b"No;Name\n1;a\n", ["records/X.csv, line 1: the header is one column; separate columns with commas"]),
        (b"No,Na\x00me\n", ["records/X.csv, line 1, column number 2: holds a NUL character, which PostgreSQL cannot store"]),
        (b"No,Name\n1,a\x00\n", ["records/X.csv, line 2, column Name: holds a NUL character, which PostgreSQL cannot store"]),
        (b"No,Name\n" + b"9" * 201 + b",a\n", ["records/X.csv, line 2, column reference: has 201 characters; at most 200 fit"]),
        (b'No,Name\n1,a\n2,"b\n3,c\n', ["records/X.csv, line 3: a quoted field that begins in this row is never closed"]),
        (b'No,Name\n1,"a"b\n', ["records/X.csv, line 2: cannot be read as CSV: "]),
    ],
)
def test_what_is_wrong_with_a_file_is_said_exactly(acme, delivery, take, content, expected):
    delivery.raw("records/X.csv", content)
    delivery.records("Good", ("No",), ("1",))
    report = take()
    assert len(refusals(report)) == len(expected)
    assert all(part in line for part, line in zip(expected, refusals(report), strict=True)), refusals(report)
    assert list(live(acme)[0]) == [("Good", "1")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"reference,url\n1,x\n", "the header is reference,url instead of reference,title,url"),
        (b"title,reference,url\n1,x,y\n", "the header is title,reference,url instead of"),
        (b"reference,title,url\n1,a,x\n2,b, \n", "links.csv, line 3, column url: the address is missing"),
        (b"reference,title,url\n1," + b"t" * 501 + b",x\n", "links.csv, line 2, column title: has 501 characters; at most 500 fit"),
        (b"reference,title,url\n1,a," + b"u" * 2001 + b"\n", "links.csv, line 2, column url: has 2001 characters; at most 2000 fit"),
    ],
)
def test_links_are_refused_whole(acme, delivery, take, content, expected):
    delivery.raw("links.csv", content)
    (refused,) = refusals(take())
    assert expected in refused
    assert not Link.objects.exists()


def test_a_file_with_a_mark_and_any_line_ends_is_read(acme, delivery, take):
    delivery.raw("records/A.csv", b'\xef\xbb\xbfNo,Name\r\n1,"a\r\nb"\r\n\r\n2,c')
    delivery.raw("records/B.CSV", b"No,Name\r1,a\r")
    delivery.raw("links.csv", b"reference,url,title\n1,https://example.com,one\n")
    assert take().ok
    assert live(acme)[0] == {("A", "1"): {"Name": "a\r\nb"}, ("A", "2"): {"Name": "c"}, ("B", "1"): {"Name": "a"}}
    assert live(acme)[2] == {"1": ("one", "https://example.com")}


def test_a_large_field_comes_in_and_a_larger_one_does_not(acme, delivery, take):
    delivery.records("Good", ("No", "Text"), ("1", "é" * 3_000_000))
    delivery.records("Bad", ("No", "Text"), ("1", "x" * (8 * 1024**2 + 1)))
    assert refusals(take()) == ["records/Bad.csv, line 2: a field is longer than 8 Mi characters; is a quote not closed?"]
    assert len(DataRecord.objects.get().data["Text"]) == 3_000_000


def test_problems_are_counted_when_they_are_many(acme, delivery, take):
    delivery.records("X", ("No", "Name"), *(("", "a") for _ in range(150)))
    found = refusals(take())
    assert (len(found), found[-1]) == (101, "records/X.csv: and 50 problems more")


def test_what_leads_out_of_the_folder_or_is_no_file_is_refused(acme, delivery, take, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("No\n1\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.txt").write_text("x")
    inside = delivery.upload("real.txt", b"real")
    delivery.records("Good", ("No",), ("1",))
    uploads = delivery.folder / "uploads"
    (uploads / "inside.txt").symlink_to(inside)
    (uploads / "dots.txt").symlink_to("../../secret.csv")
    (uploads / "folder").symlink_to(tmp_path / "outside")
    (uploads / "home").symlink_to(uploads)
    (uploads / "loop").symlink_to("loop")
    (uploads / "nowhere").symlink_to("nothing")
    (delivery.folder / "records" / "Out.csv").symlink_to(secret)
    (delivery.folder / "records" / "Folder.csv").mkdir()
    os.mkfifo(uploads / "pipe")
    os.mkfifo(delivery.folder / "records" / "Pipe.csv")
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(uploads)  # a socket's path is short
        listening.bind("socket")
        os.chdir(tmp_path)
        report = take()
    assert live(acme)[:2] == ({("Good", "1"): {}}, {"real.txt": b"real", "inside.txt": b"real"})
    assert refusals(report) == [
        "records/Folder.csv: is a folder; only ordinary files are imported",
        f"records/Out.csv: leads out of the folder, to {secret}; put the file itself there",
        "records/Pipe.csv: is a named pipe; only ordinary files are imported",
        f"uploads/dots.txt: leads out of the folder, to {secret}; put the file itself there",
        f"uploads/folder: leads out of the folder, to {tmp_path / 'outside'}; put the file itself there",
        "uploads/home: is a link to a folder; put the folder itself there",
        f"uploads/loop: cannot be read: Symlink loop from '{uploads / 'loop'}'",
        "uploads/nowhere: cannot be read: No such file or directory",
        "uploads/pipe: is a named pipe; only ordinary files are imported",
        "uploads/socket: is a socket; only ordinary files are imported",
    ]


def test_parts_that_are_no_folder_or_lead_out(acme, delivery, take, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "X.csv").write_text("No\n1\n")
    (delivery.folder / "records").symlink_to(tmp_path / "elsewhere")
    delivery.raw("uploads", b"a file")
    (delivery.folder / "links.csv").mkdir()
    assert refusals(take(delete_missing=True)) == [
        "records: leads out of the folder; put the files themselves there",
        "links.csv: is a folder; only ordinary files are imported",
        "uploads: cannot be read: Not a directory",
    ]


def test_names_that_are_no_text_or_too_long(acme, delivery, take):
    delivery.upload("good.txt", b"x")
    (Path(os.fsdecode(os.fsencode(delivery.folder) + b"/uploads/caf\xe9.txt"))).write_bytes(b"x")
    (Path(os.fsdecode(os.fsencode(delivery.folder / "records") + b"/"))).mkdir()
    (Path(os.fsdecode(os.fsencode(delivery.folder) + b"/records/Teil\xfc.csv"))).write_bytes(b"No\n1\n")
    delivery.records("K" * 101, ("No",), ("1",))
    delivery.upload("/".join("d" * 100 for _ in range(5)) + "/x.txt", b"x")
    assert refusals(take()) == [
        f"records/{'K' * 101}.csv: the name of the file is the kind, and it has 101 characters; at most 100 fit",
        "records/Teil\\xfc.csv: has a name that is not UTF-8; rename it",
        "uploads/caf\\xe9.txt: has a name that is not UTF-8; rename it",
        f"uploads/{'/'.join('d' * 100 for _ in range(5))}/x.txt: the name has 510 characters; at most 500 fit",
    ]
    assert list(live(acme)[1]) == ["good.txt"]


def test_what_is_no_part_of_an_import_is_named(acme, delivery, take):
    delivery.records("Part", ("No",), ("1",))
    delivery.raw("records/.DS_Store", b"\0")
    delivery.raw("records/notes.txt", b"x")
    delivery.raw("records/Part.CSV", b"No\n2\n")
    delivery.raw("README.md", b"x")
    report = take()
    assert report.ignored == ["README.md", "records/.DS_Store"]
    assert refusals(report) == [
        "records/Part.csv: is a second file of the kind Part, beside Part.CSV",
        "records/notes.txt: is no table: records/ takes one file NAME.csv or NAME.ndjson a kind, and nothing else",
    ]


@pytest.mark.parametrize("folder", ["", "missing", "file"])
def test_a_folder_without_anything_to_import(acme, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file").write_text("x")
    with pytest.raises(NothingToImport):
        import_content(acme, tmp_path / "empty" / folder)


def test_a_frozen_customer_and_nobody_acting(acme, delivery, take):
    delivery.records("Part", ("No",), ("1",))
    freezes.freeze(acme.id, reason="being returned")
    with pytest.raises(Frozen, match="being returned"):
        take()
    freezes.thaw(acme.id)
    assert take().ok


@pytest.mark.django_db
def test_somebody_must_act(delivery):
    delivery.records("Part", ("No",), ("1",))
    with audit.acting("ada"):
        from datetime import date

        customer = add_customer("acme", "Acme", start=date(2026, 1, 1))
    with pytest.raises(NoActor):
        import_content(customer, delivery.folder)


def test_a_row_added_by_somebody_else_meanwhile_refuses_the_file_whole(acme, delivery, take):
    delivery.records("Part", ("No", "Name"), *((str(n), "x") for n in range(1500)))

    def progress(line):
        if "written" in line:
            DataRecord.objects.create(customer=acme, kind="Part", reference="1499", data={})

    (refused,) = refusals(take(progress=progress))
    assert refused == "records/Part.csv: somebody else changed these rows at the same moment; import again"
    assert not DataRecord.objects.exists()
    assert take().ok and DataRecord.objects.count() == 1500


def test_a_file_that_changes_between_the_readings_is_refused_whole(acme, delivery, take):
    path = delivery.records("Part", ("No", "Name"), *((str(n), "x") for n in range(1500)))

    def progress(line):
        if "compared" in line:
            path.write_bytes(path.read_bytes() + b"1,again\n")

    (refused,) = refusals(take(progress=progress))
    assert "repeats the reference 1 of line 3" in refused
    assert not DataRecord.objects.exists()


def test_an_upload_that_changes_while_it_is_read_is_refused(acme, delivery, take):
    path = delivery.upload("log.bin", b"x" * 3_000_000)

    def progress(line):
        with path.open("ab") as file:
            file.write(b"more")

    assert refusals(take(progress=progress)) == ["uploads/log.bin: changes while it is read; import again when it is finished"]
    assert not UploadedContent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_leave_each_row_once(acme, delivery):
    delivery.records("Part", ("No", "Name"), *((str(n), "x") for n in range(300)))
    for n in range(5):
        delivery.upload(f"{n}.txt", b"x" * n)
    reports = []

    def importing():
        try:
            with audit.acting("ada", source="test"):
                reports.append(import_content(acme, delivery.folder))
        finally:
            connection.close()

    threads = [threading.Thread(target=importing) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(part) for part in live(acme)] == [300, 5, 0]
    assert sum(report.records["Part"].created for report in reports) == 300
    assert all("at the same moment" in line for report in reports for line in refusals(report))
    assert DataRecord.history.count() == 300


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_uploads_are_read_and_stored(acme, delivery):
    delivery.upload("a.bin", b"x" * 2_000_000)
    inside = []
    import_content(acme, delivery.folder, progress=lambda line: inside.append(connection.in_atomic_block))
    assert set(inside) == {False} and len(inside) > 5


def test_live_rows_keep_apart_what_is_seen():
    rows = LiveRows([(7, "a", b"1" * 32), (8, "b", b"2" * 32)])
    a, c = rows.place("a"), rows.place("c")
    assert (rows.seen(a, 2), rows.seen(a, 3), rows.seen(c, 4)) == (0, 2, 0)
    assert (rows.key(a), rows.key(c)) == (7, 0)
    assert (rows.is_same(a, b"1" * 32), rows.is_same(a, b"2" * 32), rows.is_same(c, bytes(32))) == (True, False, False)
    assert list(rows.unseen()) == [8]


def test_the_command_reports_and_keeps_the_reason(acme, delivery):
    delivery.records("Part", ("No",), ("1",))
    out = StringIO()
    call_command("import_content", "acme", str(delivery.folder), "--reason", "weekly feed", stdout=out)
    assert "records of Part: 1 created, 0 changed, 0 unchanged" in out.getvalue()
    row = DataRecord.objects.get().history.get()
    assert (row.history_source, row.history_change_reason) == ("import_content", "weekly feed")
    assert row.history_actor.startswith("shell:")


def test_the_command_ends_with_an_error_when_anything_was_refused(acme, delivery):
    delivery.records("Part", ("No",), ("1",))
    delivery.raw("records/Bad.csv", b"No,No\n")
    out = StringIO()
    with pytest.raises(CommandError, match=r"left as it was: records/Bad.csv"):
        call_command("import_content", "acme", str(delivery.folder), "--json", stdout=out)
    document = json.loads(out.getvalue())
    assert document["records"]["Part"]["created"] == 1
    assert document["refused"] == [
        {"file": "records/Bad.csv", "line": 1, "column": None, "reason": "the columns 1 and 2 are both named No"}
    ]
    assert (document["ok"], document["refused_files"]) == (False, ["records/Bad.csv"])


@pytest.mark.parametrize(
    ("customer", "folder", "message"), [("nobody", ".", "There is no customer"), ("acme", "missing", "cannot be read")]
)
def test_the_command_says_what_to_do(acme, customer, folder, message, tmp_path):
    with pytest.raises(CommandError, match=message):
        call_command("import_content", customer, str(tmp_path / folder))


@pytest.mark.slow
@pytest.mark.skipif(not ADVENTUREWORKS.is_dir(), reason="the sample is not beside the project")
def test_adventureworks_comes_in_whole_and_once(acme):
    report = import_content(acme, ADVENTUREWORKS)
    assert refusals(report) == []
    assert (DataRecord.objects.count(), UploadedContent.objects.count(), Link.objects.count()) == (17_243, 109, 6)
    again = import_content(acme, ADVENTUREWORKS)
    assert sum(outcome.writes + outcome.missing for outcome in again.outcomes) == 0
    for path in (ADVENTUREWORKS / "uploads").iterdir():
        assert UploadedContent.objects.get(name=path.name).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_json_rows_keep_what_a_csv_cannot_say(acme, tmp_path):
    rows = [{"reference": "1", "data": {"n": 1.5, "deep": [{"a": None}]}}, {"reference": "2", "data": {"other": True}}]
    (tmp_path / "records").mkdir()
    (tmp_path / "records/part.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = import_content(acme, tmp_path)
    assert report.ok and report.records["part"].created == 2
    assert [{"reference": one.reference, "data": one.data} for one in DataRecord.objects.order_by("reference")] == rows
    assert import_content(acme, tmp_path).records["part"].unchanged == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "is no JSON"),
        (b"[]", "is not {"),
        (b'{"reference": 1, "data": {}}', "is not {"),
        (b'{"reference": "1", "data": {}, "more": 1}', "is not {"),
        (b'{"reference": " ", "data": {}}', "the reference is missing"),
        (b'{"reference": "1", "data": "\\u0000"}', "NUL"),
        (b'{"reference": "1", "data": "\\ud800"}', "surrogate"),
        (b'{"reference": "\xff", "data": 1}', "is no JSON"),
    ],
)
def test_a_json_row_with_anything_wrong_refuses_its_file(acme, tmp_path, line, said):
    (tmp_path / "records").mkdir()
    (tmp_path / "records/part.ndjson").write_bytes(b'{"reference": "ok", "data": {}}\n' + line + b"\n")
    report = import_content(acme, tmp_path)
    assert not report.ok and said in str(report.refused[0]) and report.refused[0].line == 2
    assert not DataRecord.objects.exists()


def test_names_csv_gives_back_what_no_file_system_takes(acme, tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "uploads").mkdir()
    (tmp_path / "records/a~2Fb.csv").write_text("ref,x\n1,2\n")
    (tmp_path / "uploads/x~0A").write_bytes(b"content")
    (tmp_path / "names.csv").write_bytes(b'path,name\r\nrecords/a~2Fb.csv,a/b\r\nuploads/x~0A,"../x\n"\r\n')
    assert import_content(acme, tmp_path).ok
    assert DataRecord.objects.get().kind == "a/b" and UploadedContent.objects.get().name == "../x\n"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("name\nx\n", "columns path and name"),
        ("path,name\nuploads/a,c\nuploads/b,c\n", "twice"),
        ("path,name\nuploads/a,b\n", "called already"),
        ('path,name\n"uploads/a,b\n', "cannot be read"),
    ],
)
def test_names_that_would_overwrite_each_other_stop_the_import(acme, tmp_path, names, said):
    (tmp_path / "uploads").mkdir()
    for name in "ab":
        (tmp_path / "uploads" / name).write_text(name)
    (tmp_path / "names.csv").write_text(names)
    with pytest.raises(NothingToImport, match=said):
        import_content(acme, tmp_path)
    assert not UploadedContent.objects.exists()
