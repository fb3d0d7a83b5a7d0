"""The base classes of all admin pages. django-unfold stands behind them alone: nothing else in the apps needs it.

`BackOfficeAdmin` shows and changes nothing. `TrackedAdmin` is for protected models: a reason for each change, the history of each object,
files as checked downloads, and no way back through history. Each admin says whose rows a person may see (`visible_to`), and each page asks.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import DEFAULT_DB_ALIAS, IntegrityError, models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import path, reverse
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget

import audit
from audit import access, capture, downloads, history_pages, history_sql, registry
from audit.errors import AuditError
from audit.fields import CanonicalJSONField, TrackedFileField
from audit.files import UploadsUnavailable
from audit.moments import in_utc
from audit.paging import CappedPaginator, sorted_whole
from audit.sizes import in_units

# What a save or a deletion may answer to the person instead of being done.
REFUSALS: tuple[type[Exception], ...] = (AuditError, UploadsUnavailable, IntegrityError, ValidationError)
# Fields of a tracked form that are about the change, not of the row.
ABOUT_THE_CHANGE = ("change_reason", "seen_version")
HISTORY_PER_PAGE = 25
DELETED_PER_PAGE = 50


class ChangedMeanwhile(AuditError):
    """Somebody changed the object after this person opened it."""


def moment(field: str, label: str, *, never: str = "–") -> Callable[[Any], str]:
    """A column for a time, with its zone."""

    @display(description=label, ordering=field)
    def show(row: Any) -> str:
        value = getattr(row, field)
        return in_utc(value) if value else never

    return show


def size(field: str, label: str) -> Callable[[Any], str]:
    """A column for a number of bytes, in units."""

    @display(description=label, ordering=field)
    def show(row: Any) -> str:
        return in_units(getattr(row, field) or 0)

    return show


class RowList(ChangeList):
    """A list whose rows lead where their admin says. It is counted once: how many there would be without its filters is not asked."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.full_result_count = self.result_count

    def get_ordering(self, request: HttpRequest, queryset: models.QuerySet) -> list[Any]:
        ordering = super().get_ordering(request, queryset)
        return sorted_whole(self.model, ordering) if self.model_admin.narrows(request.user) else ordering

    def url_for_result(self, result: Any) -> str:
        return self.model_admin.row_url(result) or super().url_for_result(result)


class BackOfficeAdmin(ModelAdmin):
    """Read-only, but for what `allows` names (`add`, `change`, `delete`); and then Django's permissions decide."""

    allows: frozenset[str] = frozenset()
    actions: Any = None
    list_per_page = 50
    paginator: Any = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each facet would count the whole list
    compressed_fields = True
    has_history = False

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        """Those of `rows` that this person may see. Every page asks, not only the list."""
        raise NotImplementedError(f"{type(self).__name__}.visible_to says whose rows a person may see")

    def narrows(self, user: Any) -> bool:
        """Whether this person sees some of the rows alone."""
        rows = self.model._default_manager.all()
        return self.visible_to(user, rows) is not rows

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        return self.visible_to(request.user, super().get_queryset(request))

    def row_url(self, row: Any) -> str:
        """Where a row of the list leads; empty for the admin's own page."""
        return ""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RowList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return "add" in self.allows and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return "change" in self.allows and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return "delete" in self.allows and super().has_delete_permission(request, obj)

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> models.QuerySet | None:
        """A form offers and takes only what its user may see of the other model."""
        related = self.admin_site._registry.get(db_field.remote_field.model)
        return related.get_queryset(request) if related else super().get_field_queryset(db, db_field, request)

    def changeform_view(self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None) -> Any:
        return super().changeform_view(request, object_id, form_url, {"show_history": self.has_history, **(extra_context or {})})

    def visible_object(self, request: HttpRequest, key: str) -> Any:
        """The object for a page of its own; `PermissionDenied`, or 404 where it is not there for this person."""
        found = self.get_object(request, unquote(key))
        if not self.has_view_permission(request, found):
            raise PermissionDenied
        if found is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        return found

    def page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        """A page of our own in the frame of the admin."""
        request.current_app = self.admin_site.name
        known = {"title": title, "opts": self.opts, "model_admin": self, "changelist_url": self.url("changelist")}
        return render(request, template, {**self.admin_site.each_context(request), **known, **context})

    def url(self, name: str, *arguments: Any) -> str:
        return reverse(self.url_name(name, site=self.admin_site.name), args=[quote(one) for one in arguments])

    def url_name(self, name: str, *, site: str = "") -> str:
        return f"{site}{':' if site else ''}{self.opts.app_label}_{self.opts.model_name}_{name}"

    def view_path(self, route: str, view: Callable[..., HttpResponseBase], name: str) -> Any:
        """A path below this admin whose view asks for a signed-in member of staff."""
        return path(route, self.admin_site.admin_view(view), name=self.url_name(name))


