"""The backups app's exceptions. The message is what the user reads: it says what to do.

BackupError
├── KeysMissing        no usable key files; init or the recovery kit helps
├── StreamEnded        the customer was destroyed: nothing of it may be made again
├── Busy               another process works on the customer
├── LeaseLost          our time ran out and somebody else took over; we stop writing
├── NoLocation         no location can take or give anything now
├── NowhereWhole       an object that no location has whole
├── NoSet              there is no set to restore from
├── Gap                between a set and the moment asked for something is missing or damaged everywhere
├── NotCovered         nothing proves what the state was at the moment asked for
├── TargetInTheWay     what is to be restored into is there already, and not empty
├── TargetUnusable     the database to restore into cannot be reached, or refused
├── ReadBackDiffers    the database gives rows back otherwise than it was given them
├── TooMuchDiffers     too many rows differ to be restored into the live tables
├── NotPurgeable       nothing may go, or not now; the message says why
├── PurgedMeanwhile    what was read was purged before it could leave
├── StillThere         something of purged items was found after they went
├── NotPlanned         what is to be destroyed cannot be listed, or may not be planned now
├── NotDestroyed       something stands in the way of a destruction; the message says what
├── NotTested          a test restore that could not be made; it stays owed
├── NotReturned        a customer's package that cannot be made now; it stays owed
├── NotHandedOver      this package is not given out, or not to this person, or not by this link
├── NotSignedOff       this person may not sign that test restore off, or not (any more)
├── NotCertified       a certificate of destruction of which something is not done or not proved
└── NotRestorable      a state that cannot be written into the live tables; the message lists why
"""


class BackupError(Exception):
    """Anything that the backups app refuses or cannot do."""


class KeysMissing(BackupError):
    """The key files are not there or cannot be used."""


class StreamEnded(BackupError):
    """A location holds the customer's `ended/` marker."""


class Busy(BackupError):
    """Another process works on that customer now; `doing` is what."""

    def __init__(self, message: str, doing: str = "") -> None:
        super().__init__(message)
        self.doing = doing


class LeaseLost(BackupError):
    """This process held its lease for too long without renewing it; another one may have it now."""


class NoLocation(BackupError):
    """No location can be used; the message lists each with its trouble."""


class NowhereWhole(BackupError):
    """No location has the object whole; the message names it and what was found where."""


class NoSet(BackupError):
    """No location holds a set that fits the question."""


class Gap(BackupError):
    """Segments or changes that no location has whole; the message names the numbers. A shorter history is never given instead."""


class NotCovered(BackupError):
    """A moment that lies behind what sets and segments prove, or that no set reaches; the message says until when they do."""


class TargetInTheWay(BackupError):
    """The folder or database exists and is not empty."""


class TargetUnusable(BackupError):
    """The database to restore into cannot be reached, is of an unknown kind, or refused; the message never shows a password."""


class ReadBackDiffers(BackupError):
    """What the database gave back is not what the set says; nothing of it was kept."""


class TooMuchDiffers(BackupError):
    """More differs than is written while a customer is frozen: a folder and an import are the way."""


class NotRestorable(BackupError):
    """The state cannot be written into the live tables as it is; the message says what stands in the way. Nothing was written."""


class NotPurgeable(BackupError):
    """Nothing of it may go now; the message says why and what to do. Nothing went."""


class StillThere(BackupError):
    """After a purge something of its items was found; the message says where."""


class PurgedMeanwhile(BackupError):
    """Content of the customer was purged while it was read from a backup: nothing was handed over. Run it again, and it is left out."""


class NotTested(BackupError):
    """The location, the scratch database or this machine stood in the way: nothing is known of the backup, and the test stays owed."""


class NotSignedOff(BackupError):
    """The message says why this person may not, or not any more."""


class NotPlanned(BackupError):
    """What is to be destroyed cannot be listed whole, or not now; the message says why. Nothing was written."""


class NotDestroyed(BackupError):
    """A step of a destruction cannot be done, or not now; the message says why and what to do. What went stays gone."""


class NotReturned(BackupError):
    """The package cannot be made now; the message says what it waits for and what to do. The request stays `returning`."""


class NotHandedOver(BackupError):
    """The package was not given out; the message says why and what to do."""


class NotCertified(BackupError):
    """Nothing was issued, for something is not done or not proved; the message lists it. What can be said now is an interim statement."""
