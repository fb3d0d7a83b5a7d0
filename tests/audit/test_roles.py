"""Roles are groups made in code."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission

from audit.roles import RIGHTS, ensure_roles


@pytest.mark.django_db
def test_roles_are_made_again_exactly() -> None:
    ensure_roles()
    auditor = Group.objects.get(name="auditor")
    auditor.permissions.add(Permission.objects.get(codename="delete_user"))
    ensure_roles()
    assert {group.name for group in Group.objects.all()} == {role.value for role in RIGHTS}
    codenames = {permission.codename for permission in auditor.permissions.all()}
    assert {codename for codename in codenames if not codename.startswith("view_")} == {"add_evidencepack"}
