"""What a certificate of destruction says, made of facts (pure: no Django, no clock; fields after NIST SP 800-88, compliance section 2).

Never here: a certificate of which one line is not verified, and a word more than is true. What was done to bytes at a location is
deletion by its own protocol and the destruction of the only key, not the destruction of a medium: the document says so, and names what may
lie somewhere for a while yet. The JSON is the authority; the PDF shows it and names its digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

FORMAT = 1
CERTIFICATE, INTERIM, SUPPLEMENT = "certificate", "interim", "supplement"
KINDS = (CERTIFICATE, INTERIM, SUPPLEMENT)
TITLES = {
    CERTIFICATE: "Certificate of destruction",
    INTERIM: "Interim statement: the destruction is not finished",
    SUPPLEMENT: "Supplement to a certificate of destruction",
}
COLUMNS = ("object", "version", "bytes", "sha256", "found_at", "destroyed_at", "verified_at", "result")
GONE, THERE, UNKNOWN = "gone", "there", "not looked at"
# More copies than that are listed in the plan alone, which stays; its digest and the counts stand here.
MOST_LINES = 50_000

METHOD = {
    "locations": "logical deletion of every object in every version, and cryptographic erase: the customer's key, which alone opens "
    "them, was destroyed wherever it was kept",
    "database": "rows deleted by SQL; what the database did to forget them stands under 'database'",
    "uploads": "logical deletion of every stored file of every version",
}
VERIFICATION = (
    "each place was listed again and shows nothing; a restore from each location alone was attempted and failed for that reason; "
    "the making of a new key, of the same customer and of the same stream was attempted and refused; every table was counted"
)
CATEGORY = {
    "locations": "Purge by cryptographic erase (NIST SP 800-88), with Clear (logical deletion) beside it",
    "database": "Clear (logical deletion, NIST SP 800-88)",
    "uploads": "Clear (logical deletion, NIST SP 800-88)",
}
LIMITS = (
    "No medium was destroyed. At a location of somebody else (a cloud, an object store) deletion is logical: what its operator keeps for a "
    "while stands under 'remains', and cannot be opened without the key that was destroyed.",
    "What is attested is what the places showed when they were looked at. Copies that people took out of the system are listed under "
    "'exports' as they were recorded; what became of a copy in the customer's own hands is the customer's.",
)
KEPT = (
    (
        "the evidence trail: who asked, returned, received, approved and destroyed, and when; ids, counts, digests and names of staff",
        "7 years, for the auditors",
    ),
    ("the customer's id, short code and name, its contract and its terms", "7 years, for the auditors; id and code are never used again"),
    ("nights, sets and test restores as ids, counts and results", "7 years, for the auditors"),
)


@dataclass(frozen=True, slots=True)
class CopyLine:
    """One object, in one version, at one location. `sha256` is empty where it is not known."""

    object: str
    version: str
    bytes: int
    sha256: str
    found_at: datetime | None
    destroyed_at: datetime | None
    verified_at: datetime | None
    result: str

    def row(self) -> list[Any]:
        times = [_at(one) for one in (self.found_at, self.destroyed_at, self.verified_at)]
        return [self.object, self.version, self.bytes, self.sha256, *times, self.result]


@dataclass(frozen=True, slots=True)
class Where:
    """A location with its copies. `held` is what keeps it from being done: empty when it is."""

    name: str
    url: str
    offsite: bool
    copies: Sequence[CopyLine]
    held: str = ""

    @property
    def gone(self) -> bool:
        return not self.held and all(copy.result == GONE for copy in self.copies)

    def document(self, most: int = MOST_LINES) -> dict[str, Any]:
        destroyed = sorted(one.destroyed_at for one in self.copies if one.destroyed_at)
        verified = sorted(one.verified_at for one in self.copies if one.verified_at)
        return {
            "location": self.name,
            "address": self.url,
            "offsite": self.offsite,
            "copies": len(self.copies),
            "bytes": sum(one.bytes for one in self.copies),
            "gone": sum(one.result == GONE for one in self.copies),
            "first_destroyed_at": _at(destroyed[0]) if destroyed else None,
            "last_destroyed_at": _at(destroyed[-1]) if destroyed else None,
            "verified_at": _at(verified[-1]) if verified else None,
            "result": GONE if self.gone else THERE if not self.held else UNKNOWN,
            "held_up_by": self.held,
            "columns": list(COLUMNS),
            "lines": [one.row() for one in self.copies] if len(self.copies) <= most else None,
        }


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is stated. Texts and JSON values; times are aware. `troubles` are what is not done or not proved, a line each."""

    kind: str
    number: int
    issued_at: datetime
    sample: bool
    software: str
    customer: Mapping[str, Any]
    agreements: Sequence[Mapping[str, Any]]
    request: Mapping[str, Any]
    clock: Mapping[str, Any]
    returned: Mapping[str, Any] | None
    receipt: Mapping[str, Any] | None
    waiver: Mapping[str, Any] | None
    holds: Sequence[Mapping[str, Any]]
    approval: Mapping[str, Any]
    places: Sequence[Where]
    live: Mapping[str, Any]
    keys: Sequence[str]
    exports: Sequence[Mapping[str, Any]]
    steps: Sequence[Mapping[str, Any]]
    proof: Mapping[str, Any]
    database: Mapping[str, Any] | None
    remains: Sequence[Mapping[str, str]]
    evidence: Mapping[str, Any]
    signatories: Sequence[Mapping[str, Any]]
    troubles: Sequence[str] = ()
    of_certificate: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


