"""The audit trail as CSV and on paper, whatever stands in it."""

from __future__ import annotations

import csv
import io
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.formulas import as_text, original
from audit.models import Event as EventRow
from audit.printing import Document
from backups.errors import PurgedMeanwhile
from l2l.reports import making, trail_csv, trail_pdf
from l2l.reports.making import Kind, NotWritten, new_file
from l2l.reports.spreadsheet import MARK
from l2l.reports.trail_pdf import TooLong
from subscriptions.models import DataRecord, Export
from tests.l2l.reports.conftest import NOW, shipped, trail

HOSTILE = {
    "formula": "=cmd|' /C calc'!A0",
    "lines": "one\ntwo\r\nthree",
    "rtl": "שלום עולם",
    "cjk": "自転車",
    "turned": "\u202etxt.exe",
    "long": "word " * 2000,
    "markup": "<b>bold</b>&amp;",
    "comma": 'a,"b";c',
    "negative": "-5",
    "apostrophe": "'twas",
}


def record(customer: Any, reference: str = "P-1", **data: Any) -> DataRecord:
    return DataRecord.objects.create(customer=customer, kind="part", reference=reference, data=data)


def lines_of(data: bytes) -> list[dict[str, str]]:
    assert data.startswith(MARK)
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_the_csv_has_every_value_as_it_is_and_runs_none(berlin: Any) -> None:
    record(berlin, **HOSTILE)
    shipped(berlin)
    rows = lines_of(b"".join(trail_csv.pieces(trail(berlin))))
    assert tuple(rows[0]) == trail_csv.HEADS
    found = {row["field"].removeprefix("Data: "): row["new"] for row in rows}
    assert {name: original(found[name]) for name in HOSTILE if name not in ("negative",)} == {
        name: value for name, value in HOSTILE.items() if name != "negative"
    }
    assert found["formula"].startswith("'=") and found["negative"] == '"-5"'
    assert {row["number"] for row in rows} == {"1"} and rows[0]["when_local"].endswith(("+01:00", "+02:00"))


@given(st.text())
def test_no_cell_begins_as_a_formula_and_each_can_be_read_back(text: str) -> None:
    cell = as_text(text)
    assert original(cell) == text
    assert not cell.startswith(("=", "@", "\t", "\r")) and (not cell.startswith(("+", "-")) or cell[1:2].isdigit())


def test_on_paper_nothing_is_cut_and_what_cannot_be_shown_is_counted(berlin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ""
    printed = Document.pdf

    def heard(paper: Document) -> bytes:
        nonlocal said
        said = " ".join(text_of(paper))
        return printed(paper)

    monkeypatch.setattr(Document, "pdf", heard)
    record(berlin, **HOSTILE).delete()
    shipped(berlin)
    pdf = trail_pdf.printed(trail(berlin), sample=True)
    assert pdf.startswith(b"%PDF") and pdf == trail_pdf.printed(trail(berlin), sample=True)
    assert said.count("word") == 2 * 2000
    assert "[U+81EA][U+8EE2][U+8ECA]" in said and "[U+202E]txt.exe" in said and "&lt;b&gt;bold" in said
    assert "one↵<br/>two↵<br/>three" in said
    assert "characters of the values stand here as their code points" in said and "SAMPLE" in said


def text_of(paper: Document) -> list[str]:
    found: list[str] = []
    for part in paper.parts:
        cells = [cell for row in getattr(part, "_cellvalues", []) for cell in row]
        found += [one.text for one in (part, *cells) if hasattr(one, "text")]
    return found


def test_paper_refuses_what_nobody_reads(berlin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record(berlin, "P-1", text="x" * 100)
    record(berlin, "P-2")
    monkeypatch.setattr(trail_pdf, "MOST_CHANGES", 1)
    with pytest.raises(TooLong, match=r"2 changes is more than a PDF is made for\. Take CSV"):
        trail_pdf.printed(trail(berlin), sample=False)
    monkeypatch.setattr(trail_pdf, "MOST_CHANGES", 10)
    monkeypatch.setattr(trail_pdf, "MOST_CHARACTERS", 50)
    with pytest.raises(TooLong, match="50 characters"):
        trail_pdf.printed(trail(berlin), sample=False)


def test_an_empty_period_says_so(berlin: Any) -> None:
    day = date(2020, 1, 1)
    assert trail_pdf.printed(trail(berlin, day, day), sample=False).startswith(b"%PDF")
    assert lines_of(b"".join(trail_csv.pieces(trail(berlin, day, day)))) == []


@pytest.mark.slow
def test_a_long_csv_needs_the_memory_of_a_part(berlin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 MB of values leave through less than a fifth of it."""
    rows = [DataRecord(customer=berlin, kind="part", reference=f"P-{number}", data={"text": "x" * 100_000}) for number in range(400)]
    for at in range(0, 400, 50):
        DataRecord.objects.tracked_create(rows[at : at + 50])
    del rows
    monkeypatch.setattr("l2l.reports.trail.BATCH", 10)
    tracemalloc.start()
    try:
        size = sum(len(piece) for piece in trail_csv.pieces(trail(berlin)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 40_000_000 and peak < 8_000_000


def made(customer: Any, path: Path, kind: Kind = Kind.CSV) -> making.Made:
    with new_file(path) as (file, release):
        found = making.make_trail(trail(customer), kind, file, reason="asked by the auditor", sample=False)
        found.hand_over(str(path), NOW, release, kept=True)
    return found


def test_what_leaves_is_an_export_and_an_event(berlin: Any, tmp_path: Path) -> None:
    record(berlin)
    path = tmp_path / "trail.csv"
    found = made(berlin, path)
    export = Export.objects.get(customer=berlin)
    assert (export.by, export.reason, export.path, export.removed_at) == ("ada", "asked by the auditor", str(path), None)
    assert export.sha256 == found.written.sha256
    event = EventRow.objects.get(event="report:made")
    assert event.customer == berlin.pk and event.facts == {"kind": "audit-trail-csv", "rows": 1, "sha256": export.sha256}
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_size == found.written.size


def test_nothing_leaves_when_content_was_purged_meanwhile(berlin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(berlin)
    counts = iter([0, 1])
    monkeypatch.setattr("l2l.reports.making.purges_of", lambda _: next(counts))
    monkeypatch.setattr("backups.exports.purges_of", lambda _: next(counts))
    with pytest.raises(PurgedMeanwhile):
        made(berlin, tmp_path / "trail.csv")
    assert not Export.objects.exists() and list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays(berlin: Any, tmp_path: Path) -> None:
    path = tmp_path / "trail.csv"
    path.write_text("mine")
    with pytest.raises(NotWritten, match="is there already"):
        made(berlin, path)
    with pytest.raises(NotWritten, match="no folder"):
        made(berlin, tmp_path / "nowhere" / "trail.csv")
    assert path.read_text() == "mine" and not Export.objects.exists()
