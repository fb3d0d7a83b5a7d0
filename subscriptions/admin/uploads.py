"""A list that a person uploads, and what it is told when it is refused."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from subscriptions.importing.report import FileRefused

SHOWN = 25


def as_refusal(refused: FileRefused) -> ValidationError:
    """The problems as errors of the form: the first ones, each with its line, and how many more there are."""
    told = [str(one) for one in refused.refusals[:SHOWN]]
    more = len(refused.refusals) - SHOWN
    return ValidationError([*told, *([f"and {more} more: mend these first"] if more > 0 else []), "Nothing was written."])
