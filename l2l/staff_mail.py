"""Mail to ourselves and to the auditor: alarms and digests. Where there is no mail server, or nobody to write to, it is written to the
process's output, which is a service's log. (A reminder to a customer is not: a log reaches no customer, see `l2l/mail.py`.)"""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

CONSOLE = "django.core.mail.backends.console.EmailBackend"
MAIL, LOG = "mail", "console"
NOBODY = "nobody@localhost"
# Name, bytes, kind.
Attachment = tuple[str, bytes, str]


def way_to(addresses: Sequence[str]) -> str:
    """`mail`, or `console` while mail reaches nobody."""
    return MAIL if settings.EMAIL_HOST and settings.DEFAULT_FROM_EMAIL and addresses else LOG


def send(addresses: Sequence[str], subject: str, text: str, ident: str, attachments: Sequence[Attachment] = ()) -> None:
    """One message to all of them. `ident` becomes its Message-ID: a message that is sent once more is known by it. Raises `OSError`."""
    real = way_to(addresses) == MAIL
    sender = settings.DEFAULT_FROM_EMAIL or NOBODY
    domain = sender.rpartition("@")[2].strip(" <>") or "localhost"
    with get_connection(None if real else CONSOLE) as connection:
        message = EmailMessage(
            subject, text, sender, list(addresses) or [NOBODY], connection=connection, headers={"Message-ID": f"<{ident}@{domain}>"}
        )
        for attachment in attachments if real else ():
            message.attach(*attachment)
        message.send()
