"""Whether a certificate is what the installation signed, looked at anywhere: no database, no network (pure; docs/format.md).

The file must be the very bytes that were issued: canonical JSON, so that no second reading of it is possible, signed by the key whose
fingerprint the reader got from the recovery kit. A signature proves who states it, not that it is true; so what is stated is held together
too: counts against lines, and a certificate against its own rule that every line is verified.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from audit import canonical
from audit.signing import BadSignature, verify
from backups.destroy.stating import CERTIFICATE, COLUMNS, FORMAT, GONE, INTERIM, KINDS, SUPPLEMENT


class NotGenuine(Exception):
    """It is not what was issued, or contradicts itself; the message says where."""


@dataclass(frozen=True, slots=True)
class Genuine:
    """`document` without its signature; `sha256` of the file's bytes, which the PDF names."""

    document: dict[str, Any]
    sha256: str

    @property
    def kind(self) -> str:
        return str(self.document["kind"])


def text_of(signed: dict[str, Any]) -> str:
    """The one text of a signed document: what is stored, handed out and digested. Ends with a line end."""
    return canonical.dumps(signed) + "\n"


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def check(data: bytes, trusted: str) -> Genuine:
    """The certificate in these bytes, signed by the key of fingerprint `trusted`. Raises `NotGenuine`."""
    if data.startswith(b"%PDF"):
        raise NotGenuine("this is the PDF, which shows the certificate. What counts is the JSON file of the digest that it names.")
    try:
        signed = json.loads(data)
        body = verify(signed, trusted)
    except BadSignature as problem:
        raise NotGenuine(str(problem)) from None
    except ValueError as problem:
        raise NotGenuine(f"it is no JSON document ({problem})") from None
    try:
        if text_of(signed).encode() != data:
            raise NotGenuine("its bytes are not those that were issued: it was written anew, or holds something twice")
        _check_statement(body)
    except (KeyError, TypeError, AttributeError, canonical.NotCanonical) as problem:
        raise NotGenuine(f"it is no certificate of this format ({type(problem).__name__}: {problem})") from None
    return Genuine(body, hashlib.sha256(data).hexdigest())


def _check_statement(body: dict[str, Any]) -> None:
    if body["format"] != FORMAT or body["kind"] not in KINDS:
        raise NotGenuine(
            f"it is a {body['kind']!r} of format {body['format']!r}; this software reads {', '.join(KINDS)} of format {FORMAT}"
        )
    for place in body["locations"]:
        _check_place(place)
    if body["kind"] == INTERIM:
        return
    if body["still_to_do"] or not body["proof"]["lines"] or not all(line["result"] is True for line in body["proof"]["lines"]):
        raise NotGenuine("it states a destruction of which not every line is verified")
    if any(place["result"] != GONE or place["gone"] != place["copies"] for place in body["locations"]):
        raise NotGenuine("it states a destruction of which a copy is not gone")
    if body["kind"] == SUPPLEMENT and not body["of_certificate"]:
        raise NotGenuine("it supplements no certificate")
    if body["kind"] == CERTIFICATE and not body["approval"]["plan_sha256"]:
        raise NotGenuine("it names no plan that was approved")


def _check_place(place: dict[str, Any]) -> None:
    lines = place["lines"]
    if lines is None:
        return
    if place["columns"] != list(COLUMNS):
        raise NotGenuine(f"{place['location']}: its lines have other columns than this format")
    sizes, results = COLUMNS.index("bytes"), COLUMNS.index("result")
    stated = (place["copies"], place["bytes"], place["gone"])
    counted = (len(lines), sum(line[sizes] for line in lines), sum(line[results] == GONE for line in lines))
    if stated != counted:
        raise NotGenuine(f"{place['location']}: it states {stated} copies, bytes and gone, its lines come to {counted}")
