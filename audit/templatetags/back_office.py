"""Sizes, times and digests in templates, as everywhere else."""

from __future__ import annotations

from datetime import datetime

from django import template

from audit import moments, sizes

register = template.Library()


@register.filter
def units(count: int | None) -> str:
    return sizes.in_units(count or 0)


@register.filter
def grouped(count: int) -> str:
    """12,345: many digits are not read otherwise."""
    return f"{count:,}"


@register.filter
def moment(value: datetime | None) -> str:
    return moments.in_utc(value) if value else "never"


@register.filter
def moment_in(value: datetime | None, zone: str) -> str:
    return moments.in_zone(value, zone) if value else "never"


@register.filter
def iso_moment(text: str) -> str:
    """A moment that a document keeps as text; empty for never."""
    return moments.in_utc(datetime.fromisoformat(text)) if text else "never"


@register.filter
def exact_moment(value: datetime | None) -> str:
    return moments.in_utc_to_the_second(value) if value else "never"


@register.filter
def words(text: str) -> list[str]:
    return text.split()