def why_not(facts: Facts) -> list[str]:
    """Why no certificate may be issued, a line each; none when every line is verified."""
    found = list(facts.troubles)
    found += [f"{one.name}: {one.held or 'not every copy is gone'}" for one in facts.places if not one.gone]
    found += [f"not proved: {line['what']}: {line['said']}" for line in facts.proof.get("lines", ()) if line["result"] is not True]
    if not facts.proof.get("lines"):
        found.append("nothing was proved yet")
    if facts.database is None:
        found.append("the database was not made to forget yet")
    found += [f"a legal hold is open: {one['id']}" for one in facts.holds if one["released_at"] is None]
    if len({one["person"] for one in facts.signatories if one["person"]}) < 1 or len(facts.signatories) < 2:
        found.append("it lacks its two signatories: who approved, and what carried it out")
    return list(dict.fromkeys(found))


def document(facts: Facts) -> dict[str, Any]:
    """The document, not signed yet. `ValueError` for a certificate or supplement of which a line is not verified."""
    open_lines = why_not(facts)
    if facts.kind != INTERIM and open_lines:
        raise ValueError("; ".join(open_lines))
    body = {name: value for name, value in asdict_shallow(facts).items() if name not in ("places", "keys", "troubles", "more", "kind")}
    return {
        "format": FORMAT,
        "kind": facts.kind,
        "title": TITLES[facts.kind],
        "statement": statement(facts),
        **body,
        "locations": [one.document() for one in facts.places],
        "keys_destroyed": list(facts.keys) if facts.kind != INTERIM else [],
        "sanitization": {
            "standard": "NIST SP 800-88 (terms); not a sanitization of media",
            "category": CATEGORY,
            "technique": METHOD,
            "tool": facts.software,
            "verification_method": VERIFICATION,
            "cryptographic_erase": erase_conditions(),
            "limits": list(LIMITS),
        },
        "kept": [{"what": what, "until": until} for what, until in KEPT],
        "still_to_do": open_lines if facts.kind == INTERIM else [],
        **dict(facts.more),
    }


def erase_conditions() -> list[dict[str, str]]:
    """What makes the destruction of a key count as the destruction of what it sealed, and how that is met (SP 800-88, cryptographic
    erase)."""
    return [
        {
            "condition": "everything was encrypted before it was stored",
            "met_by": "sets, segments and blobs leave the software sealed (age, X25519)",
        },
        {"condition": "every place of the key is known", "met_by": "it stood only at the locations, wrapped; in no database, set or dump"},
        {"condition": "wrapped copies count too", "met_by": "each wrapping at each location was deleted and is listed no more"},
        {"condition": "the cipher is strong", "met_by": "X25519, ChaCha20-Poly1305"},
    ]


def statement(facts: Facts) -> list[str]:
    """The sentences that people read."""
    who = f"{facts.customer['name']} ({facts.customer['code']})"
    copies = sum(len(one.copies) for one in facts.places)
    if facts.kind == INTERIM:
        due = facts.clock.get("due_at")
        return [
            f"The destruction of the data of {who} is under way and not finished. This is no certificate.",
            f"What remains stands under 'still to do'. It is due by {due or 'no date yet: a legal hold pauses the clock'}.",
        ]
    if facts.kind == SUPPLEMENT:
        return [
            f"Every place was looked at again for data of {who}, and none was found.",
            f"This supplements the certificate whose SHA-256 is {facts.of_certificate}.",
        ]
    return [
        f"All live data of {who} and every backup copy that was kept of it were deleted, and the key that opens them was destroyed.",
        f"{copies:,} copies at {len(facts.places)} locations were deleted; each place was listed again and shows nothing of them.",
        "What may lie somewhere for a while yet, unreadable by this software, is named under 'remains' with its end.",
    ]


def asdict_shallow(facts: Facts) -> dict[str, Any]:
    """The facts by name, times as text; without taking the copies apart."""
    found: dict[str, Any] = {}
    for name in Facts.__slots__:
        value = getattr(facts, name)
        found[name] = value if name == "places" else plain(value)
    return found


def plain(value: Any) -> Any:
    """JSON of what facts are made of."""
    if isinstance(value, datetime):
        return _at(value)
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, CopyLine):
        return plain(asdict(value))
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _at(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None
