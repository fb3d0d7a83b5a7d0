"""Papers show what they are given, whole, or say what they cannot show. Without a database."""

from __future__ import annotations

from audit import printing
from audit.printing import Document, pieces, readable, unshown

LONG = "".join(f"word{number} " for number in range(1250))


def pages(pdf: bytes) -> int:
    return pdf.count(b"/Type /Page\n")


def paper(sample: bool = False) -> Document:
    document = Document("A report", sample=sample, foot=("First line", "second line"))
    document.heading("Facts")
    document.facts([("Name", "Acme <b>&amp; Sons</b>"), ("Text", LONG)])
    document.table(("when", "old", "new"), [("now", LONG, "short"), ("then", "\n" * 200, "x" * 10_000)], (20, 60, 60))
    document.listed(["one", "two"])
    return document


def test_the_same_paper_is_the_same_bytes_and_long_values_run_over_pages() -> None:
    first, again = paper().pdf(), paper().pdf()
    assert first == again and first.startswith(b"%PDF-") and pages(first) >= 4


def test_a_sample_says_so_on_every_page() -> None:
    assert paper(sample=True).pdf() != paper().pdf()
    assert Document("x", sample=True, across="NOT FINAL").across == "SAMPLE"


def test_pieces_lose_nothing_and_each_fits_on_a_page() -> None:
    for value in (LONG, "\n" * 500, "a\r\n" * 100, "\r" * 500, "", "short", "x" * 10_000):
        found = pieces(value)
        assert "".join(found) == value.replace("\r\n", "\n").replace("\r", "\n")
        assert all(len(one) <= printing.CELL_CHARACTERS and one.count("\n") <= printing.CELL_LINES for one in found)


def test_the_narrowest_column_still_fits_on_a_page() -> None:
    document = Document("Narrow", sample=False)
    document.table(("a", "b"), [("W" * 3000, "車" * 3000), ("W\n" * 3000, "two words " * 300)], (8, 166))
    document.table(("a", "b"), [("車" * 500, "x")], (8, 166))
    document.paragraph("車\n" * 1000)
    assert pages(document.pdf()) > 10


def test_a_piece_never_begins_in_the_middle_of_a_line_break() -> None:
    assert not any(one.startswith("\n") for one in pieces("a\r\n" * 500)[1:])


def test_what_cannot_be_shown_stands_as_its_code_point_and_is_counted() -> None:
    assert readable("自転車") == "[U+81EA][U+8EE2][U+8ECA]" and unshown("自転車\n") == 3
    assert readable("\u202egnp.exe") == "[U+202E]gnp.exe"
    assert readable("שלום") == "[U+05E9][U+05DC][U+05D5][U+05DD]"
    assert readable("Größe Ωμέγα Ж") == "Größe Ωμέγα Ж" and unshown("Größe Ωμέγα Ж") == 0


def test_line_breaks_of_a_value_are_told_from_those_of_the_page() -> None:
    assert printing.lines("a\r\nb\nc").text.count("↵") == 2
