"""Every address of the admin x every role x own and foreign object, reading (GET) and doing (POST): exactly the allowed ones answer (P5).

The table says who may; a page that the table does not know fails the test, so none is added without saying who it is for. Ada manages the
own customer and no other; rita approves, olga operates, otto audits, anna gives roles; nobody has no role, and anonymous is not signed in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import URLResolver, reverse
from django_q.models import Failure, OrmQ, Schedule

import audit
from audit import findings
from audit.models import AccessReview, Alarm, Anchor, Attestation, Event, EvidencePack, Finding, Grant, Reading
from audit.schema import versions
from audit.schema.versions import Changed
from audit.signing import Signer, new_secret
from backups.destroy import stating
from backups.models import (
    BackupPolicy,
    Certificate,
    Damage,
    EscrowDrill,
    HotState,
    KeyChangeRequest,
    KeyRingVersion,
    LiveRestoreRequest,
    Location,
    PolicyChangeRequest,
    Purge,
    PurgeRequest,
    RetentionLook,
    TestCell,
    TestRestore,
    UnknownObject,
    VerificationPass,
)
from backups.policies import ensure_first_policy
from l2l import schedules
from subscriptions.models import (
    DataReturn,
    DeemedReceiptRequest,
    DeletionRequest,
    HoldReleaseRequest,
    LegalHold,
    Reconciliation,
    TermChangeRequest,
)
from tests.admin.conftest import Belongings
from tests.backups.destroy.statements import facts

STAFF = frozenset({"root", "ada", "rita", "olga", "otto", "anna", "nobody"})
PEOPLE = (*sorted(STAFF), "anonymous")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOBODY: frozenset[str] = frozenset()
ALL_CUSTOMERS = frozenset({"root", "rita", "olga", "otto"})
OWN = ALL_CUSTOMERS | {"ada"}
BACKUPS = frozenset({"root", "olga", "otto"})
QUEUE = frozenset({"root", "olga", "otto", "anna"})
AUDITORS = frozenset({"root", "otto"})
USERS = frozenset({"root", "anna"})
USERS_SEEN = USERS | {"otto"}
REVIEWS_SEEN = STAFF - {"ada", "nobody"}


@dataclass(frozen=True)
class Model:
    """Who may see a model's rows, and who may add, change and delete them. `files`: it has one to download."""

    view: frozenset[str]
    add: frozenset[str] = NOBODY
    change: frozenset[str] = NOBODY
    delete: frozenset[str] = NOBODY
    tracked: bool = False
    files: bool = False

    def who(self, page: str) -> tuple[frozenset[str], frozenset[str]]:
        """Who gets an answer of one of its standard pages, to a GET and to a POST. (A POST to a list changes nothing.)"""
        file = self.view if self.files else NOBODY
        return {
            "changelist": (self.view, self.view),
            "add": (self.add, self.add),
            "change": (self.view, self.change),
            "delete": (self.delete, self.delete),
            "history": (self.view, NOBODY if self.tracked else self.view),
            "deleted": (self.view if self.delete else NOBODY,) * 2,
            "version": (self.view, NOBODY),
            "file": (file, NOBODY),
            "version_file": (file, NOBODY),
        }[page]


