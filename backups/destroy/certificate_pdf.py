"""A certificate on paper: it shows what the JSON states, and names the JSON's digest; the JSON is the authority (P12).

Made of the document alone, with the fonts beside this module, and always the same bytes for the same document. Copies are summed up by
location, for nobody reads ten thousand lines; the JSON has each. A character that the font lacks, or that would turn the text around, is
written as its code point, so that no name can make the page say something else.
"""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
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

from audit.moments import in_utc_to_the_second
from audit.sizes import in_units
from backups.destroy.checking import sha256_of
from backups.destroy.stating import INTERIM

FONTS = Path(__file__).with_name("fonts")
FONT, BOLD = "L2L-DejaVuSans", "L2L-DejaVuSans-Bold"
# Longer texts are cut on paper, and say so.
MOST_TEXT, MOST_SENTENCE, MOST_ROWS = 300, 1500, 60
MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN - 12  # the frame's own padding
LINE, HEAD = colors.HexColor("#b8c2c2"), colors.HexColor("#eef3f3")

Said = dict[str, Any]


@cache
def _glyphs() -> frozenset[int]:
    """The characters that both fonts have; registers the fonts."""
    fonts = [TTFont(FONT, str(FONTS / "DejaVuSans.ttf")), TTFont(BOLD, str(FONTS / "DejaVuSans-Bold.ttf"))]
    for font in fonts:
        pdfmetrics.registerFont(font)
    return frozenset(fonts[0].face.charToGlyph) & frozenset(fonts[1].face.charToGlyph)


def rendered(document: Said, sha256: str) -> bytes:
    """The PDF of a document (without its signature) whose JSON has that SHA-256."""
    _glyphs()
    out = io.BytesIO()
    title = readable(document["title"])
    paper = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=20 * mm,
        bottomMargin=24 * mm,
        title=title,
        author="L2L back office",
        subject=f"SHA-256 of the JSON: {sha256}",
        invariant=1,
    )

    def frame(canvas: Any, _: Any) -> None:
        _framed(canvas, document, sha256)

    paper.build(list(_story(document, sha256)), onFirstPage=frame, onLaterPages=frame)
    return out.getvalue()


def of_text(text: str) -> bytes:
    """The PDF of a certificate as it is stored: its JSON text, to the byte."""
    said = json.loads(text)
    return rendered({name: value for name, value in said.items() if name != "signature"}, sha256_of(text))


def readable(value: Any, most: int = MOST_TEXT) -> str:
    """Any text as the page can show it: what turns, hides or breaks a line, and what the font lacks, as its code point."""
    text = unicodedata.normalize("NFC", str(value))
    shown = "".join(one if _is_plain(one) else f"[U+{ord(one):04X}]" for one in text[:most])
    return f"{shown} … ({len(text):,} characters; the JSON has them all)" if len(text) > most else shown


def _is_plain(one: str) -> bool:
    turns = unicodedata.bidirectional(one) in ("R", "AL", "AN")  # it would be set in the wrong order
    return (unicodedata.category(one)[0] not in "CZ" and not turns and ord(one) in _glyphs()) or one == " "


def moment(text: str | None) -> str:
    return in_utc_to_the_second(datetime.fromisoformat(text)) if text else "–"


def _framed(canvas: Any, document: Said, sha256: str) -> None:
    canvas.saveState()
    if document["sample"] or document["kind"] == INTERIM:
        canvas.setFont(BOLD, 70)
        canvas.setFillColor(colors.HexColor("#000000"), alpha=0.07)
        canvas.translate(A4[0] / 2, A4[1] / 2)
        canvas.rotate(50)
        canvas.drawCentredString(0, -20, "SAMPLE" if document["sample"] else "NOT A CERTIFICATE")
        canvas.rotate(-50)
        canvas.translate(-A4[0] / 2, -A4[1] / 2)
        canvas.setFillColor(colors.black, alpha=1)
    canvas.setFont(FONT, 6.5)
    canvas.drawString(MARGIN, 14 * mm, "This paper shows a signed JSON document, which is the authority. Its SHA-256:")
    canvas.drawString(MARGIN, 11 * mm, sha256)
    canvas.drawRightString(A4[0] - MARGIN, 11 * mm, f"page {canvas.getPageNumber()}")
    canvas.restoreState()


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


_CELL, _TEXT, _HEADING, _TITLE = _style(7.5), _style(9), _style(10.5, bold=True, before=9, after=3), _style(17, bold=True, after=4)


def _text(value: Any, style: ParagraphStyle = _CELL, most: int = MOST_TEXT) -> Paragraph:
    return Paragraph(escape(readable(value, most)), style)


