"""What the audit app keeps: streams and their journal, the evidence trail, the grants, the findings, the controls and
their readings, the anchors, the reviews of access, the packs, the schema's versions."""

from audit.models.anchors import Anchor, AnchoredHead
from audit.models.controls import Alarm, ControlDay, ControlState, Reading, Telling
from audit.models.evidence import Event, SignedHead
from audit.models.findings import Finding
from audit.models.grants import Grant
from audit.models.journal import ChainHead, JournalRow, RowShape, Stream
from audit.models.packs import EvidencePack
from audit.models.people import Person
from audit.models.reviews import AccessReview, Attestation
from audit.models.schema import SchemaChange, SchemaVersion

__all__ = [
    "AccessReview",
    "Alarm",
    "Anchor",
    "AnchoredHead",
    "Attestation",
    "ChainHead",
    "ControlDay",
    "ControlState",
    "Event",
    "EvidencePack",
    "Finding",
    "Grant",
    "JournalRow",
    "Person",
    "Reading",
    "RowShape",
    "SchemaChange",
    "SchemaVersion",
    "SignedHead",
    "Stream",
    "Telling",
]
