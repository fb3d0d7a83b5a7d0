"""What a cell of a list says. Each raises `ValueError` with what is wrong and how to write it."""

from __future__ import annotations

import re
from datetime import date

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from subscriptions.importing.report import short

YES, NO = ("yes", "true", "1"), ("no", "false", "0")
_WHOLE = re.compile(r"[0-9]{1,6}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def day(text: str) -> date:
    """ISO 8601 alone: 03/04/2026 is two days."""
    if not _DAY.fullmatch(text):
        raise ValueError(f"{short(text)!r} is no day: write it like 2026-12-31")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"there is no day {text}") from None


def number(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{short(text)!r} is no whole number")
    return int(text)


def yes_or_no(text: str) -> bool:
    if text.lower() not in (*YES, *NO):
        raise ValueError(f"{short(text)!r} is neither yes nor no")
    return text.lower() in YES


def addresses(text: str) -> str:
    """E-mail addresses that are separated by blanks, one a line."""
    found = text.split()
    for one in found:
        try:
            validate_email(one)
        except ValidationError:
            raise ValueError(f"{short(one)!r} is no e-mail address; several are separated by blanks") from None
    return "\n".join(found)
