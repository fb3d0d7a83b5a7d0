"""The backups app's exceptions. The message is what the user reads: it says what to do.

BackupError
├── KeysMissing        no usable key files; init or the recovery kit helps
├── StreamEnded        the customer was destroyed: nothing of it may be made again
├── Busy               another process works on the customer
├── LeaseLost          our time ran out and somebody else took over; we stop writing
├── NoLocation         no location can take or give anything now
├── NowhereWhole       an object that no location has whole
├── NoSet              there is no set to restore from
└── TargetInTheWay     the folder to restore into is not empty
"""


class BackupError(Exception):
    """Anything that the backups app refuses or cannot do."""


class KeysMissing(BackupError):
    """The key files are not there or cannot be used."""


class StreamEnded(BackupError):
    """A location holds the customer's `ended/` marker."""


class Busy(BackupError):
    """Another process works on that customer now."""


class LeaseLost(BackupError):
    """This process held its lease for too long without renewing it; another one may have it now."""


class NoLocation(BackupError):
    """No location can be used; the message lists each with its trouble."""


class NowhereWhole(BackupError):
    """No location has the object whole; the message names it and what was found where."""


class NoSet(BackupError):
    """No location holds a set that fits the question."""


class TargetInTheWay(BackupError):
    """The folder exists and is not empty."""
