"""The roles by their groups' names; they are made in `audit.roles`, and given by `audit.grants`."""

from __future__ import annotations

from audit.roles import RIGHTS, ensure_roles

ROLES: dict[str, list[str]] = {role.value: list(rights) for role, rights in RIGHTS.items()}

__all__ = ["ROLES", "ensure_roles"]