MANAGED = frozenset({"root", "ada"})
# Everybody who sees customers but the operator.
TERMS = frozenset({"root", "ada", "rita", "otto"})
# How the controls stand; what they counted is over all customers.
MEASURED = STAFF - {"nobody"}
MODELS = {
    "l2l_subscriptions_customer": Model(OWN, frozenset({"root"}), frozenset({"root"}), tracked=True),
    "l2l_subscriptions_subscription": Model(OWN, frozenset({"root"}), frozenset({"root"}), tracked=True),
    "l2l_subscriptions_datarecord": Model(OWN, MANAGED, MANAGED, MANAGED, tracked=True),
    "l2l_subscriptions_uploadedcontent": Model(OWN, MANAGED, MANAGED, MANAGED, tracked=True, files=True),
    "l2l_subscriptions_link": Model(OWN, MANAGED, MANAGED, MANAGED, tracked=True),
    "l2l_subscriptions_export": Model(OWN),
    "l2l_subscriptions_reconciliation": Model(ALL_CUSTOMERS, add=frozenset({"root", "olga"})),
    "l2l_subscriptions_legalhold": Model(OWN, add=frozenset({"root", "ada", "olga"}), tracked=True),
    "l2l_subscriptions_holdreleaserequest": Model(OWN),
    "l2l_subscriptions_termchangerequest": Model(TERMS, add=MANAGED),
    "l2l_subscriptions_deletionrequest": Model(OWN, add=MANAGED, tracked=True, files=True),
    "l2l_subscriptions_deemedreceiptrequest": Model(OWN),
    "l2l_backups_backupset": Model(OWN),
    "l2l_backups_retentionlook": Model(BACKUPS),
    "l2l_backups_run": Model(OWN),
    "l2l_backups_hotstate": Model(OWN),
    "l2l_backups_itemexport": Model(OWN),
    "l2l_backups_location": Model(BACKUPS),
    "l2l_backups_verificationpass": Model(BACKUPS),
    "l2l_backups_damage": Model(BACKUPS),
    "l2l_backups_unknownobject": Model(BACKUPS),
    "l2l_backups_blob": Model(BACKUPS),
    "l2l_backups_copy": Model(BACKUPS),
    "l2l_backups_backuppolicy": Model(ALL_CUSTOMERS),
    "l2l_backups_policychangerequest": Model(ALL_CUSTOMERS, add=frozenset({"root", "olga"})),
    "l2l_backups_keyringversion": Model(ALL_CUSTOMERS),
    "l2l_backups_keychangerequest": Model(ALL_CUSTOMERS, add=frozenset({"root", "olga"})),
    "l2l_backups_escrowdrill": Model(ALL_CUSTOMERS),
    "l2l_backups_liverestorerequest": Model(OWN, add=frozenset({"root", "olga"})),
    "l2l_backups_purgerequest": Model(OWN, add=MANAGED),
    "l2l_backups_purge": Model(OWN),
    "l2l_backups_testrestore": Model(OWN),
    "l2l_backups_testcell": Model(OWN),
    "l2l_audit_evidencepack": Model(AUDITORS, add=AUDITORS),
    "l2l_audit_finding": Model(OWN, tracked=True),
    "l2l_audit_alarm": Model(MEASURED),
    "l2l_audit_reading": Model(ALL_CUSTOMERS),
    "l2l_audit_anchor": Model(frozenset({"root", "otto"})),
    "l2l_audit_event": Model(frozenset({"root", "otto"})),
    "l2l_audit_schemaversion": Model(BACKUPS),
    "l2l_audit_grant": Model(USERS_SEEN, add=USERS, tracked=True),
    "l2l_audit_accessreview": Model(REVIEWS_SEEN),
    "l2l_audit_attestation": Model(REVIEWS_SEEN, add=frozenset({"root", "olga", "anna"})),
    "auth_user": Model(USERS_SEEN, USERS, USERS),
    "auth_group": Model(USERS_SEEN),
    "django_q_schedule": Model(QUEUE),
    "django_q_ormq": Model(QUEUE, delete=USERS),
    "django_q_failure": Model(QUEUE, delete=USERS),
}
# Pages beyond the standard ones: who gets an answer to a GET, and to a POST.
OPERATORS = frozenset({"root", "olga"})
TAKERS = frozenset({"root", "olga", "ada"})
OTHERS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "l2l_subscriptions_customer_hand_over": (frozenset({"root", "ada", "rita"}),) * 2,
    "l2l_subscriptions_customer_import": (frozenset({"root"}),) * 2,
    "l2l_subscriptions_subscription_renew": (MANAGED, MANAGED),
    "l2l_subscriptions_customer_overview": (OWN, NOBODY),
    "l2l_subscriptions_customer_timeline": (OWN, NOBODY),
    "l2l_subscriptions_customer_past_term": (OWN, NOBODY),
    "l2l_subscriptions_customer_statement": (OWN, OWN),
    "l2l_subscriptions_customer_audit_trail": (OWN, OWN),
    "l2l_subscriptions_customer_back_up": (OPERATORS, OPERATORS),
    "l2l_subscriptions_customer_find": (OWN, NOBODY),
    "l2l_subscriptions_customer_take": (TAKERS, TAKERS),
    "l2l_backups_itemexport_download": (TAKERS, NOBODY),
    "l2l_backups_backupset_kept": (OWN, NOBODY),
    "l2l_backups_retentionlook_clear_clock": (OPERATORS, OPERATORS),
    "l2l_backups_run_act": (OPERATORS, OPERATORS),
    "l2l_backups_location_reading": (OPERATORS, OPERATORS),
    "l2l_subscriptions_legalhold_postpone": (frozenset({"root", "ada", "olga"}),) * 2,
    "l2l_subscriptions_legalhold_ask_for_release": (MANAGED, MANAGED),
    # A package is made and not verified yet; nobody's approval is asked for.
    **dict.fromkeys((f"l2l_subscriptions_deletionrequest_{step}" for step in ("receipt", "fault", "link", "cancel")), (MANAGED, MANAGED)),
    "l2l_subscriptions_deletionrequest_download": (NOBODY, MANAGED),
    **dict.fromkeys(
        (f"l2l_subscriptions_deletionrequest_{name}" for name in ("plan", "plan_document", "certificate", "paper")), (OWN, NOBODY)
    ),
    **dict.fromkeys(
        (f"l2l_subscriptions_deletionrequest_{step}" for step in ("begin_return", "waive", "ask_deemed", "approve", "take_back")),
        (NOBODY, NOBODY),
    ),
    # Asked for by rita herself, who therefore cannot decide.
    "l2l_subscriptions_deemedreceiptrequest_notice": (OWN, NOBODY),
    "l2l_subscriptions_deemedreceiptrequest_approve": (frozenset({"root"}),) * 2,
    "l2l_subscriptions_deemedreceiptrequest_finish": (NOBODY, NOBODY),
    "l2l_subscriptions_deemedreceiptrequest_refuse": (frozenset({"root"}),) * 2,
    "l2l_subscriptions_deemedreceiptrequest_cancel": (frozenset({"root", "rita"}),) * 2,
    # Asked for by ada, for her own customer and for another.
    "l2l_subscriptions_holdreleaserequest_approve": (frozenset({"root", "rita"}),) * 2,
    "l2l_subscriptions_holdreleaserequest_finish": (NOBODY, NOBODY),  # it is not approved yet
    "l2l_subscriptions_holdreleaserequest_refuse": (frozenset({"root", "rita"}),) * 2,
    "l2l_subscriptions_holdreleaserequest_cancel": (frozenset({"root", "rita", "ada"}),) * 2,
    # Asked for by ada, as above.
    "l2l_subscriptions_termchangerequest_approve": (frozenset({"root", "rita"}),) * 2,
    "l2l_subscriptions_termchangerequest_finish": (NOBODY, NOBODY),
    "l2l_subscriptions_termchangerequest_refuse": (frozenset({"root", "rita"}),) * 2,
    "l2l_subscriptions_termchangerequest_cancel": (frozenset({"root", "rita", "ada"}),) * 2,
    # Asked for by olga: she may call it off, and only others may decide.
    "l2l_backups_policychangerequest_approve": (frozenset({"root", "rita"}),) * 2,
    "l2l_backups_policychangerequest_finish": (NOBODY, NOBODY),  # it is not approved yet
    "l2l_backups_policychangerequest_refuse": (frozenset({"root", "rita"}),) * 2,
    "l2l_backups_policychangerequest_cancel": (frozenset({"root", "rita", "olga"}),) * 2,
    "l2l_backups_keyringversion_customers": (ALL_CUSTOMERS, ALL_CUSTOMERS),  # a POST changes nothing
    # Asked for by olga, as above.
    "l2l_backups_keychangerequest_approve": (frozenset({"root", "rita"}),) * 2,
    "l2l_backups_keychangerequest_finish": (NOBODY, NOBODY),
    "l2l_backups_keychangerequest_refuse": (frozenset({"root", "rita"}),) * 2,
    "l2l_backups_keychangerequest_cancel": (frozenset({"root", "rita", "olga"}),) * 2,
    # Asked for by olga, of ada's customer.
    "l2l_backups_liverestorerequest_approve": (frozenset({"root", "rita"}),) * 2,
    "l2l_backups_liverestorerequest_finish": (NOBODY, NOBODY),
    "l2l_backups_liverestorerequest_refuse": (frozenset({"root", "rita"}),) * 2,
    "l2l_backups_liverestorerequest_cancel": (frozenset({"root", "rita", "olga"}),) * 2,
    # Asked for by ada, of her customer.
    "l2l_backups_purgerequest_approve": (frozenset({"root", "rita"}),) * 2,
    "l2l_backups_purgerequest_finish": (NOBODY, NOBODY),  # the destroyer does it
    "l2l_backups_purgerequest_refuse": (frozenset({"root", "rita"}),) * 2,
    "l2l_backups_purgerequest_cancel": (frozenset({"root", "rita", "ada"}),) * 2,
    "l2l_backups_testrestore_sign_off": (frozenset({"root", "rita", "olga"}),) * 2,
    "l2l_backups_testrestore_ask": (OPERATORS, OPERATORS),
    "l2l_audit_evidencepack_download": (AUDITORS, NOBODY),  # it is not made yet: the page says so
    "l2l_audit_finding_take": (OPERATORS, OPERATORS),
    "l2l_audit_finding_postpone": (OPERATORS, OPERATORS),
    "l2l_audit_finding_close": (OPERATORS, OPERATORS),
    "l2l_audit_grant_end": (USERS, USERS),
    "l2l_audit_accessreview_now": (REVIEWS_SEEN, frozenset({"root", "rita", "anna"})),
    "l2l_audit_accessreview_csv": (REVIEWS_SEEN, NOBODY),
    "auth_user_password_change": (USERS, USERS),
    "l2l_audit_anchor_document": (frozenset({"root", "otto"}), NOBODY),
    "controls": (MEASURED, NOBODY),
    "control": (MEASURED, NOBODY),
    "index": (STAFF, STAFF),
    "my_work": (frozenset({"root", "ada", "rita"}), NOBODY),
    "search": (STAFF, STAFF),
    "jsi18n": (STAFF, NOBODY),
    "password_change": (STAFF, STAFF),
    "password_change_done": (STAFF, NOBODY),
    "autocomplete": (NOBODY, NOBODY),  # without the field that asks; tests of forms ask with one
    "view_on_site": (NOBODY, NOBODY),  # nothing here has a public page
    "app_list l2l_subscriptions": (OWN, OWN),
    "app_list l2l_backups": (OWN, OWN),
    "app_list l2l_audit": (STAFF - {"nobody"},) * 2,
    "app_list auth": (USERS_SEEN, USERS_SEEN),
    "app_list django_q": (QUEUE, QUEUE),
}
REVIEW_PAGES = ("l2l_audit_accessreview_now", "l2l_audit_accessreview_csv")
OPEN = {"login", "logout", "app_list"}
# Beyond the standard ones, what is about no one row.
OF_THE_LIST = frozenset(
    {
        "l2l_backups_retentionlook_clear_clock",
        "l2l_backups_keyringversion_customers",
        "l2l_subscriptions_customer_hand_over",
        "l2l_subscriptions_customer_import",
    }
)


