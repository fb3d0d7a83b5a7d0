"""A person has read what a test restore found, and signs it off: another one than who started it (P7, P5)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

import audit
from audit.events import Event, record
from audit.registry import SYSTEM_STREAM
from backups.errors import NotSignedOff
from backups.models import TestRestore, TestSignOff
from backups.test_restores import documents
from subscriptions.models import Customer

SIGNS_OFF = "l2l_backups.sign_off_testrestore"


def sign_off(test: TestRestore, *, by: Any, comment: str, trusted: str, now: datetime) -> TestSignOff:
    """The sign-off, made once. Raises `NotSignedOff`: without the right, for a customer that this person may not see, by who started it,
    without a comment, or when the document is not what was signed (`trusted` is the fingerprint of our key)."""
    _check(test, by, comment)
    if trouble := documents.trouble_of(test, trusted):
        raise NotSignedOff(f"This result proves nothing: {trouble}. Open a finding, and test again.")
    try:
        with transaction.atomic(), audit.because(comment):
            signed = TestSignOff.objects.create(test=test, by=by, at=now, comment=comment.strip())
            customer = test.stream if test.stream != SYSTEM_STREAM else None
            record(Event.TEST_SIGNED_OFF, subject=test, customer=customer, facts={"test": test.pk, "result": test.result})
    except IntegrityError:
        raise NotSignedOff("Somebody has signed it off already.") from None
    return signed


def unsigned(tests: QuerySet[TestRestore]) -> QuerySet[TestRestore]:
    return tests.filter(sign_off=None)


def why_not(test: TestRestore, by: Any) -> str:
    """Why this person may not sign it off; empty when they may."""
    if not by.has_perm(SIGNS_OFF):
        return f"{by} may not sign off test restores: it needs the right {SIGNS_OFF}."
    if test.asked_by == by.get_username():
        return "You started this test: somebody else signs it off."
    return ""


def _check(test: TestRestore, by: Any, comment: str) -> None:
    if reason := why_not(test, by):
        raise NotSignedOff(reason)
    if not by.has_perm("l2l_subscriptions.view_all_customers") and not Customer.objects.visible_to(by).filter(pk=test.stream).exists():
        raise NotSignedOff("There is no such test.")
    if not comment.strip():
        raise NotSignedOff("Say what you looked at: the comment stands beside the result.")
