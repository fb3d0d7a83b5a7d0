"""A customer statement as CSV: each figure and each cell of its tables on a line of its own, so that a program finds them by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from l2l.reports.spreadsheet import csv_file
from l2l.reports.statement import Signed

HEADS = ("section", "promises", "row", "name", "value")


def pieces(statement: Signed) -> Iterator[bytes]:
    return csv_file(HEADS, _rows(statement))


def _rows(statement: Signed) -> Iterator[tuple[Any, ...]]:
    said = statement.document
    about = {
        "title": said["title"],
        "sample": "yes" if said["sample"] else "no",
        "customer": said["customer"]["code"],
        "name": said["customer"]["name"],
        "zone": said["customer"]["zone"],
        "first day": said["period"]["first"],
        "last day": said["period"]["last"],
        "made at": said["made_at"],
        "SHA-256 of the JSON": statement.sha256,
        "signed by the key": statement.fingerprint,
    }
    yield from (("statement", "", "", name, value) for name, value in about.items())
    for section in said["sections"]:
        of = section["section"], " ".join(section["promises"])
        yield from ((*of, "", name, value) for name, value in section["figures"].items())
        for number, row in enumerate(section["rows"], 1):
            yield from ((*of, number, name, value) for name, value in zip(section["columns"], row, strict=True))