def named_patterns(patterns: Any) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from named_patterns(pattern.url_patterns)
        elif pattern.name:
            yield pattern.name


def model_and_page(name: str) -> tuple[str, str] | None:
    """The model of a standard page, and which page it is."""
    found = next((model for model in MODELS if name.startswith(f"{model}_")), None)
    return (found, name.removeprefix(f"{found}_")) if found and name not in OTHERS else None


def who_may(name: str) -> tuple[frozenset[str], frozenset[str]]:
    standard = model_and_page(name)
    return MODELS[standard[0]].who(standard[1]) if standard else OTHERS[name]


def test_the_table_knows_every_page() -> None:
    pages = set(named_patterns(admin.site.get_urls())) - OPEN
    known = {page for page in pages if page in OTHERS or model_and_page(page)}
    assert pages - known == set()
    assert {name for name in OTHERS if not name.startswith("app_list")} <= pages


@dataclass
class Rows:
    """For each model a row, of one customer where it is somebody's, and of the installation else."""

    of: dict[str, Any]

    def address(self, name: str) -> str:
        if name.startswith("app_list "):
            return reverse("admin:app_list", args=[name.partition(" ")[2]])
        standard = model_and_page(name)
        row = self.of.get(standard[0] if standard else next((model for model in MODELS if name.startswith(f"{model}_")), ""))
        page = standard[1] if standard else name
        arguments: list[Any] = [row.pk] if row is not None and page not in ("changelist", "add", "deleted") else []
        if name == "l2l_backups_backupset_kept":
            arguments = [row.stream_id]
        if name == "l2l_backups_testrestore_ask":
            arguments = [row.stream]
        if name in OF_THE_LIST or name in REVIEW_PAGES:
            arguments = []
        if page in ("version", "version_file"):
            arguments.append(type(row).history.filter(**{row._meta.pk.attname: row.pk}).first().history_id)
        if page in ("file", "version_file"):
            arguments.append("waiver" if standard and standard[0] == "l2l_subscriptions_deletionrequest" else "file")
        arguments += {
            "l2l_subscriptions_deletionrequest_certificate": [1],
            "l2l_subscriptions_deletionrequest_paper": [1],
            "l2l_backups_run_act": ["stop"],
            "view_on_site": [1, 1],
            "control": ["nights"],
        }.get(name, [])
        return reverse(f"admin:{name}", args=arguments)


