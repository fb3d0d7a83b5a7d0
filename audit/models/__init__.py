"""What the audit app keeps: streams and their journal, the evidence trail, the grants."""

from audit.models.evidence import Event, SignedHead
from audit.models.grants import Grant
from audit.models.journal import ChainHead, JournalRow, RowShape, Stream

__all__ = ["ChainHead", "Event", "Grant", "JournalRow", "RowShape", "SignedHead", "Stream"]
