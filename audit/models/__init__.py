"""What the audit app keeps: streams and their journal, the evidence trail, the grants."""

from audit.models.evidence import Event, SignedHead
from audit.models.grants import Grant
from audit.models.journal import JournalRow, Stream

__all__ = ["Event", "Grant", "JournalRow", "SignedHead", "Stream"]