@pytest.fixture
def installation(people: dict[str, User], acting: Any) -> dict[str, Any]:
    """What belongs to no customer."""
    ensure_first_policy()
    schedules.keep()
    now = datetime.now(UTC)
    with audit.acting("setup", reason="a test", source="test"):
        asked = PolicyChangeRequest(
            what="x", why="y", plan_digest="0" * 64, requested_by=people["olga"], requested_at=now, changes={"nightly_days": 60}
        )
        asked.save()
        ring = KeyRingVersion(wrapping=1, online="age1o", recipients=[["escrow", "age1e"]], since=now, made_by="init")
        ring.save()
        of_keys = KeyChangeRequest(what="x", why="y", plan_digest="0" * 64, requested_by=people["olga"], requested_at=now)
        of_keys.deed = "rotate-master"
        of_keys.save()
        drill = EscrowDrill(recipient="escrow", wrapping=1, drilled_at=now, drilled_by="olga", result="passed")
        drill.keys = drill.opened = drill.objects_opened = drill.failed = drill.missing = 0
        drill.save()
        grant = Grant.objects.create(user=people["otto"], role="auditor", since=now - timedelta(days=2), by="setup")
        audit.events.record(audit.events.Event.SIGNED_OUT)
    return {
        "l2l_backups_backuppolicy": BackupPolicy.objects.get(),
        "l2l_backups_hotstate": HotState.objects.get_or_create(pk=1)[0],
        "l2l_backups_policychangerequest": asked,
        "l2l_backups_keyringversion": ring,
        "l2l_backups_keychangerequest": of_keys,
        "l2l_backups_escrowdrill": drill,
        "l2l_subscriptions_reconciliation": _a_reconciliation(now),
        "l2l_audit_event": Event.objects.first(),
        "l2l_audit_alarm": Alarm.objects.create(subject="control:nights", state="broken", text="x", raised_at=now),
        **_told_by_the_hour(now),
        "l2l_audit_schemaversion": _a_schema_version(now),
        **_a_review(now),
        "l2l_audit_evidencepack": EvidencePack.objects.create(
            first=date(2026, 1, 1), last=date(2026, 1, 31), seed="s", asked_by="otto", asked_at=now, reason="an audit"
        ),
        "l2l_audit_grant": grant,
        "auth_user": people["ada"],
        "auth_group": Group.objects.first(),
        "django_q_schedule": Schedule.objects.first(),
        "django_q_ormq": OrmQ.objects.create(key="worker", payload="nothing that can be read"),
        "django_q_failure": Failure.objects.create(id="f" * 32, name="f", func="x.y", started=now, stopped=now, success=False),
    }


