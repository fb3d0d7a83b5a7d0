"""What the audit app keeps: streams and their journal, the evidence trail, the grants, the findings."""

from audit.models.evidence import Event, SignedHead
from audit.models.findings import Finding
from audit.models.grants import Grant
from audit.models.journal import ChainHead, JournalRow, RowShape, Stream
from audit.models.people import Person

__all__ = ["ChainHead", "Event", "Finding", "Grant", "JournalRow", "Person", "RowShape", "SignedHead", "Stream"]
