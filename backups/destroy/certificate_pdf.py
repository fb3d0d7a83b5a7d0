"""A certificate on paper: it shows what the JSON states, and names the JSON's digest; the JSON is the authority (P12).

Made of the document alone, with the fonts beside this module, and always the same bytes for the same document. Copies are summed up by
location, for nobody reads ten thousand lines; the JSON has each. A character that the font lacks, or that would turn the text around, is
written as its code point, so that no name can make the page say something else.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Flowable, KeepTogether, Paragraph, Spacer, Table

from audit import printing
from audit.moments import in_utc_to_the_second
from audit.printing import CELL, HEADING, TEXT
from audit.sizes import in_units
from backups.destroy.checking import sha256_of
from backups.destroy.stating import INTERIM

# Longer texts are cut on paper, and say so.
MOST_TEXT, MOST_SENTENCE, MOST_ROWS = 300, 1500, 60

Said = dict[str, Any]


def rendered(document: Said, sha256: str) -> bytes:
    """The PDF of a document (without its signature) whose JSON has that SHA-256."""
    paper = printing.Document(
        readable(document["title"]),
        sample=document["sample"],
        foot=("This paper shows a signed JSON document, which is the authority. Its SHA-256:", sha256),
        subject=f"SHA-256 of the JSON: {sha256}",
        across="NOT A CERTIFICATE" if document["kind"] == INTERIM else "",
    )
    paper.add(*_story(document, sha256))
    return paper.pdf()


def of_text(text: str) -> bytes:
    """The PDF of a certificate as it is stored: its JSON text, to the byte."""
    said = json.loads(text)
    return rendered({name: value for name, value in said.items() if name != "signature"}, sha256_of(text))


def readable(value: Any, most: int = MOST_TEXT) -> str:
    """Any text as the page can show it (`printing.readable`); a longer one is cut, and says so."""
    text = unicodedata.normalize("NFC", str(value))
    shown = printing.readable(text[:most])
    return f"{shown} … ({len(text):,} characters; the JSON has them all)" if len(text) > most else shown


def moment(text: str | None) -> str:
    return in_utc_to_the_second(datetime.fromisoformat(text)) if text else "–"


def _text(value: Any, style: ParagraphStyle = CELL, most: int = MOST_TEXT) -> Paragraph:
    return printing.text(readable(value, most), style)


def _story(said: Said, sha256: str) -> Iterable[Flowable]:
    customer = said["customer"]
    yield _text(f"No. {said['number']} for {customer['code']}, issued {moment(said['issued_at'])}", TEXT)
    yield Spacer(1, 4)
    yield from (_text(one, TEXT, MOST_SENTENCE) for one in said["statement"])
    yield from _listed("Still to do", said["still_to_do"])
    yield from _fields("Whose data", _whose(said))
    yield from _fields("Return, receipt and approval", _agreed(said))
    yield _text("Copies, by location", HEADING)
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
    yield _text("Each copy stands in the JSON with its name, version, size, SHA-256 where known, and times.", CELL)


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
    yield _text(title, HEADING)
    yield printing.fields([(_text(name), _text(value)) for name, value in lines])


def _listed(title: str, lines: Sequence[str]) -> Iterable[Flowable]:
    if lines:
        yield _text(title, HEADING)
        yield from (_text(one, most=MOST_SENTENCE) for one in lines[:MOST_ROWS])
        if len(lines) > MOST_ROWS:
            yield _text(f"and {len(lines) - MOST_ROWS:,} more: the JSON lists them")


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], widths: Sequence[float]) -> Iterable[Flowable]:
    if rows:
        yield _text(title, HEADING)
        yield _grid(heads, rows[:MOST_ROWS], widths)
        if len(rows) > MOST_ROWS:
            yield _text(f"and {len(rows) - MOST_ROWS:,} more: the JSON lists them")


def _grid(heads: Sequence[str], rows: Sequence[Sequence[Any]], widths: Sequence[float]) -> Table:
    return printing.grid([_text(one) for one in heads], [[_text(one) for one in row] for row in rows], widths)


def _signed(said: Said, sha256: str) -> Flowable:
    evidence = said["evidence"]
    lines: list[Flowable] = [_text("Signatories and authority", HEADING)]
    lines += [_text(f"{one['role']}: {one['person'] or one['system']}, {moment(one['at'])}", TEXT) for one in said["signatories"]]
    lines.append(_text(f"Evidence trail: {evidence['events']:,} events, the newest with the digest {evidence['digest'] or '–'}"))
    lines.append(_text(f"Signed by the key of fingerprint {said.get('signed_by', {}).get('fingerprint', '–')}"))
    lines.append(_text(f"SHA-256 of the JSON: {sha256}"))
    lines.append(_text("Check the JSON with: manage.py verify_certificate FILE --kit RECOVERY-KIT (needs no database and no network)"))
    return KeepTogether(lines)