def _a_reconciliation(now: datetime) -> Reconciliation:
    with audit.acting("setup", reason="a test", source="test"):
        return Reconciliation.objects.create(at=now, by="olga", source_sha256="0" * 64, billed=1, ours=1, matched=1)


def _told_by_the_hour(now: datetime) -> dict[str, Any]:
    with audit.acting("worker", reason="a test", source="test"):
        reading = Reading.objects.create(hour=now, at=now, controls={"nights": {"state": "kept"}}, software="test")
        anchor = Anchor.objects.create(day=now.date(), at=now, root="0" * 64, document={})
    return {"l2l_audit_reading": reading, "l2l_audit_anchor": anchor}


def _a_live_restore(one: Belongings) -> LiveRestoreRequest:
    """Asked for by olga."""
    now, olga = datetime.now(UTC), User.objects.get(username="olga")
    with audit.acting("setup", reason="a test", source="test"):
        asked = LiveRestoreRequest(what="x", why="y", plan_digest="0" * 64, requested_by=olga, requested_at=now)
        asked.customer, asked.state_at, asked.set_id = one.customer, now, one.backup_set.pk
        asked.save()
    return asked


def _a_hold(one: Belongings) -> LegalHold:
    hold = LegalHold(
        customer=one.customer, holder="x", basis="y", review_on=date(2030, 1, 1), placed_by="olga", placed_at=datetime.now(UTC)
    )
    with audit.acting("setup", reason="a test", source="test"):
        hold.save()
    return hold