class TrackedForm(forms.ModelForm):
    """Asks for the reason, and carries the version that its user saw."""

    refusal: Exception | None = None
    fixed: tuple[str, ...] = ()

    change_reason = forms.CharField(
        label="Reason for the change",
        max_length=1000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Stands in the history for good, with your name and the time.",
    )
    seen_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["change_reason"].required = not self.instance._state.adding
        if not self.instance._state.adding:
            self.fields["seen_version"].initial = history_pages.newest_version(self.instance)
            for file in history_pages.files_of(type(self.instance), self.instance):
                if file.field in self.fields:
                    self.fields[file.field].required = False  # there is one; a new one replaces it

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.refusal is not None:
            self._add_refusal(self.refusal)
        return cleaned

    def _add_refusal(self, refusal: Exception) -> None:
        if isinstance(refusal, ValidationError):
            for field, problems in refusal.update_error_dict({}).items():
                self.add_error(field if field in self.fields else None, problems)
        elif isinstance(refusal, IntegrityError):
            self.add_error(None, "The database refused: another row has these values already, or what this one belongs to is gone.")
        else:
            named = getattr(refusal, "field", None)
            self.add_error(named if named in self.fields else None, str(refusal))

    def _get_validation_exclusions(self) -> set[str]:
        """Constraints that speak of a fixed field, such as the customer, are checked too."""
        return super()._get_validation_exclusions() - set(self.fixed)  # type: ignore[misc]

    @property
    def changed_values(self) -> list[str]:
        return [name for name in self.changed_data if name not in ABOUT_THE_CHANGE]