def _story(said: Said, sha256: str) -> Iterable[Flowable]:
    customer = said["customer"]
    yield _text(("SAMPLE · " if said["sample"] else "") + said["title"], _TITLE)
    yield _text(f"No. {said['number']} for {customer['code']}, issued {moment(said['issued_at'])}", _TEXT)
    yield Spacer(1, 4)
    yield from (_text(one, _TEXT, MOST_SENTENCE) for one in said["statement"])
    yield from _listed("Still to do", said["still_to_do"])
    yield from _fields("Whose data", _whose(said))
    yield from _fields("Return, receipt and approval", _agreed(said))
    yield _text("Copies, by location", _HEADING)
    yield from _places(said)
    yield from _fields("Live data", _live(said))
    yield from _fields("How", _how(said))
    yield from _table(
        "What may lie somewhere for a while", ("where", "what", "until"), _rows(said["remains"], "where", "what", "until"), (50, 62, 62)
    )
    yield from _table("What is kept, and why", ("what", "until"), _rows(said["kept"], "what", "until"), (112, 62))
    yield from _table("Tried and seen", ("what", "where", "when", "result", "said"), _proof(said), (46, 20, 27, 14, 67))
    yield from _table("Steps", ("step", "location", "begun", "done", "objects", "bytes"), _steps(said), (48, 28, 34, 34, 14, 16))
    yield from _table("Listed again afterwards", ("stage", "when", "result"), _sweeps(said), (60, 60, 54))
    yield from _listed("Keys destroyed", said["keys_destroyed"])
    yield from _listed("Limits", said["sanitization"]["limits"])
    yield _signed(said, sha256)


def _whose(said: Said) -> list[tuple[str, Any]]:
    customer, agreements = said["customer"], said["agreements"]
    shown = ", ".join(f"{one['number']} ({one['first_day']} to {one['last_day'] or 'open'})" for one in agreements[:MOST_ROWS])
    clock = said["clock"]
    return [
        ("Customer", f"{readable(customer['name'])} ({customer['code']})"),
        ("Id", customer["id"]),
        ("Agreements", shown),
        ("Basis", said["request"]["basis"]),
        ("Asked for", f"{moment(said['request']['requested_at'])}, by {readable(said['request']['requested_by'])}"),
        ("Clock", f"began {moment(clock['began_at'])} with the {clock.get('began_with', '–')}; due {moment(clock['due_at'])}"),
        ("Legal holds", _holds(said)),
    ]


def _holds(said: Said) -> str:
    found = said["holds"]
    still = sum(one["released_at"] is None for one in found)
    return f"{len(found)} were placed, {still} of them open, looked for {moment(said['issued_at'])}"


def _agreed(said: Said) -> list[tuple[str, Any]]:
    returned, receipt, waiver, approval = said["returned"], said["receipt"], said["waiver"], said["approval"]
    lines: list[tuple[str, Any]] = []
    if returned:
        lines.append(("Package", f"No. {returned['number']}, {in_units(returned['bytes'])}, made {moment(returned['made_at'])}"))
        lines.append(("SHA-256 of the package", returned["package_sha256"]))
        lines.append(("SHA-256 of its manifest", returned["manifest_sha256"]))
    if receipt:
        who = readable(receipt["verified_by"]) or "nobody: silence counted, as agreed"
        lines.append(("Receipt", f"No. {receipt['id']}, {receipt['kind']}; verified by {who}, {moment(receipt['verified_at'])}"))
    if waiver:
        lines.append(("Waiver", f"recorded {moment(waiver['recorded_at'])} by {readable(waiver['recorded_by'])}"))
        lines.append(("SHA-256 of the waiver", waiver["document_sha256"]))
    lines.append(("Approved", f"{moment(approval['approved_at'])}, by {readable(approval['approved_by']) or '–'}"))
    lines.append(("Begun", f"{moment(approval['begun_at'])} (cooled off {moment(approval['cooled_off_at'])})"))
    lines.append(("SHA-256 of the plan", approval["plan_sha256"] or "–"))
    return lines


def _places(said: Said) -> Iterable[Flowable]:
    rows = [
        (
            f"{one['location']}{' (offsite)' if one['offsite'] else ''}",
            one["address"],
            f"{one['copies']:,}",
            in_units(one["bytes"]),
            moment(one["last_destroyed_at"]),
            moment(one["verified_at"]),
            one["result"] + (f": {one['held_up_by']}" if one["held_up_by"] else ""),
        )
        for one in said["locations"]
    ]
    heads = ("location", "address", "copies", "size", "destroyed by", "seen to be gone", "result")
    yield _grid(heads, rows, (22, 44, 14, 16, 28, 28, 22))
    yield _text("Each copy stands in the JSON with its name, version, size, SHA-256 where known, and times.", _CELL)


