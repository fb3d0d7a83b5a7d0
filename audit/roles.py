"""The roles of the back office and what each may do: Django groups made in code, filled by grants alone (P5)."""

from __future__ import annotations

from enum import StrEnum

from django.contrib.auth.models import Group, Permission


class Role(StrEnum):
    """The value is the name of the group."""

    ACCOUNT_MANAGER = "account manager"
    RECEIPT_APPROVER = "receipt approver"
    BACKUP_OPERATOR = "backup operator"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"

    @property
    def word(self) -> str:
        """For commands and evidence: one word."""
        return self.value.replace(" ", "_")


CONTENT = ("datarecord", "uploadedcontent", "link")
OF_CUSTOMERS = tuple(f"l2l_subscriptions.view_{model}" for model in ("customer", "subscription", "export", *CONTENT))
OF_BACKUPS = tuple(
    f"l2l_backups.view_{model}" for model in ("location", "backupset", "retentionlook", "run", "blob", "copy", "itemexport", "hotstate")
)
OF_VERIFICATION = tuple(f"l2l_backups.view_{model}" for model in ("verificationpass", "damage", "unknownobject"))
OF_QUEUE = tuple(f"django_q.view_{model}" for model in ("schedule", "ormq", "failure"))
OF_OWN_NIGHTS = ("l2l_backups.view_backupset", "l2l_backups.view_run", "l2l_backups.view_itemexport", "l2l_backups.view_hotstate")
OF_EVIDENCE = tuple(f"l2l_audit.view_{model}" for model in ("event", "signedhead", "grant"))
SEES_SCHEMA = "l2l_audit.view_schemaversion"
SEES_FINDINGS = "l2l_audit.view_finding"
SEES_TESTS = ("l2l_backups.view_testrestore", "l2l_backups.view_testcell")
SIGNS_TESTS_OFF = "l2l_backups.sign_off_testrestore"
SEES_POLICY = "l2l_backups.view_backuppolicy"
CHANGES_OF_POLICY = "l2l_backups.{}_policychangerequest"
LIVE_RESTORES = "l2l_backups.{}_liverestorerequest"
SEES_HOLDS = ("l2l_subscriptions.view_legalhold", "l2l_subscriptions.view_holdreleaserequest")
PLACES_HOLDS = "l2l_subscriptions.add_legalhold"
RELEASES_OF_HOLDS = "l2l_subscriptions.{}_holdreleaserequest"
CHANGES_OF_TERMS = "l2l_subscriptions.{}_termchangerequest"
PURGES = "l2l_backups.{}_purgerequest"
SEES_PURGES = (PURGES.format("view"), "l2l_backups.view_purge")
CHANGES_OF_KEYS = "l2l_backups.{}_keychangerequest"
SEES_KEYS = (CHANGES_OF_KEYS.format("view"), "l2l_backups.view_keyringversion", "l2l_backups.view_escrowdrill")
ENDS = "l2l_subscriptions.{}_deletionrequest"
SEES_ENDS = tuple(
    f"l2l_subscriptions.view_{model}" for model in ("deletionrequest", "datareturn", "receipt", "deemedreceiptrequest", "endingnotice")
)
DEEMED_RECEIPTS = "l2l_subscriptions.{}_deemedreceiptrequest"
SEES_CONTROLS = tuple(f"l2l_audit.view_{model}" for model in ("controlstate", "reading", "alarm"))
SEES_RECONCILIATIONS = "l2l_subscriptions.view_reconciliation"
RECONCILES = "l2l_subscriptions.add_reconciliation"
REVIEWS = ("l2l_audit.view_accessreview", "l2l_audit.view_attestation")
SIGNS_REVIEWS_OFF = "l2l_audit.sign_off_accessreview"
ATTESTS = "l2l_audit.add_attestation"
# Whoever has one of these can be the second of the two who destroy.
DESTROYS = frozenset({ENDS.format("approve"), PURGES.format("approve")})
PACKS = ("l2l_audit.view_evidencepack", "l2l_audit.add_evidencepack", "l2l_audit.view_anchor")
EVERY_CUSTOMER = "l2l_subscriptions.view_all_customers"
HANDS_CUSTOMERS_OVER = "l2l_subscriptions.hand_over_customer"

