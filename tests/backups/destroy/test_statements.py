"""What a certificate says, how it is checked anywhere, and how it looks on paper (P12). Without a database."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from audit.signing import Signer
from backups.destroy import certificate_pdf, checking, stating
from backups.destroy.checking import NotGenuine
from backups.destroy.stating import INTERIM, SUPPLEMENT, THERE, Facts, Where
from tests.backups.destroy.statements import copies, facts

SIGNER = Signer(bytes(range(32)))


def issued(found: Facts, signer: Signer = SIGNER) -> str:
    return checking.text_of(signer.sign(stating.document(found)))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"troubles": ["keys at offsite: under way"]}, "keys at offsite"),
        ({"places": [Where("primary", "file:///x", False, copies(2, THERE))]}, "not every copy is gone"),
        ({"places": [Where("primary", "file:///x", False, (), "it is down")]}, "it is down"),
        ({"proof": {"lines": []}}, "nothing was proved"),
        ({"proof": {"lines": [{"what": "a restore", "said": "it came back", "result": False}]}}, "it came back"),
        ({"proof": {"lines": [{"what": "a restore", "said": "?", "result": "yes"}]}}, "not proved"),
        ({"database": None}, "database"),
        ({"holds": [{"id": 4, "released_at": None}]}, "legal hold is open: 4"),
        ({"signatories": []}, "two signatories"),
    ],
)
def test_no_certificate_while_a_line_is_not_verified(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        stating.document(facts(**changes))
    with pytest.raises(ValueError, match=why):
        stating.document(facts(**changes, kind=SUPPLEMENT, of_certificate="ab" * 32))
    said = stating.document(facts(**changes, kind=INTERIM))
    assert any(why in line for line in said["still_to_do"]) and said["keys_destroyed"] == []
    assert "not finished" in said["title"] and "no certificate" in said["statement"][0]


def test_no_statement_claims_that_a_medium_was_destroyed() -> None:
    said = json.dumps(stating.document(facts()))
    assert "No medium was destroyed" in said and "deletion is logical" in said


def test_what_was_issued_is_genuine() -> None:
    text = issued(facts())
    genuine = checking.check(text.encode(), SIGNER.fingerprint)
    assert genuine.kind == "certificate" and genuine.sha256 == checking.sha256_of(text)


TEXT = issued(facts()).encode()


@given(st.integers(0, len(TEXT) - 1), st.integers(1, 255))
def test_not_one_byte_can_be_altered(at: int, by: int) -> None:
    altered = bytearray(TEXT)
    altered[at] ^= by
    with pytest.raises(NotGenuine):
        checking.check(bytes(altered), SIGNER.fingerprint)


@pytest.mark.parametrize(
    "alter",
    [
        lambda text: text[:-1],
        lambda text: text + b"\n",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(b'{"agreements"', b'{"number":9,"agreements"', 1),
        lambda text: json.dumps(json.loads(text), indent=1).encode(),
        lambda text: b"",
        lambda text: b"[]",
        lambda text: b"%PDF-1.4",
    ],
)
def test_no_other_writing_of_it_counts(alter: Callable[[bytes], bytes]) -> None:
    with pytest.raises(NotGenuine):
        checking.check(alter(TEXT), SIGNER.fingerprint)


def test_another_key_counts_for_nothing() -> None:
    other = Signer(bytes(32))
    with pytest.raises(NotGenuine, match="only"):
        checking.check(issued(facts(), other).encode(), SIGNER.fingerprint)


CONTRADICTIONS: list[Callable[[dict[str, Any]], Any]] = [
    lambda said: said["locations"][0].update(copies=99),
    lambda said: said["proof"]["lines"][0].update(result=False),
    lambda said: said.update(still_to_do=["more"]),
]


@pytest.mark.parametrize("contradict", CONTRADICTIONS)
def test_a_signed_contradiction_is_seen(contradict: Callable[[dict[str, Any]], Any]) -> None:
    said = stating.document(facts())
    contradict(said)
    with pytest.raises(NotGenuine):
        checking.check(checking.text_of(SIGNER.sign(said)).encode(), SIGNER.fingerprint)


def test_more_copies_than_are_listed_are_counted_still() -> None:
    place = Where("primary", "file:///x", False, copies(5)).document(most=4)
    assert place["lines"] is None and (place["copies"], place["bytes"]) == (5, 5000)


def verified(*arguments: str) -> tuple[str, str]:
    out = StringIO()
    try:
        call_command("verify_certificate", *arguments, stdout=out)
    except CommandError as problem:
        return out.getvalue(), str(problem)
    return out.getvalue(), ""


def test_the_command_says_what_is_attested(tmp_path: Path, key_folder: Path) -> None:
    """Without the database mark: it may ask none."""
    from backups import keyfiles

    file = tmp_path / "certificate.json"
    file.write_text(issued(facts(sample=True), keyfiles.signer(key_folder)))
    out, problem = verified(str(file), "--kit", str(key_folder / keyfiles.KIT))
    assert problem == "" and "Genuine: Certificate of destruction" in out and "SAMPLE" in out and "offsite: 3 copies" in out
    out, problem = verified(str(file), "--fingerprint", SIGNER.fingerprint)
    assert "not genuine" in problem and "is trusted" in problem
    assert "64 hexadecimal digits" in verified(str(file), "--fingerprint", "abc")[1]
    file.write_text(file.read_text().replace("Acme", "Acne"))
    out, problem = verified(str(file), "--kit", str(key_folder / keyfiles.KIT), "--json")
    assert "altered" in problem and "genuine" not in json.loads(out)


def test_the_pdf_is_held_against_the_document(tmp_path: Path) -> None:
    text = issued(facts())
    json_file, pdf = tmp_path / "c.json", tmp_path / "c.pdf"
    json_file.write_text(text)
    pdf.write_bytes(certificate_pdf.of_text(text))
    arguments = (str(json_file), "--fingerprint", SIGNER.fingerprint, "--pdf", str(pdf))
    assert "shows exactly this document" in verified(*arguments)[0]
    pdf.write_bytes(certificate_pdf.of_text(issued(facts(name="Somebody else"))))
    assert "is not the PDF" in verified(*arguments)[1]


HOSTILE = "Ünïcode Μοτοσυκλέτες Мотоциклы \u202egnihton\u202c <b>bold</b>&amp; 自転車 🚲 \x07" + "W" * 300


def test_hostile_names_and_ten_thousand_copies_stay_readable_on_paper() -> None:
    found = facts(name=HOSTILE, count=10_000)
    found = replace(found, keys=[f"keys/{number}" for number in range(500)])
    pdf = certificate_pdf.of_text(issued(found))
    assert pdf.startswith(b"%PDF") and 2 <= pdf.count(b"/Type /Page\n") <= 6
    assert len(pdf) < 500_000
    shown = certificate_pdf.readable(HOSTILE)
    assert "Μοτοσυκλέτες Мотоциклы [U+202E]gnihton" in shown and "[U+81EA]" in shown and "[U+1F6B2]" in shown and "[U+0007]" in shown
    assert "the JSON has them all" in shown


def test_the_same_document_is_the_same_paper() -> None:
    assert certificate_pdf.of_text(issued(facts())) == certificate_pdf.of_text(issued(facts()))
