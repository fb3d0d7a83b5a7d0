"""What the backups app keeps: the catalogue of stored objects, the runs that are owed, and the policy that says when and how long."""

from backups.models.catalogue import BackupSet, Blob, Chunk, Copy, Lease, Location, StoredFile, StreamQuerySet
from backups.models.certificates import Certificate
from backups.models.destruction import DestructionPlan, DestructionStep, DestructionSweep, DestructionTry
from backups.models.exports import ItemExport
from backups.models.hot import HotFile, HotState, KeptSegment, LossHour, Segment, SegmentCopy, Timeline
from backups.models.keys import EscrowDrill, KeyChangeRequest, KeyRingVersion
from backups.models.policy import BackupPolicy
from backups.models.purges import DoomedFile, Purge, PurgeRequest, PurgeTry, TermLook
from backups.models.recovery import RecoveredStream, Recovery
from backups.models.requests import LiveRestore, LiveRestoreRequest, PolicyChangeRequest
from backups.models.retention import ClockMark, ReadLease, RetentionLook, Slot
from backups.models.returning import ReturnWork
from backups.models.runs import Act, Heartbeat, Run
from backups.models.test_restores import TestCell, TestNight, TestOrder, TestRestore, TestSignOff, TestTier
from backups.models.verification import Damage, ServiceObject, UnknownObject, VerificationPass

__all__ = [
    "Act",
    "BackupPolicy",
    "BackupSet",
    "Blob",
    "Certificate",
    "Chunk",
    "ClockMark",
    "Copy",
    "Damage",
    "DestructionPlan",
    "DestructionStep",
    "DestructionSweep",
    "DestructionTry",
    "DoomedFile",
    "EscrowDrill",
    "Heartbeat",
    "HotFile",
    "HotState",
    "ItemExport",
    "KeptSegment",
    "KeyChangeRequest",
    "KeyRingVersion",
    "Lease",
    "LiveRestore",
    "LiveRestoreRequest",
    "Location",
    "LossHour",
    "PolicyChangeRequest",
    "Purge",
    "PurgeRequest",
    "PurgeTry",
    "ReadLease",
    "RecoveredStream",
    "Recovery",
    "RetentionLook",
    "ReturnWork",
    "Run",
    "Segment",
    "SegmentCopy",
    "ServiceObject",
    "Slot",
    "StoredFile",
    "StreamQuerySet",
    "TermLook",
    "TestCell",
    "TestNight",
    "TestOrder",
    "TestRestore",
    "TestSignOff",
    "TestTier",
    "Timeline",
    "UnknownObject",
    "VerificationPass",
]