RIGHTS: dict[Role, tuple[str, ...]] = {
    # Of their own customers alone: the admin limits the rows.
    Role.ACCOUNT_MANAGER: (
        *SEES_CONTROLS,
        SEES_FINDINGS,
        *OF_CUSTOMERS,
        HANDS_CUSTOMERS_OVER,
        *OF_OWN_NIGHTS,
        LIVE_RESTORES.format("view"),
        *SEES_HOLDS,
        PLACES_HOLDS,
        RELEASES_OF_HOLDS.format("add"),
        *(CHANGES_OF_TERMS.format(verb) for verb in ("view", "add")),
        "l2l_backups.add_itemexport",
        *SEES_ENDS,
        *(ENDS.format(verb) for verb in ("add", "return", "waive")),
        *SEES_PURGES,
        PURGES.format("add"),
        *SEES_TESTS,
        *(f"l2l_subscriptions.{verb}_{model}" for model in CONTENT for verb in ("add", "change", "delete")),
    ),
    Role.RECEIPT_APPROVER: (
        *SEES_CONTROLS,
        SEES_RECONCILIATIONS,
        *REVIEWS,
        SIGNS_REVIEWS_OFF,  # an administrator's own rights are confirmed by somebody who gives none
        SEES_FINDINGS,
        *OF_CUSTOMERS,
        HANDS_CUSTOMERS_OVER,
        *OF_OWN_NIGHTS,
        EVERY_CUSTOMER,
        SEES_POLICY,
        *(CHANGES_OF_POLICY.format(verb) for verb in ("view", "approve")),
        *(LIVE_RESTORES.format(verb) for verb in ("view", "approve")),
        *SEES_KEYS,
        CHANGES_OF_KEYS.format("approve"),
        *SEES_HOLDS,
        RELEASES_OF_HOLDS.format("approve"),
        *(CHANGES_OF_TERMS.format(verb) for verb in ("view", "approve")),
        *SEES_ENDS,
        ENDS.format("approve"),
        *(DEEMED_RECEIPTS.format(verb) for verb in ("add", "approve")),
        *SEES_PURGES,
        PURGES.format("approve"),
        *SEES_TESTS,
        SIGNS_TESTS_OFF,
    ),
    Role.BACKUP_OPERATOR: (
        *SEES_CONTROLS,
        SEES_RECONCILIATIONS,
        RECONCILES,
        *REVIEWS,
        ATTESTS,
        SEES_FINDINGS,
        "l2l_audit.change_finding",
        *OF_CUSTOMERS,
        *OF_BACKUPS,
        *OF_VERIFICATION,
        "l2l_backups.change_location",
        *OF_QUEUE,
        SEES_SCHEMA,
        EVERY_CUSTOMER,
        "l2l_backups.add_backupset",
        "l2l_backups.operate_run",
        "l2l_backups.clear_clock",
        "l2l_backups.add_itemexport",
        SEES_POLICY,
        *(CHANGES_OF_POLICY.format(verb) for verb in ("view", "add", "approve")),
        *(LIVE_RESTORES.format(verb) for verb in ("view", "add", "approve")),
        *SEES_KEYS,
        *(CHANGES_OF_KEYS.format(verb) for verb in ("add", "approve")),
        "l2l_backups.operate_keys",
        "l2l_backups.add_escrowdrill",
        *SEES_HOLDS,
        PLACES_HOLDS,
        *SEES_ENDS,
        *SEES_PURGES,
        *SEES_TESTS,
        "l2l_backups.add_testrestore",
        SIGNS_TESTS_OFF,
    ),
    Role.AUDITOR: (
        *SEES_CONTROLS,
        SEES_RECONCILIATIONS,
        *REVIEWS,
        *PACKS,
        SEES_FINDINGS,
        *OF_CUSTOMERS,
        *OF_BACKUPS,
        *OF_VERIFICATION,
        *OF_EVIDENCE,
        SEES_SCHEMA,
        *OF_QUEUE,
        EVERY_CUSTOMER,
        SEES_POLICY,
        CHANGES_OF_POLICY.format("view"),
        LIVE_RESTORES.format("view"),
        *SEES_KEYS,
        *SEES_HOLDS,
        CHANGES_OF_TERMS.format("view"),
        *SEES_ENDS,
        *SEES_PURGES,
        *SEES_TESTS,
        "auth.view_user",
        "auth.view_group",
    ),
    # Users and roles, and the queue's leavings; no power over data.
    Role.ADMINISTRATOR: (
        *SEES_CONTROLS,
        *REVIEWS,
        SIGNS_REVIEWS_OFF,
        ATTESTS,
        *(f"l2l_audit.{verb}_grant" for verb in ("view", "add", "change")),
        *(f"auth.{verb}_user" for verb in ("view", "add", "change")),
        "auth.view_group",
        *OF_QUEUE,
        *(f"django_q.delete_{model}" for model in ("ormq", "failure")),
    ),
}


def by_word(text: str) -> Role:
    """The role of that name, written with spaces, hyphens or underscores; `ValueError` names them all."""
    for role in Role:
        if role.word == text.strip().lower().replace(" ", "_").replace("-", "_"):
            return role
    raise ValueError(f"There is no role {text!r}; there are {', '.join(role.word for role in Role)}.")


def ensure_roles() -> list[Group]:
    """Makes each role a group with exactly its rights; safe to run again. Stands after the migrations, which make the rights."""
    return [_ensure_role(role, rights) for role, rights in RIGHTS.items()]


def _ensure_role(role: Role, rights: tuple[str, ...]) -> Group:
    group, _ = Group.objects.get_or_create(name=role.value)
    group.permissions.set([_permission(right) for right in rights])
    return group


def _permission(right: str) -> Permission:
    app, _, codename = right.partition(".")
    return Permission.objects.get(content_type__app_label=app, codename=codename)
