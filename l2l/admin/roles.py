"""The roles of the back office, as Django groups made in code."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission

CONTENT = ("datarecord", "uploadedcontent", "link")
OF_CUSTOMERS = [f"l2l_subscriptions.view_{model}" for model in ("customer", "subscription", "export", *CONTENT)]
OF_BACKUPS = [f"l2l_backups.view_{model}" for model in ("location", "backupset", "blob", "copy")]
EVERY_CUSTOMER = "l2l_subscriptions.view_all_customers"

ROLES: dict[str, list[str]] = {
    # Of their own customers alone: the admin limits the rows.
    "account manager": [
        *OF_CUSTOMERS,
        "l2l_backups.view_backupset",
        *(f"l2l_subscriptions.{verb}_{model}" for model in CONTENT for verb in ("add", "change", "delete")),
    ],
    "backup operator": [*OF_CUSTOMERS, *OF_BACKUPS, EVERY_CUSTOMER, "l2l_backups.add_backupset"],
    "auditor": [*OF_CUSTOMERS, *OF_BACKUPS, EVERY_CUSTOMER, "auth.view_user", "auth.view_group"],
    "administrator": [f"auth.{verb}_{model}" for model in ("user", "group") for verb in ("view", "add", "change")],
}


def ensure_roles() -> list[Group]:
    """Makes each role a group with exactly its rights; safe to run again. Stands after the migrations, which make the rights."""
    return [_ensure_role(name, rights) for name, rights in ROLES.items()]


def _ensure_role(name: str, rights: list[str]) -> Group:
    group, _ = Group.objects.get_or_create(name=name)
    group.permissions.set([_permission(right) for right in rights])
    return group


def _permission(right: str) -> Permission:
    app, _, codename = right.partition(".")
    return Permission.objects.get(content_type__app_label=app, codename=codename)