def _an_ending(one: Belongings) -> dict[str, Any]:
    """Asked for by ada; the package waits for its receipt, and rita asked that silence counts. It has a waiver and a statement too, so that
    their pages answer."""
    now, people = datetime.now(UTC), {user.username: user for user in User.objects.all()}
    with audit.acting("setup", reason="a test", source="test"):
        ending = DeletionRequest(customer=one.customer, state="returned", why="x", requested_by=people["ada"], requested_at=now)
        ending.waiver = ContentFile(b"a waiver", "x")
        ending.save()
        package = {"set_id": one.backup_set.pk, "package_sha256": "0" * 64, "manifest_sha256": "1" * 64, "size": 1, "file_name": "x.zip"}
        when = {"made_at": now, "verified_at": now, "expires_at": now + timedelta(days=60), "delivered_at": now}
        made = DataReturn.objects.create(request=ending, number=1, path="/nowhere", **package, **when)
        asked = DeemedReceiptRequest(
            what="x", why="y", plan_digest="0" * 64, requested_by=people["rita"], requested_at=now, data_return=made
        )
        asked.notice = ContentFile(b"a letter", "x")
        asked.save()
        text = json.dumps(stating.document(facts()))
        Certificate.objects.create(request=ending, kind="interim", number=1, document=text, sha256=ending.waiver_sha256, issued_at=now)
    return {"l2l_subscriptions_deletionrequest": ending, "l2l_subscriptions_deemedreceiptrequest": asked}


