"""The locations: where copies are kept, how they are, and what they are owed. Reading only: the environment names them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse

from audit.admin import BackOfficeAdmin, code, display, moment
from audit.badges import badge, badges
from audit.moments import in_utc
from audit.sizes import in_units
from backups.admin import reading_terms
from backups.models import Blob, Copy, Damage, Location, VerificationPass
from backups.owed import Owed as Owed
from backups.owed import owed_by_location as owed_by_location
from backups.verification import terms


def copies_text(count: int) -> str:
    return "1 copy" if count == 1 else f"{count} copies"


def public_address(url: str) -> str:
    """The address of a location without a name or password that somebody may have put into it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@admin.register(Location)
class LocationAdmin(BackOfficeAdmin):
    list_display = ("name", "address", "roles", moment("last_seen_at", "last seen", never="never"), "condition", "owed")
    fieldsets = (
        (None, {"fields": ("name", "address", "roles", moment("last_seen_at", "last seen", never="never"), "condition")}),
        ("What it holds", {"fields": ("held", "owed")}),
        ("Read again", {"fields": ("read_again", "how_read")}),
    )
    readonly_fields = (
        "read_again",
        "how_read",
        "name",
        "address",
        "roles",
        moment("last_seen_at", "last seen", never="never"),
        "condition",
        "held",
        "owed",
    )

    def get_urls(self) -> list[Any]:
        return [self.view_path("<path:object_id>/reading/", self.reading_view, "reading"), *super().get_urls()]

    def reading_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """How often, and how much a night."""
        location = self.visible_object(request, object_id)
        if not request.user.has_perm(terms.CHANGES):
            raise PermissionDenied
        return reading_terms.page(self, request, location)

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        owed = Copy.objects.filter(location=models.OuterRef("pk"), state=Copy.State.OWED, blob__state=Blob.State.STORED)
        grouped = owed.order_by().values("location")
        return (
            super()
            .get_queryset(request)
            .annotate(
                owed_copies=models.Subquery(grouped.annotate(n=Count("pk")).values("n")),
                owed_bytes=models.Subquery(grouped.annotate(n=Sum("blob__size")).values("n")),
            )
        )

    @display(description="address")
    def address(self, location: Location) -> str:
        return code(public_address(location.url))

    @display(description="part")
    def roles(self, location: Location) -> str:
        found = [("offsite", "info", "Elsewhere than the service itself")] if location.offsite else []
        found += [("required", "", "A set is protected only when it is whole here too")] if location.required else []
        found += [] if location.in_force else [("not used any more", "warn", "The environment does not name it")]
        return badges(found)

    @display(description="trouble")
    def condition(self, location: Location) -> str:
        if location.trouble:
            return badge("trouble", "bad") + render_to_string("back_office/text.html", {"text": location.trouble})
        return badge("fine", "good") if location.last_seen_at else badge("never used yet")

    @display(description="owed")
    def owed(self, location: Any) -> str:
        if not location.owed_copies:
            return badge("nothing", "good")
        return badge(
            f"{copies_text(location.owed_copies)}, {in_units(location.owed_bytes or 0)}", "warn", "The next backup puts them there"
        )

    @display(description="checked")
    def read_again(self, location: Location) -> str:
        newest = VerificationPass.objects.filter(location=location).order_by("-night").first()
        if newest is None:
            return badge("nothing yet", "", "The queue begins with the night; by hand: manage.py verify --mend")
        damaged = Damage.objects.open().filter(location=location).count()
        told = f"{newest.in_time} of {newest.stored_objects} objects within {location.recheck_days} days"
        oldest = f"Oldest check: {in_utc(newest.oldest_at)}" if newest.oldest_at else ""
        found = badge(f"{damaged} damaged", "bad") if damaged else badge("whole", "good", "Of what was read")
        return found + badge(told, "good" if newest.in_time == newest.stored_objects else "warn", oldest)

    @display(description="how")
    def how_read(self, location: Location) -> str:
        limit = f"at most {in_units(location.nightly_bytes)} a night" if location.nightly_bytes else "as much a night as that asks for"
        text = f"within {location.recheck_days} days, {limit}"
        href = reverse("admin:l2l_backups_verificationpass_changelist")
        return render_to_string("back_office/how_read.html", {"text": text, "href": href, "location": location})

    @display(description="copies")
    def held(self, location: Location) -> str:
        """Reads the whole table of copies: on the page of one location, not in the list."""
        present = Copy.objects.filter(location=location, state=Copy.State.PRESENT).aggregate(n=Count("pk"), size=Sum("blob__size"))
        return f"{present['n']} objects, {in_units(present['size'] or 0)}"
