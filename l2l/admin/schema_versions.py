"""The schema's versions: what each deployment changed in the tables of content, and what its migrations did to rows. Reading only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html_join

from audit.admin import BackOfficeAdmin, display, moment
from audit.models import SchemaVersion


@admin.register(SchemaVersion)
class SchemaVersionAdmin(BackOfficeAdmin):
    list_display = ("number", moment("began_at", "in force since"), "software", "migrations", "rows_in_history", "lost", "remarks")
    search_fields = ("software",)
    search_help_text = "Version of the software"
    ordering = ("-number",)
    fieldsets = (
        (None, {"fields": ("number", moment("began_at", "in force since"), moment("at", "recorded"), "software", "migrations")}),
        ("What became of rows", {"fields": ("rows_in_history", "left", "lost", "renamed", "remarks")}),
        ("What there is", {"fields": ("models", "digest", "signed_by")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    @display(description="migrations")
    def migrations(self, version: SchemaVersion) -> str:
        return ", ".join(version.document["migrations"]) or "–"

    @display(description="rows that migrations changed, in history now")
    def rows_in_history(self, version: SchemaVersion) -> str:
        tracked = version.document["tracked"].items()
        return "; ".join(f"{label}: {a:,} changed, {b:,} added, {c:,} removed" for label, (a, b, c) in tracked) or "–"

    @display(description="rows that differed from history before, and do so still")
    def left(self, version: SchemaVersion) -> str:
        return "; ".join(f"{label}: {count:,}" for label, count in version.document["left"].items()) or "–"

    @display(description="taken away")
    def lost(self, version: SchemaVersion) -> str:
        """What only sets of before hold; a model that is gone is an asterisk in the document."""
        gone = version.document["lost"].items()
        return "; ".join(f"{label}: {'all of it' if names == ['*'] else ', '.join(names)}" for label, names in gone) or "–"

    @display(description="renamed columns")
    def renamed(self, version: SchemaVersion) -> str:
        pairs = version.document["renamed"].items()
        return "; ".join(f"{label}: {', '.join(f'{old} → {new}' for old, new in names.items())}" for label, names in pairs) or "–"

    @display(description="remarks")
    def remarks(self, version: SchemaVersion) -> str:
        document = version.document
        said = [f"without sets before: {document['without_sets']}"] if document["without_sets"] else []
        said += [] if document["watched"] else ["somebody ran the migrations without 'init': what they changed stays named by the proofs"]
        return "; ".join(said) or "–"

    @display(description="models and their columns")
    def models(self, version: SchemaVersion) -> str:
        """A line for each."""
        named = ((label, ", ".join(column["name"] for column in one["rows"])) for label, one in version.document["models"].items())
        return format_html_join("\n", "<p><strong>{}</strong>: {}</p>", named)

    @display(description="signed by the key")
    def signed_by(self, version: SchemaVersion) -> str:
        return str(version.document["signed_by"]["fingerprint"])