class IndentedJSON(json.JSONEncoder):
    """JSON as people edit it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2})


class CheckedFileWidget(UnfoldAdminFileFieldWidget):
    """Takes a new file; the stored one has no public address, and is offered as a checked download beside."""

    def is_initial(self, value: Any) -> bool:
        return False

    def format_value(self, value: Any) -> None:
        return None

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return files.get(name)  # and no way to clear it


class TrackedAdmin(BackOfficeAdmin):
    """For models on `audit.TrackedModel`. `fixed_fields` cannot change once the row is stored."""

    form = TrackedForm
    has_history = True
    fixed_fields: tuple[str, ...] = ()
    change_form_before_template = "back_office/seen_version.html"
    change_form_outer_before_template = "back_office/stored_files.html"
    list_before_template: str | None = "back_office/list_links.html"
    delete_confirmation_template = "back_office/delete_confirmation.html"

    def visible_history(self, user: Any, rows: Any) -> Any:
        """Those of the history rows that this person may see, of deleted objects too."""
        raise NotImplementedError(f"{type(self).__name__}.visible_history says whose history a person may see")

    def download_name(self, row: Any, field: str) -> str:
        """The name under which a (live or history) row's file is downloaded."""
        return f"{self.opts.model_name}-{row.pk}"

    # Forms

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("deleted/", self.deleted_view, "deleted"),
            self.view_path("<path:object_id>/history/<int:version>/", self.version_view, "version"),
            self.view_path("<path:object_id>/history/<int:version>/file/<slug:field>/", self.version_file_view, "version_file"),
            self.view_path("<path:object_id>/file/<slug:field>/", self.file_view, "file"),
            *super().get_urls(),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        return (*super().get_readonly_fields(request, obj), *(self.fixed_fields if obj else ()))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> type[forms.ModelForm]:
        form = super().get_form(request, obj, change, **kwargs)
        form.refusal, form.fixed = getattr(request, "refusal", None), self.fixed_fields if obj else ()
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        writes = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        own = self.shown_fieldsets(request, obj, writes)
        return [*own, ("Why", {"fields": ("change_reason",)})] if writes else own

    def shown_fieldsets(self, request: HttpRequest, obj: Any, writes: bool) -> list[Any]:
        """The fields of the row itself, for somebody who may write them or only read."""
        fieldsets = super().get_fieldsets(request, obj)
        return [(name, {**options, "fields": _without(options["fields"], ABOUT_THE_CHANGE)}) for name, options in fieldsets]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if isinstance(db_field, TrackedFileField):
            kwargs["widget"] = CheckedFileWidget
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(db_field, CanonicalJSONField | models.JSONField) and field is not None:
            field.encoder, field.show_hidden_initial = IndentedJSON, False  # what differs from the stored row counts, not from the page
            field.widget.attrs |= {"rows": 14, "spellcheck": "false", "class": f"{field.widget.attrs.get('class', '')} bo-code"}
        return field

    def changeform_view(self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None) -> Any:
        """What the save refuses comes back as an error of the form, with all that was typed."""
        context = {**(extra_context or {}), "stored_files": self._stored_files(request, object_id)}
        try:
            return super().changeform_view(request, object_id, form_url, context)
        except REFUSALS as refusal:
            if request.method != "POST" or hasattr(request, "refusal"):
                raise
            request.refusal = refusal  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        with audit.because(form.cleaned_data.get("change_reason") or ""):
            if change:
                refuse_if_changed(obj, form.cleaned_data.get("seen_version"))
            self.store(request, obj, form, change)
        request.nothing_changed = change and not form.changed_values  # type: ignore[attr-defined]

    def store(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Writes the row; where adding is more than a row, the app's own verb stands here."""
        obj.save()

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        if not getattr(request, "nothing_changed", False):
            return super().response_change(request, obj)
        self.message_user(request, "No value was different, so nothing was written.", messages.INFO)
        return redirect(self.url("change", obj.pk) if "_continue" in request.POST else self.after_change_url(obj))

    def after_change_url(self, obj: Any) -> str:
        return self.url("changelist")

    # The admin's own log repeats what history says better, and would keep customers' words beyond their end.

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return None

    # Deleting

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        found = self.visible_object(request, object_id)
        if not self.has_delete_permission(request, found):
            raise PermissionDenied
        if request.method == "POST" and not request.POST.get("change_reason", "").strip():
            self.message_user(request, "Say why it is deleted; the reason stands in the history.", messages.ERROR)
            return redirect(request.get_full_path())
        context = {**(extra_context or {}), "seen_version": history_pages.newest_version(found)}
        try:
            return super().delete_view(request, object_id, context)
        except REFUSALS as refusal:
            self.message_user(request, refusal_text(refusal), messages.ERROR)
            return redirect(self.url("change", unquote(object_id)))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        seen = request.POST.get("seen_version", "")
        with audit.because(request.POST["change_reason"].strip()):
            refuse_if_changed(obj, int(seen) if seen.isdigit() else None)
            obj.delete()

    # History

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponseBase:
        """The timeline of one object, deleted or not. Reading only, for everybody."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        live, rows = self._history(request, object_id)
        page = Paginator(rows, HISTORY_PER_PAGE).get_page(request.GET.get("p"))
        shown = list(rows[page.start_index() - 1 : page.end_index() + 1]) if page.paginator.count else []
        newest_first, older = shown[:HISTORY_PER_PAGE], shown[HISTORY_PER_PAGE] if len(shown) > HISTORY_PER_PAGE else None
        entries = history_pages.entries(self.model, newest_first, older)
        return self.page(
            request,
            "back_office/history.html",
            f"History of {live or newest_first[0]}",
            object=live,
            key=object_id,
            entries=entries,
            absent=history_pages.ABSENT,
            page_obj=page,
            reported=_reported(self.model, newest_first),
        )

    def version_view(self, request: HttpRequest, object_id: str, version: int) -> HttpResponseBase:
        """One version in full. There is no way to write it back from here."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        row = self._version(request, object_id, version)
        (entry,) = history_pages.entries(self.model, [row], None)
        values = history_pages.values_of(self.model, row)
        return self.page(request, "back_office/version.html", f"{row} as it was", key=object_id, entry=entry, values=values)

    def deleted_view(self, request: HttpRequest) -> HttpResponse:
        """What was deleted, newest first; `before` goes on from a page's last row."""
        if not self.has_view_permission(request) or "delete" not in self.allows:
            raise PermissionDenied
        rows = self.visible_history(request.user, registry.of(self.model).history_model._default_manager.filter(history_type="-"))
        rows = self.deleted_rows(request, rows).order_by("-history_id")
        before = request.GET.get("before", "")
        found = list((rows.filter(history_id__lt=int(before)) if before.isdecimal() else rows)[: DELETED_PER_PAGE + 1])
        shown, more = found[:DELETED_PER_PAGE], len(found) > DELETED_PER_PAGE
        query = request.GET.copy()
        query["before"] = str(shown[-1].history_id) if shown else ""
        older = f"?{query.urlencode()}" if more else ""
        deleted = [(row, self.url("history", getattr(row, self.opts.pk.attname))) for row in shown]
        return self.page(request, "back_office/deleted.html", f"Deleted {self.opts.verbose_name_plural}", deleted=deleted, older=older)

    def deleted_rows(self, request: HttpRequest, rows: Any) -> Any:
        """The deletions that the page's own filter asks for."""
        return rows

    def _history(self, request: HttpRequest, object_id: str) -> tuple[Any, Any]:
        if not self.has_view_permission(request):
            raise PermissionDenied
        live = self.get_object(request, unquote(object_id))
        rows = self.visible_history(request.user, history_pages.rows_of(self.model, unquote(object_id)))
        if live is None and not rows.exists():
            raise Http404(f"There is and was no such {self.opts.verbose_name}.")
        return live, rows

    def _version(self, request: HttpRequest, object_id: str, version: int) -> Any:
        _, rows = self._history(request, object_id)
        row = rows.filter(history_id=version).first()
        if row is None:
            raise Http404("There is no such version.")
        return row

    # Files

    def _stored_files(self, request: HttpRequest, object_id: str | None) -> list[Any]:
        found = self.get_object(request, unquote(object_id)) if object_id and registry.of(self.model).files else None
        return history_pages.files_of(self.model, found) if found else []

    def file_view(self, request: HttpRequest, object_id: str, field: str) -> HttpResponseBase:
        """The stored file of an object, as it is now."""
        return self._download(request, self.visible_object(request, object_id), field, self.url("change", unquote(object_id)))

    def version_file_view(self, request: HttpRequest, object_id: str, version: int, field: str) -> HttpResponseBase:
        """The stored file of any version."""
        return self._download(request, self._version(request, object_id, version), field, self.url("history", unquote(object_id)))

    def _download(self, request: HttpRequest, row: Any, field: str, back: str) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        file = next((one for one in registry.of(self.model).files if one.name == field), None)
        name = str(getattr(row, field, "") or "") if file else ""
        if file is None or not name:
            raise Http404("There is no such file.")
        size = getattr(row, file.size_field)
        try:
            answer = downloads.attachment(file.storage, name, size=size, filename=self.download_name(row, field))
        except OSError as problem:
            self.message_user(request, str(problem), messages.ERROR)
            return redirect(back)
        access.downloaded(row, customer=self._customer_of(row), field=field, size=size, version=getattr(row, "history_id", None))
        return answer

    def _customer_of(self, row: Any) -> uuid.UUID | None:
        streams = (
            {row.history_stream}
            if hasattr(row, "history_stream")
            else history_sql.streams(registry.of(self.model), [row], DEFAULT_DB_ALIAS)
        )
        return next(iter(streams - {registry.SYSTEM_STREAM}), None)


def refuse_if_changed(obj: Any, seen_version: int | None) -> None:
    """Takes the stored row for this transaction; `ChangedMeanwhile` when it has another version than the person saw."""
    capture.enter(type(obj), [obj])
    if not type(obj)._base_manager.select_for_update().filter(pk=obj.pk).exists():
        raise ChangedMeanwhile("Somebody deleted this meanwhile. Nothing was written.")
    newest = history_pages.rows_of(type(obj), str(obj.pk)).first()
    if (newest.history_id if newest else None) != seen_version:
        told = f" ({newest.history_actor}, {in_utc(newest.history_date)})" if newest else ""
        raise ChangedMeanwhile(
            f"Somebody changed this after you opened it{told}. Nothing was written: open it again, look at the change, then make yours."
        )


def refusal_text(refusal: Exception) -> str:
    """What a refusal says to the person."""
    if isinstance(refusal, ValidationError):
        return " ".join(refusal.messages)
    return "The database refused: something still belongs to it." if isinstance(refusal, IntegrityError) else str(refusal)


def code(text: str, *, title: str = "") -> str:
    """Text for machines: fixed width, broken anywhere."""
    return render_to_string("back_office/code.html", {"text": text, "title": title})


def short_digest(sha256: str) -> str:
    """The first digits of a SHA-256, the whole one on hover."""
    return code(f"{sha256[: history_pages.DIGEST_DIGITS]}…", title=sha256) if sha256 else "–"


def _reported(model: type[models.Model], newest_first: list[Any]) -> dict[str, Any] | None:
    """Whose audit trail tells of the object, and what it is called there; None for what belongs to no customer."""
    if not newest_first or newest_first[0].history_stream == registry.SYSTEM_STREAM:
        return None
    protected, newest = registry.of(model), newest_first[0]
    name = str(model._meta.pk.attname) if protected.reference == "pk" else protected.reference
    return {"stream": newest.history_stream, "model": protected.label, "item": getattr(newest, name)}


def _without(fields: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(field for field in fields if field not in names)
