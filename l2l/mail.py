"""The reminder of the receipt, by mail to the customer's contacts (P11). Without a mail server it says so, and people remind by hand."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from audit import clock
from audit.moments import in_utc, in_zone
from audit.sizes import in_units
from l2l.door import links
from subscriptions.ending import deadlines
from subscriptions.models import DataReturn


class NoMailServer(OSError):
    """No mail can be sent from here, by the settings."""

    def __init__(self) -> None:
        super().__init__("No mail server is set: remind the customer by hand, and set L2L_MAIL_HOST and L2L_MAIL_FROM (.env.example).")


def remind(addresses: list[str], package: DataReturn, day: int) -> None:
    """One message to all contacts of the customer. Raises `OSError` (`NoMailServer`, what the server says)."""
    if not settings.EMAIL_HOST or not settings.DEFAULT_FROM_EMAIL:
        raise NoMailServer
    with get_connection() as connection:
        EmailMessage(subject_of(package), text_of(package, day), settings.DEFAULT_FROM_EMAIL, addresses, connection=connection).send()


def subject_of(package: DataReturn) -> str:
    """Without line breaks, whatever the customer's name is."""
    return " ".join(f"Your returned data waits for your receipt ({package.request.customer.name})".split())


def text_of(package: DataReturn, day: int) -> str:
    """Plain words: what is there, how to look at it, what happens if nobody answers. The link stands in it where our address is known."""
    customer = package.request.customer
    fetched = f"was handed over {day} days ago" if package.delivered_at else f"is ready for {day} days, and nobody has fetched it"
    return "\n\n".join(
        (
            f"To whoever receives contract notices for {customer.name},",
            f"your subscription is over, and all of your data is to go back to you. The package {fetched}. "
            "Please fetch it, verify it, and acknowledge its receipt, or tell us what is wrong with it.",
            f"File: {package.file_name}, {in_units(package.size)}\nSHA-256: {package.package_sha256}\n"
            f"Made: {in_zone(package.made_at, customer.zone)}",
            _way(package),
            "After the receipt we destroy every copy of your data, as was agreed, and certify it. "
            f"If we hear nothing for {deadlines.ESCALATION_DAYS} days after the hand-over, we shall reach for you in another way.",
        )
    )


def _way(package: DataReturn) -> str:
    if not settings.L2L_ADDRESS:
        return "Your contact hands it to you, and records your receipt: please answer to this message."
    address, until = links.link_to(package, now=clock.now())
    return (
        f"{address}\n\nThe page shows how to verify the package on Linux, macOS and Windows. The link works until {in_utc(until)}, "
        "for everybody who has it: pass it on only to whom your data belongs."
    )
