"""Customers' content: data records, uploads, links, and the base for a vendor's own models."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, QueryDict
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.text import Truncator

from audit import registry
from audit.admin import TrackedAdmin, TrackedForm, code, display, short_digest, size
from audit.history_pages import json_words
from subscriptions.admin.visible import CustomerFilter, as_uuid, of_visible_customers
from subscriptions.models import DataRecord, Link, UploadedContent

CLICKABLE = ("http", "https", "mailto")
SIZE = size("size", "size")


class KindFilter(admin.SimpleListFilter):
    """The kinds of one customer's records, once a customer is chosen: the kinds of all would read the whole table."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        customer = as_uuid(request.GET.get(CustomerFilter.parameter_name))
        if customer is None:
            return []
        kinds = model_admin.get_queryset(request).filter(customer=customer).order_by("kind").values_list("kind", flat=True).distinct()
        return [(kind, kind) for kind in kinds]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class ContentAdmin(TrackedAdmin):
    """For any protected model whose rows belong to a customer, a vendor's own too."""

    allows = frozenset({"add", "change", "delete"})
    fixed_fields: tuple[str, ...] = ("customer",)
    autocomplete_fields: tuple[str, ...] = ("customer",)
    list_filter: tuple[Any, ...] = (CustomerFilter,)
    list_select_related: tuple[str, ...] = ("customer",)
    ordering = ("-pk",)

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, registry.of(self.model).customer)

    def visible_history(self, user: Any, rows: Any) -> Any:
        return of_visible_customers(user, rows, "history_stream")

    def deleted_rows(self, request: HttpRequest, rows: Any) -> Any:
        customer = as_uuid(request.GET.get(CustomerFilter.parameter_name))
        return rows.filter(history_stream=customer) if customer else rows

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A new row for the customer whose list one comes from."""
        list_filters = QueryDict(request.GET.get("_changelist_filters", ""))
        chosen = {"customer": list_filters["customer"]} if as_uuid(list_filters.get("customer")) else {}
        return chosen | super().get_changeform_initial_data(request)


@admin.register(DataRecord)
class DataRecordAdmin(ContentAdmin):
    list_display = ("reference", "kind", "customer", "beginning")
    list_filter = (CustomerFilter, KindFilter)
    readonly_fields = ("data_table",)
    search_fields = ("reference", "data")
    search_help_text = "Reference or any text in the data"

    def shown_fieldsets(self, request: HttpRequest, obj: Any, writes: bool) -> list[Any]:
        return [(None, {"fields": ("customer", "kind", "reference", "data" if writes else "data_table")})]

    @display(description="data")
    def beginning(self, record: DataRecord) -> str:
        shown = [f"{key}: {words}" if key else words for key, words in _pairs(record.data)[:6]]
        return format_html('<span class="bo-oneline">{}</span>', Truncator(" · ".join(shown)).chars(160))

    @display(description="data")
    def data_table(self, record: DataRecord) -> str:
        return render_to_string("back_office/pairs.html", {"pairs": _pairs(record.data)})


def _pairs(data: Any) -> list[tuple[str, str]]:
    pairs = data.items() if isinstance(data, dict) else [("", data)]
    return [(key, json_words(value, None)) for key, value in pairs]


class UploadForm(TrackedForm):
    """The file brings its own name and type where none is given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" in self.fields:
            self.fields["name"].required = False
            self.fields["name"].help_text = "The customer's name for it, folders included; empty: the file's own name."

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        file = self.files.get("file")
        cleaned["name"] = cleaned.get("name") or (file.name if file else "")
        cleaned["content_type"] = cleaned.get("content_type") or (file.content_type if file else "") or ""
        if not cleaned["name"] and "file" not in self.errors:
            self.add_error("name", "Give it a name.")
        return cleaned


@admin.register(UploadedContent)
class UploadedContentAdmin(ContentAdmin):
    form = UploadForm
    list_display = ("name", "customer", SIZE, "digest", "content_type", "download")
    search_fields = ("name",)
    search_help_text = "Name"
    readonly_fields = (SIZE, "whole_digest")

    def shown_fieldsets(self, request: HttpRequest, obj: Any, writes: bool) -> list[Any]:
        stored = (SIZE, "whole_digest") if obj else ()
        return [(None, {"fields": ("customer", "name", *(("file",) if writes else ()), "content_type", *stored)})]

    def download_name(self, row: Any, field: str) -> str:
        return PurePosixPath(row.name.replace("\\", "/")).name or "upload"

    @display(description="SHA-256")
    def digest(self, upload: UploadedContent) -> str:
        return short_digest(upload.sha256)

    @display(description="SHA-256")
    def whole_digest(self, upload: UploadedContent) -> str:
        return code(upload.sha256)

    @display(description="")
    def download(self, upload: UploadedContent) -> str:
        return format_html('<a class="bo-link" href="{}">Download</a>', self.url("file", upload.pk, "file"))


@admin.register(Link)
class LinkAdmin(ContentAdmin):
    list_display = ("title_or_reference", "address", "customer")
    search_fields = ("reference", "title", "url")
    search_help_text = "Reference, title or address"
    readonly_fields = ("address",)

    def shown_fieldsets(self, request: HttpRequest, obj: Any, writes: bool) -> list[Any]:
        return [(None, {"fields": ("customer", "reference", "title", *(("url",) if writes else ()), *(("address",) if obj else ()))})]

    @display(description="title", ordering="title")
    def title_or_reference(self, link: Link) -> str:
        return str(link)

    @display(description="opens")
    def address(self, link: Link) -> str:
        shown = Truncator(link.url).chars(80)
        if not is_clickable(link.url):
            return code(shown)
        return format_html('<a class="bo-link" href="{}" target="_blank" rel="noopener noreferrer">{}</a>', link.url, shown)


def is_clickable(address: str) -> bool:
    """Whether a browser may be sent there: not for `javascript:` and the like."""
    try:
        return urlsplit(address.strip()).scheme.lower() in CLICKABLE
    except ValueError:
        return False