def _a_finding(one: Belongings) -> Finding:
    with audit.acting("setup", reason="a test", source="test"):
        return findings.open_finding(
            findings.Kind.OBJECT_DAMAGED, subject=one.backup_set, customer=one.customer.pk, text="x", now=datetime.now(UTC)
        )


def _a_test(one: Belongings) -> TestRestore:
    with audit.acting("worker", reason="a test", source="test"):
        return TestRestore.objects.create(
            stream=one.customer.pk,
            called=one.customer.code,
            set_id=one.backup_set.pk,
            tier="nightly",
            location="primary",
            seed="x",
            result="passed",
            asked_by="worker",
            reason="owed tonight",
            begun_at=NOW,
            ended_at=NOW,
            list_ms=1,
            restore_ms=1,
            judge_ms=1,
            read_bytes=1,
            content_bytes=1,
            software="test",
            document={},
        )


def _a_release(hold: LegalHold) -> HoldReleaseRequest:
    """Asked for by ada."""
    now, ada = datetime.now(UTC), User.objects.get(username="ada")
    asked = HoldReleaseRequest(what="x", why="y", plan_digest="0" * 64, requested_by=ada, requested_at=now, hold=hold)
    with audit.acting("setup", reason="a test", source="test"):
        asked.save()
    return asked


def _a_change_of_terms(one: Belongings) -> TermChangeRequest:
    """Asked for by ada."""
    now, ada = datetime.now(UTC), User.objects.get(username="ada")
    asked = TermChangeRequest(what="x", why="y", plan_digest="0" * 64, requested_by=ada, requested_at=now)
    asked.subscription, asked.changes = one.subscription, {"agreed_retention_years": 7}
    with audit.acting("setup", reason="a test", source="test"):
        asked.save()
    return asked


def _a_purge(one: Belongings) -> Purge:
    """Asked for by ada; a part of it went."""
    now, ada = datetime.now(UTC), User.objects.get(username="ada")
    with audit.acting("setup", reason="a test", source="test"):
        asked = PurgeRequest(what="x", why="y", plan_digest="0" * 64, requested_by=ada, requested_at=now)
        asked.customer, asked.term, asked.day = one.customer, "standard", now.date()
        asked.save()
        about = {"part": 1, "purged_at": now, "counts": {"l2l_subscriptions.link": [1, 1, 0]}, "key_number": 1, "total": "0" * 64}
        about["newest_history"] = 1
        return Purge.objects.create(customer=one.customer, request=asked, digests=b"", numbers=b"", **about)


def _a_review(now: datetime) -> dict[str, Any]:
    with audit.acting("setup", reason="a test", source="test"):
        about = {"quarter": "2026-Q1", "rights": [], "digest": "0" * 64, "signed_off_by": "anna", "signed_off_at": now}
        stated = {"quarter": "2026-Q1", "about": "database", "people": "x", "attested_by": "anna", "attested_at": now}
        return {
            "l2l_audit_accessreview": AccessReview.objects.create(**about),
            "l2l_audit_attestation": Attestation.objects.create(**stated),
        }


def _a_schema_version(now: datetime) -> Any:
    with audit.acting("deploy"):
        return versions.record(Signer(new_secret()), now, "1.0", Changed())


def _verification(one: Belongings) -> dict[str, Any]:
    """A night's pass, something damaged and something unknown at a location."""
    now, place = datetime.now(UTC), Location.objects.get(name="primary")
    about = {"location": place, "found_at": now}
    return {
        "l2l_backups_verificationpass": VerificationPass.objects.create(location=place, night=now.date(), started_at=now, turn_at=now),
        "l2l_backups_damage": Damage.objects.create(**about, stream_id=one.customer.pk, name=one.blob.name, kind="x", what="missing"),
        "l2l_backups_unknownobject": UnknownObject.objects.create(**about, name="what/is/this", size=1, seen_at=now),
    }


