import json
from datetime import UTC, date, datetime
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from audit.models import Stream
from subscriptions.models import Customer

pytestmark = pytest.mark.django_db


def run(*arguments, **options):
    out = StringIO()
    call_command("add_customer", *arguments, stdout=out, **options)
    return out.getvalue()


def test_a_customer_with_its_stream_and_subscription():
    assert run("acme", "--name", "Acme Bicycles").startswith("Added Acme Bicycles (acme), id ")
    customer = Customer.objects.get()
    assert Stream.objects.get(name="acme").id == customer.id
    assert customer.subscriptions.get().start == datetime.now(UTC).date()
    row = customer.history.get()
    assert row.history_actor.startswith("shell:") and row.history_source == "add_customer"


def test_every_term_and_one_json_document():
    ada = get_user_model().objects.create_user("ada")
    arguments = [
        "--start",
        "2026-02-01",
        "--agreed-years",
        "7",
        "--destroy-within",
        "10",
        "--zone",
        "Europe/Berlin",
        "--account-manager",
        "ada",
    ]
    document = json.loads(run("acme", "--name", "Acmé", *arguments, "--json"))
    subscription = Customer.objects.get().subscriptions.get()
    assert (subscription.start, subscription.agreed_retention_years, subscription.agreed_destruction_days) == (date(2026, 2, 1), 7, 10)
    assert Customer.objects.get().account_manager == ada
    assert document == {
        "customer": "acme",
        "id": str(Customer.objects.get().pk),
        "name": "Acmé",
        "zone": "Europe/Berlin",
        "account_manager": "ada",
        "agreement_number": "acme-1",
        "start": "2026-02-01",
        "agreed_retention_years": 7,
        "agreed_destruction_days": 10,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acme", "--name", "Again"], "already exists"),
        (["Acme!", "--name", "A"], "3 to 32 small letters"),
        (["beta", "--name", "B", "--zone", "Europe/Nowhere"], "There is no time zone 'Europe/Nowhere'"),
        (["beta", "--name", "B", "--zone", "../etc"], "There is no time zone"),
        (["beta", "--name", "B", "--agreed-years", "0"], "agreed_retention_years"),
        (["beta", "--name", "B", "--account-manager", "bob"], "There is no person 'bob'"),
        (["beta", "--name", "B\x00"], "NUL|Null"),
    ],
)
def test_what_it_refuses_leaves_nothing(acme, arguments, message):
    with pytest.raises(CommandError, match=message):
        run(*arguments)
    assert [customer.code for customer in Customer.objects.all()] == ["acme"]
    assert not Stream.objects.filter(name="beta").exists()


def test_a_refusal_is_one_json_document_too(acme, capsys):
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("add_customer", "acme", "--name", "Again", "--json", stdout=out)
    assert "already exists" in json.loads(out.getvalue())["error"]
