"""The review of access with what it needs of the backups: which locations somebody must speak for."""

from __future__ import annotations

from backups.models import Location


def locations_in_force() -> list[str]:
    return list(Location.objects.filter(in_force=True).values_list("name", flat=True))