def rows_of(one: Belongings, installation: dict[str, Any]) -> Rows:
    hold = _a_hold(one)
    return Rows(
        installation
        | {
            "l2l_subscriptions_customer": one.customer,
            "l2l_subscriptions_subscription": one.subscription,
            "l2l_subscriptions_datarecord": one.record,
            "l2l_subscriptions_uploadedcontent": one.upload,
            "l2l_subscriptions_link": one.link,
            "l2l_subscriptions_export": one.export,
            "l2l_subscriptions_legalhold": hold,
            "l2l_subscriptions_holdreleaserequest": _a_release(hold),
            "l2l_subscriptions_termchangerequest": _a_change_of_terms(one),
            **_an_ending(one),
            "l2l_audit_finding": _a_finding(one),
            "l2l_backups_testrestore": _a_test(one),
            **_verification(one),
            "l2l_backups_testcell": TestCell.objects.create(
                stream_id=one.customer.pk, tier="nightly", location=Location.objects.get(name="primary"), since=NOW, due_at=NOW
            ),
            "l2l_backups_backupset": one.backup_set,
            "l2l_backups_retentionlook": RetentionLook.objects.create(
                stream_id=one.customer.pk, look_at=datetime.now(UTC), policy=1, years=20
            ),
            "l2l_backups_run": one.run,
            "l2l_backups_liverestorerequest": _a_live_restore(one),
            "l2l_backups_purge": (purge := _a_purge(one)),
            "l2l_backups_purgerequest": purge.request,
            "l2l_backups_itemexport": one.item_export,
            "l2l_backups_location": Location.objects.get(name="primary"),
            "l2l_backups_blob": one.blob,
            "l2l_backups_copy": one.copy,
        }
    )


def answered(response: Any) -> bool:
    """Whether the page answered: not a refusal, nor the way to the sign-in or to the front page."""
    if response.status_code == 302:
        return not response["Location"].startswith("/login/") and response["Location"] != "/"
    return response.status_code == 200


def of_a_customer(name: str) -> bool:
    """Whether the page is about one row that belongs to a customer."""
    standard = model_and_page(name)
    if (standard and standard[1] in ("changelist", "add", "deleted")) or name in OF_THE_LIST or "_reconciliation_" in name:
        return False
    return name.startswith(
        (
            "l2l_subscriptions_",
            "l2l_backups_backupset_",
            "l2l_backups_run_",
            "l2l_backups_liverestorerequest_",
            "l2l_backups_itemexport_",
            "l2l_backups_purge",
            "l2l_audit_finding_",
        )
    )


ALL_PAGES = [name for name in dict.fromkeys(named_patterns(admin.site.get_urls())) if name not in OPEN]
ALL_PAGES += [name for name in OTHERS if name.startswith("app_list ")]


@pytest.mark.slow
@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("whose", ["own", "foreign"])
def test_exactly_the_allowed_ones_answer(
    person: str, whose: str, as_: Callable[[str], Client], own: Belongings, foreign: Belongings, installation: dict[str, Any]
) -> None:
    client = Client() if person == "anonymous" else as_(person)
    rows = rows_of(own if whose == "own" else foreign, installation)
    found, expected = {}, {}
    for name in filter(of_a_customer, ALL_PAGES) if whose == "foreign" else ALL_PAGES:
        address = rows.address(name)
        for method, who, send in zip(("GET", "POST"), who_may(name), (client.get, client.post), strict=True):
            found[name, method] = answered(send(address))
            expected[name, method] = person in who and not (whose == "foreign" and person == "ada")
    assert {page: answer for page, answer in found.items() if answer != expected[page]} == {}


def test_the_search_finds_nothing_of_a_foreign_customer(as_: Callable[[str], Client], own: Belongings, foreign: Belongings) -> None:
    assert b"bolt" not in as_("ada").get(reverse("admin:search"), {"s": "bolt"}).content
