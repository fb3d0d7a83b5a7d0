"""What the audit app keeps: streams and their journal, the evidence trail, the grants, the findings, the schema's versions."""

from audit.models.evidence import Event, SignedHead
from audit.models.findings import Finding
from audit.models.grants import Grant
from audit.models.journal import ChainHead, JournalRow, RowShape, Stream
from audit.models.people import Person
from audit.models.schema import SchemaChange, SchemaVersion

__all__ = [
    "ChainHead",
    "Event",
    "Finding",
    "Grant",
    "JournalRow",
    "Person",
    "RowShape",
    "SchemaChange",
    "SchemaVersion",
    "SignedHead",
    "Stream",
]
