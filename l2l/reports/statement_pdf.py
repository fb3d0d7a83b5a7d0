"""A customer statement on paper: it shows the signed JSON document and names its digest; the JSON is the authority."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.printing import Document
from l2l.reports.statement import Signed


def printed(statement: Signed) -> bytes:
    said = statement.document
    customer = said["customer"]
    paper = Document(
        said["title"],
        sample=said["sample"],
        foot=("This paper shows a signed JSON document, which is the authority. Its SHA-256:", statement.sha256),
        subject=f"SHA-256 of the JSON: {statement.sha256}",
    )
    paper.facts(
        [
            ("For", f"{customer['name']} ({customer['code']})"),
            ("Period", said["period"]["words"]),
            ("As of", said["made"]),
            ("Times", f"by the clock of {customer['zone']}"),
        ]
    )
    paper.paragraph(
        "What happened is told for the period; what there is, and until when it is kept, as of the moment named above. "
        "A mark such as P6 names the promise that a part tells of; the promises stand at the end.",
        small=True,
    )
    for section in said["sections"]:
        _section(paper, section)
    paper.heading("What was promised")
    paper.facts(said["promises"].items())
    paper.heading("What the words mean")
    paper.facts((name, meaning) for name, meaning in said["words"])
    paper.heading("Signature")
    paper.facts(
        [
            ("SHA-256 of the JSON", statement.sha256),
            ("Signed by the key", statement.fingerprint),
            ("Made with", said["software"] or "–"),
        ]
    )
    return paper.pdf()


def _section(paper: Document, section: Mapping[str, Any]) -> None:
    paper.heading(f"{section['title']} ({', '.join(section['promises'])})")
    for sentence in section["sentences"]:
        paper.paragraph(sentence, small=True)
    paper.facts((name[:1].upper() + name[1:], _number(value)) for name, value in section["figures"].items())
    if section["rows"]:
        paper.space()
        paper.table(section["columns"], [[_number(one) for one in row] for row in section["rows"]], section["widths"] or None)
    elif section["empty"]:
        paper.paragraph(section["empty"], small=True)


def _number(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value
