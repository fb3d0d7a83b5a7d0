"""The audit app's exceptions. The message is what the user reads: it says what to do.

AuditError
├── BypassRefused      a call that would change data behind history's back
├── NoActor            a tracked change with nobody acting
├── Frozen             the customer's data is frozen
├── UnknownStream      there is no such customer
├── MovedCustomer      a foreign key on the path to the customer was changed
├── Unstorable         a value that one of our databases would refuse or change
├── SignInRefused      a name, password or right that does not do, at the command line
├── NotEvidence        (audit.events) a fact that an event may not carry
├── FindingRefused     (audit.findings) this person may not decide on it, or it is closed
├── GrantRefused       (audit.grants) a role that cannot be given or ended
├── NotAllowed         (audit.states) a request in another state
└── ApprovalRefused    (audit.two_person) this person cannot approve, or not now
    └── PlanChanged    what was asked for is not what would be done now
"""


class AuditError(Exception):
    """Anything that the audit app refuses."""


class BypassRefused(AuditError):
    """The call would leave a change without history; the message names the tracked verb to use."""


class NoActor(AuditError):
    """A tracked change needs somebody who makes it: wrap it in `with audit.acting(...)`."""


class Frozen(AuditError):
    """The customer's data is frozen (being returned, restored or destroyed); nothing may be written."""


class UnknownStream(AuditError):
    """There is no stream of that id: the customer was never added."""


class MovedCustomer(AuditError):
    """Content cannot move to another customer or parent: delete it there and create it here."""


class SignInRefused(AuditError):
    """Who names a person at the command line must give their password, and the person needs the right."""


class Unstorable(AuditError):
    """A value that one of the databases refuses or changes. `field` names it."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field} {why}")
        self.field = field
        self.why = why
