"""Papers for people: certificates, statements and reports as PDF, with one look and one set of fonts.

A paper is made of what it is given alone, and the same is always the same bytes. It shows characters or says that it cannot: what the font
lacks, or what would turn, hide or break the text, stands as its code point (`[U+202E]`), so that no value can make a page say something
else. Right-to-left scripts are among them, for they would be set in the wrong order.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

FONTS = Path(__file__).with_name("fonts")
FONT, BOLD = "L2L-DejaVuSans", "L2L-DejaVuSans-Bold"
MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN - 12  # the frame's own padding
NAMES = 40 * mm  # the first column of facts
LINE, HEAD = colors.HexColor("#b8c2c2"), colors.HexColor("#eef3f3")
SAMPLE = "SAMPLE"
RETURN = "↵"
# What one cell of a table holds: a row that is higher than a page could not be set, so a longer text goes on in further rows.
CELL_CHARACTERS, CELL_LINES = 1200, 30
CODE_POINT = len("[U+10FFFF]")


@cache
def _glyphs() -> frozenset[int]:
    """The characters that both fonts have; registers the fonts."""
    fonts = [TTFont(FONT, str(FONTS / "DejaVuSans.ttf")), TTFont(BOLD, str(FONTS / "DejaVuSans-Bold.ttf"))]
    for font in fonts:
        pdfmetrics.registerFont(font)
    return frozenset(fonts[0].face.charToGlyph) & frozenset(fonts[1].face.charToGlyph)


def _style(size: float, *, bold: bool = False, before: float = 0, after: float = 2) -> ParagraphStyle:
    return ParagraphStyle(
        f"s{size}{bold}{before}",
        fontName=BOLD if bold else FONT,
        fontSize=size,
        leading=size * 1.35,
        spaceBefore=before,
        spaceAfter=after,
        splitLongWords=True,
    )


# A heading of a certificate may stand at the foot of a page: what was issued keeps its bytes. That of a `Document` goes with what follows.
CELL, TEXT, HEADING, TITLE = _style(7.5), _style(9), _style(10.5, bold=True, before=9, after=3), _style(17, bold=True, after=4)


KEPT_HEADING = ParagraphStyle("kept", parent=HEADING, keepWithNext=1)


def readable(value: Any) -> str:
    """Any text as one line that the page can show: what the font lacks, and what turns, hides or breaks a line, as its code point."""
    return "".join(one if _is_plain(one) else f"[U+{ord(one):04X}]" for one in unicodedata.normalize("NFC", str(value)))


def unshown(value: Any) -> int:
    """How many characters of a text a paper shows as code points (line breaks are shown as such)."""
    return sum(not _is_plain(one) for one in unicodedata.normalize("NFC", str(value)) if one not in "\r\n")


@lru_cache(maxsize=4096)
def _is_plain(one: str) -> bool:
    turns = unicodedata.bidirectional(one) in ("R", "AL", "AN")  # it would be set in the wrong order
    return (unicodedata.category(one)[0] not in "CZ" and not turns and ord(one) in _glyphs()) or one == " "


def text(value: Any, style: ParagraphStyle = CELL) -> Paragraph:
    """A text of one line, wrapped where the page ends."""
    return Paragraph(escape(readable(value)), style)


def lines(value: Any, style: ParagraphStyle = CELL) -> Paragraph:
    """A text with its own line breaks, each marked (`↵`), so that a break of the text is told from one of the page."""
    broken = _with_plain_breaks(str(value)).split("\n")
    return Paragraph(f"{RETURN}<br/>".join(escape(readable(one)) for one in broken), style)


def fields(rows: Iterable[tuple[Any, Any]]) -> Table:
    """Names and values, two columns. Names and values are texts, or paragraphs made of them."""
    table = Table([[_cell(name), _cell(value)] for name, value in rows], colWidths=[NAMES, WIDTH - NAMES])
    table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, 0), (-1, -1), 0.3, LINE), *_PADDING]))
    return table


def grid(heads: Sequence[Any], rows: Iterable[Sequence[Any]], widths: Sequence[float]) -> Table:
    """A table whose heads stand on every page; `widths` are the columns' shares of the page."""
    table = Table(
        [[_cell(one) for one in row] for row in (heads, *rows)],
        colWidths=[WIDTH * one / sum(widths) for one in widths],
        repeatRows=1,
    )
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("BACKGROUND", (0, 0), (-1, 0), HEAD),
                ("LINEBELOW", (0, 0), (-1, -1), 0.3, LINE),
                *_PADDING,
            ]
        )
    )
    return table


def _cell(value: Any) -> Flowable:
    return value if isinstance(value, Flowable) else text(value)


_PADDING = [
    (name, (0, 0), (-1, -1), size) for name, size in (("TOPPADDING", 2), ("BOTTOMPADDING", 2), ("LEFTPADDING", 3), ("RIGHTPADDING", 3))
]