def _live(said: Said) -> list[tuple[str, Any]]:
    live = said["live"]
    return [
        ("Rows", f"{sum(live['rows'].values()):,} live, {sum(live['history'].values()):,} in history, {live['changes']:,} changes"),
        ("Uploads", f"{live['uploads']:,} stored files, {in_units(live['upload_bytes'])}"),
        ("Destroyed", moment(live["destroyed_at"])),
    ]


def _how(said: Said) -> list[tuple[str, Any]]:
    how, database = said["sanitization"], said["database"]
    lines = [(name.capitalize(), f"{how['technique'][name]} — {how['category'][name]}") for name in ("locations", "database", "uploads")]
    lines.append(("Tool", how["tool"]))
    lines.append(("Verified by", how["verification_method"]))
    lines.append(("The database forgot", "; ".join(database["asserted"]) if database else "not yet"))
    return lines


def _proof(said: Said) -> list[Sequence[Any]]:
    lines = said["proof"]["lines"]
    return [
        (one["what"], one["where"], moment(one["ended_at"]), "holds" if one["result"] else "DOES NOT HOLD", one["said"]) for one in lines
    ]


def _steps(said: Said) -> list[Sequence[Any]]:
    return [
        (
            one["step"],
            one["location"] or "–",
            moment(one["began_at"]),
            moment(one["done_at"]),
            f"{one['objects']:,}",
            in_units(one["bytes"]),
        )
        for one in said["steps"]
    ]


def _sweeps(said: Said) -> list[Sequence[Any]]:
    return [
        (one["stage"], moment(one["at"]), "nothing was found" if one["clean"] else "something was found") for one in said.get("sweeps", ())
    ]


def _rows(found: Sequence[Said], *names: str) -> list[Sequence[Any]]:
    return [tuple(one[name] for name in names) for one in found]


def _fields(title: str, lines: Sequence[tuple[str, Any]]) -> Iterable[Flowable]:
    yield _text(title, _HEADING)
    table = Table([[_text(name), _text(value)] for name, value in lines], colWidths=[40 * mm, WIDTH - 40 * mm])
    table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, 0), (-1, -1), 0.3, LINE), *_PADDING]))
    yield table


def _listed(title: str, lines: Sequence[str]) -> Iterable[Flowable]:
    if lines:
        yield _text(title, _HEADING)
        yield from (_text(one, most=MOST_SENTENCE) for one in lines[:MOST_ROWS])
        if len(lines) > MOST_ROWS:
            yield _text(f"and {len(lines) - MOST_ROWS:,} more: the JSON lists them")


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], widths: Sequence[float]) -> Iterable[Flowable]:
    if rows:
        yield _text(title, _HEADING)
        yield _grid(heads, rows[:MOST_ROWS], widths)
        if len(rows) > MOST_ROWS:
            yield _text(f"and {len(rows) - MOST_ROWS:,} more: the JSON lists them")


def _grid(heads: Sequence[str], rows: Sequence[Sequence[Any]], widths: Sequence[float]) -> Table:
    table = Table(
        [[_text(one) for one in row] for row in (heads, *rows)], colWidths=[WIDTH * one / sum(widths) for one in widths], repeatRows=1
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


_PADDING = [
    (name, (0, 0), (-1, -1), size) for name, size in (("TOPPADDING", 2), ("BOTTOMPADDING", 2), ("LEFTPADDING", 3), ("RIGHTPADDING", 3))
]


def _signed(said: Said, sha256: str) -> Flowable:
    evidence = said["evidence"]
    lines: list[Flowable] = [_text("Signatories and authority", _HEADING)]
    lines += [_text(f"{one['role']}: {one['person'] or one['system']}, {moment(one['at'])}", _TEXT) for one in said["signatories"]]
    lines.append(_text(f"Evidence trail: {evidence['events']:,} events, the newest with the digest {evidence['digest'] or '–'}"))
    lines.append(_text(f"Signed by the key of fingerprint {said.get('signed_by', {}).get('fingerprint', '–')}"))
    lines.append(_text(f"SHA-256 of the JSON: {sha256}"))
    lines.append(_text("Check the JSON with: manage.py verify_certificate FILE --kit RECOVERY-KIT (needs no database and no network)"))
    return KeepTogether(lines)
