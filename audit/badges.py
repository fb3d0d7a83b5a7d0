"""Small labels: text, kind (`good`, `warn`, `bad`, `info` or none), and what is said on hover."""

from __future__ import annotations

from collections.abc import Iterable

from django.template.loader import render_to_string


def badge(text: str, kind: str = "", title: str = "") -> str:
    return badges([(text, kind, title)])


def badges(found: Iterable[tuple[str, str, str]]) -> str:
    return render_to_string("back_office/badge.html", {"badges": list(found)})
