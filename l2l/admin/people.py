"""Users, their roles, and the groups that roles are. People are deactivated, never deleted: their names stand in history.

A role is given and ended here by the verbs of `audit.grants`; nobody ticks a group. The groups' rights are in the code (`audit.roles`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from audit import clock, grants, people
from audit.admin import BackOfficeAdmin, TrackedAdmin, TrackedForm, code, display, moment
from audit.badges import badge
from audit.decisions import Decision, ReasonForm, decide
from audit.models import Grant
from audit.moments import in_utc
from audit.roles import Role

admin.site.unregister(User)
admin.site.unregister(Group)

TIMES: tuple[Any, ...] = (moment("last_login", "last sign-in", never="never"), moment("date_joined", "joined"))
# What would let somebody give themselves every right.
ONLY_FOR_SUPERUSERS = ("is_superuser", "user_permissions")
# Set by grants alone.
BY_GRANTS = ("is_staff", "roles")


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
    change_form_outer_before_template = "back_office/user_roles.html"
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("May", {"fields": ("is_active", *BY_GRANTS, *ONLY_FOR_SUPERUSERS)}),
        ("When", {"fields": TIMES}),
    )

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows.prefetch_related("groups")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        return (*TIMES, *BY_GRANTS, *(() if request.user.is_superuser else ONLY_FOR_SUPERUSERS))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody but a superuser changes a superuser, or sets their password."""
        above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return not above and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            people.person_added(obj)
        elif {"is_active", "is_superuser"} & set(form.changed_data):
            people.person_changed(obj)

    @admin.display(description="roles")
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or ("superuser" if user.is_superuser else "–")


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, BackOfficeAdmin):
    """Made in the code, role by role: reading only."""

    actions: Any = None
    fields = ("name", "rights")
    readonly_fields = ("name", "rights")
    filter_horizontal = ()

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    @admin.display(description="rights")
    def rights(self, group: Group) -> str:
        return "\n".join(str(one.name) for one in group.permissions.order_by("content_type__app_label", "codename"))


class GrantForm(TrackedForm):
    """A new grant; the reason is asked for always."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["change_reason"].required = True
        if "until" in self.fields:
            self.fields["until"].help_text = "Empty: until somebody ends it."

    def _get_validation_exclusions(self) -> set[str]:
        """The verb sets the rest, and speaks of what does not fit."""
        return forms.ModelForm._get_validation_exclusions(self)  # type: ignore[attr-defined]


@admin.register(Grant)
class GrantAdmin(TrackedAdmin):
    """Who has which role, since when, by whom. A grant is given and ended, never changed."""

    form = GrantForm
    allows = frozenset({"add"})
    autocomplete_fields = ("user",)
    list_display = ("person", "role", "standing", moment("since", "since"), "by", moment("until", "until", never="open"), "ended_by")
    list_filter = ("role",)
    list_select_related = ("user",)
    list_before_template = None
    change_form_outer_before_template = "back_office/grant.html"
    search_fields = ("user__username",)
    ordering = ("-since",)
    readonly_fields = ("person", "standing", moment("since", "since"), moment("until", "until", never="open"), moment("ended_at", "ended"))

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def visible_history(self, user: Any, rows: Any) -> Any:
        return rows

    def shown_fieldsets(self, request: HttpRequest, obj: Any, writes: bool) -> list[Any]:
        if obj is None:
            return [(None, {"fields": ("user", "role", "until")})]
        shown = ("person", "role", "standing", moment("since", "since"), "by", moment("until", "until", never="open"))
        return [(None, {"fields": (*shown, moment("ended_at", "ended"), "ended_by")})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        return () if obj is None else tuple(self.shown_fieldsets(request, obj, False)[0][1]["fields"])

    def store(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        values = form.cleaned_data
        given = grants.grant_role(
            values["user"], Role(values["role"]), reason=values["change_reason"], now=clock.now(), until=values.get("until")
        )
        obj.pk, obj.since, obj.by = given.pk, given.since, given.by
        obj._state.adding = False

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        grant = self.visible_object(request, object_id)
        context = {"grant": grant, "may_end": _may_end(request, grant), "end_url": self.url("end", grant.pk)}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        return [self.view_path("<path:object_id>/end/", self.end_view, "end"), *super().get_urls()]

    def end_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks for the reason; its POST takes the role away at once."""
        grant = self.visible_object(request, object_id)
        if not _may_end(request, grant):
            raise PermissionDenied
        effect = (
            f"{grant.user} can do nothing as {grant.role} from then on. Given again, it is a new role, which approves nothing for a day."
        )
        decision = Decision(f"End: {grant}?", (effect,), "End the role", self.url("change", grant.pk), "Keep it", danger=True)

        def act(values: Mapping[str, Any]) -> str:
            ended = grants.end_role(grant.user, Role(grant.role), reason=values["reason"], now=clock.now())
            return f"{grant} ended {in_utc(ended.ended_at)}."  # type: ignore[arg-type]

        return decide(self, request, decision, ReasonForm, act, original=grant)

    @display(description="person", ordering="user__username")
    def person(self, grant: Grant) -> str:
        return code(grant.user.get_username(), title=grant.user.get_full_name())

    @display(description="state")
    def standing(self, grant: Grant) -> str:
        return badge("in force", "good") if grant.in_force(clock.now()) else badge("ended")


def _may_end(request: HttpRequest, grant: Grant) -> bool:
    return grant.ended_at is None and request.user.has_perm("l2l_audit.change_grant")