@dataclass
class Document:
    """A paper that is written from top to bottom, and then asked for its bytes: `Document(title, sample=...)`, `heading`, `paragraph`,
    `facts`, `table`, `listed`, `pdf`. Nothing that it is given is cut. The whole paper stands in memory (about 3 KB for each cell), so
    whoever writes one says how long it may get.

    `foot` are up to two lines at the foot of each page; `across` are words in grey over each page (a sample's paper says SAMPLE)."""

    title: str
    sample: bool
    foot: Sequence[str] = ()
    subject: str = ""
    across: str = ""
    parts: list[Flowable] = field(default_factory=list)

    def __post_init__(self) -> None:
        _glyphs()
        self.across = SAMPLE if self.sample else self.across
        self.add(text((f"{SAMPLE} · " if self.sample else "") + self.title, TITLE))

    def add(self, *flowables: Flowable) -> None:
        self.parts.extend(flowables)

    def heading(self, words: str) -> None:
        self.add(text(words, KEPT_HEADING))

    def paragraph(self, words: Any, *, small: bool = False) -> None:
        self.add(lines(words, CELL if small else TEXT))

    def space(self, points: float = 4) -> None:
        self.add(Spacer(1, points))

    def facts(self, rows: Iterable[tuple[Any, Any]]) -> None:
        """Names and values; a name whose value is long goes on in further rows."""
        whole = list(_in_pieces(rows, (NAMES, WIDTH - NAMES)))
        if whole:
            self.add(fields((name, value) for name, value in whole), Spacer(1, 3))

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[Any]], widths: Sequence[float] | None = None) -> None:
        """A table, its heads on every page; nothing where there is no row. A row with a long value goes on in further rows."""
        shares = widths or [1] * len(heads)
        whole = list(_in_pieces(rows, shares))
        if whole:
            self.add(grid(heads, whole, shares), Spacer(1, 3))

    def listed(self, rows: Iterable[Any]) -> None:
        self.add(*(lines(f"• {one}") for one in rows))

    def together(self, *flowables: Flowable) -> None:
        """These stand on one page where they fit on one."""
        self.add(KeepTogether(list(flowables)))

    def pdf(self) -> bytes:
        out = io.BytesIO()
        paper = SimpleDocTemplate(
            out,
            pagesize=A4,
            leftMargin=MARGIN,
            rightMargin=MARGIN,
            topMargin=20 * mm,
            bottomMargin=24 * mm,
            title=readable(self.title),
            author="L2L back office",
            subject=self.subject,
            invariant=1,
        )
        paper.build(list(self.parts), onFirstPage=self._framed, onLaterPages=self._framed)
        return out.getvalue()

    def _framed(self, canvas: Any, _: Any) -> None:
        canvas.saveState()
        if self.across:
            _write_across(canvas, self.across)
        canvas.setFont(FONT, 6.5)
        for line, height in zip(self.foot, (14, 11), strict=False):
            canvas.drawString(MARGIN, height * mm, readable(line))
        canvas.drawRightString(A4[0] - MARGIN, 11 * mm, f"page {canvas.getPageNumber()}")
        canvas.restoreState()


def _write_across(canvas: Any, words: str) -> None:
    canvas.setFont(BOLD, 70)
    canvas.setFillColor(colors.HexColor("#000000"), alpha=0.07)
    canvas.translate(A4[0] / 2, A4[1] / 2)
    canvas.rotate(50)
    canvas.drawCentredString(0, -20, words)
    canvas.rotate(-50)
    canvas.translate(-A4[0] / 2, -A4[1] / 2)
    canvas.setFillColor(colors.black, alpha=1)


def _in_pieces(rows: Iterable[Sequence[Any]], widths: Sequence[float]) -> Iterable[tuple[Flowable, ...]]:
    """Each row as rows of cells that fit on a page, where the columns have these shares of it; the first cell is said again where a row
    goes on."""
    most = [_fitting(WIDTH * one / sum(widths)) for one in widths]
    for row in rows:
        cells = [[one] if isinstance(one, Flowable) else pieces(str(one), fits) for one, fits in zip(row, most, strict=True)]
        for number in range(max(len(one) for one in cells)):
            yield tuple(_piece(cell, number, named=not place) for place, cell in enumerate(cells))


def _fitting(width: float) -> int:
    """How many characters surely fit in a cell of so many points beside `CELL_LINES` line breaks: as many lines again, of the widest."""
    return max(CELL_LINES, min(CELL_CHARACTERS, int(width / CELL.fontSize) * CELL_LINES))


def _piece(cell: Sequence[Any], number: int, *, named: bool) -> Flowable:
    if named and number and len(cell) == 1 and not isinstance(cell[0], Flowable):
        return lines(f"{cell[0]} (goes on)")
    one = cell[number] if number < len(cell) else ""
    return one if isinstance(one, Flowable) else lines(one)


def pieces(value: str, most: int = CELL_CHARACTERS) -> list[str]:
    """A text in pieces of at most `CELL_LINES` line breaks and `most` characters as they are shown, cut behind a word where there is one.
    Together they are the text, each of its line ends as `\n`."""
    found, piece, length, broken = [], "", 0, 0
    for part in _parts(_with_plain_breaks(value), most):
        more = len(part) + (CODE_POINT - 1) * unshown(part)
        if piece and (length + more > most or broken >= CELL_LINES):
            found.append(piece)
            piece, length, broken = "", 0, 0
        piece, length, broken = piece + part, length + more, broken + part.endswith("\n")
    return [*found, piece]


def _parts(value: str, most: int) -> Iterable[str]:
    """Its lines, the long ones in parts."""
    for line in re.findall(r"[^\n]*\n|[^\n]+", value):
        longest = max(1, most // CODE_POINT) if unshown(line) else most
        while len(line) > longest:
            end = line.rfind(" ", longest // 2, longest) + 1 or longest
            yield line[:end]
            line = line[end:]
        yield line


def _with_plain_breaks(value: str) -> str:
    return value.replace("\r\n", "\n").replace("\r", "\n")
