from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser

import audit
from audit import actors, clock
from audit.commands import BackOfficeCommand, a_day
from subscriptions.models import Customer
from subscriptions.onboarding import add_customer


class Command(BackOfficeCommand):
    help = "Adds a customer with its subscription. The short code stands in every path and key and can never be changed or used again."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customer", metavar="CUSTOMER", help="the short code: 3 to 32 small letters, digits and hyphens")
        parser.add_argument("--name", required=True)
        parser.add_argument("--start", type=a_day, metavar="DATE", help="first day of the subscription, YYYY-MM-DD")
        parser.add_argument("--agreed-years", type=int, metavar="N", help="years that data is kept; default: the subscription or 20 years")
        parser.add_argument("--destroy-within", type=int, metavar="DAYS", help="agreed days until destruction; default: 30")
        parser.add_argument("--zone", default="UTC", help="the customer's time zone, such as Europe/Berlin; default: UTC")
        parser.add_argument("--account-manager", metavar="USERNAME")

    def work(self, *, customer: str, name: str, zone: str, **options: Any) -> None:
        with audit.acting(actors.of_shell("add_customer")):
            added = add_customer(
                customer,
                name,
                start=options["start"] or clock.now().date(),
                account_manager=_person(options["account_manager"]),
                zone=zone,
                agreed_retention_years=options["agreed_years"],
                agreed_destruction_days=options["destroy_within"],
            )
        self.report(_lines(added), _document(added))


def _person(username: str | None) -> Any:
    users = get_user_model()._default_manager
    if username is None:
        return None
    person = users.filter(**{get_user_model().USERNAME_FIELD: username}).first()
    if person is None:
        raise CommandError(f"There is no person {username!r}. 'manage.py add_person {username} --role account_manager' adds one.")
    return person


def _lines(customer: Customer) -> list[str]:
    subscription = customer.subscriptions.get()
    return [f"Added {customer}, id {customer.pk}, with the subscription {subscription.agreement_number} from {subscription.start}."]


def _document(customer: Customer) -> dict[str, Any]:
    subscription = customer.subscriptions.get()
    return {
        "customer": customer.code,
        "id": str(customer.pk),
        "name": customer.name,
        "zone": customer.zone,
        "account_manager": customer.account_manager.get_username() if customer.account_manager else None,
        "agreement_number": subscription.agreement_number,
        "start": subscription.start.isoformat(),
        "agreed_retention_years": subscription.agreed_retention_years,
        "agreed_destruction_days": subscription.agreed_destruction_days,
    }
