"""Users and groups. People are deactivated, never deleted: their names stand in history."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import models
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from audit.admin import BackOfficeAdmin, moment

admin.site.unregister(User)
admin.site.unregister(Group)

TIMES: tuple[Any, ...] = (moment("last_login", "last sign-in", never="never"), moment("date_joined", "joined"))
# What would let somebody give themselves every right.
ONLY_FOR_SUPERUSERS = ("is_superuser", "user_permissions")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, BackOfficeAdmin):
    actions: Any = None
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    has_history = True
    allows = frozenset({"add", "change"})
    list_display = ("username", "first_name", "last_name", "roles", "is_active", moment("last_login", "last sign-in", never="never"))
    list_filter = ("is_active", "groups")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("May", {"fields": ("is_active", "is_staff", "groups", *ONLY_FOR_SUPERUSERS)}),
        ("When", {"fields": TIMES}),
    )

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows.prefetch_related("groups")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        return (*TIMES, *(() if request.user.is_superuser else ONLY_FOR_SUPERUSERS))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody but a superuser changes a superuser, or sets their password."""
        above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return not above and super().has_change_permission(request, obj)

    @admin.display(description="roles")
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or ("superuser" if user.is_superuser else "–")


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, BackOfficeAdmin):
    actions: Any = None
    allows = frozenset({"add", "change"})

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows
