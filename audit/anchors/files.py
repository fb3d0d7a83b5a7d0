"""Finds anchors in a file as somebody outside kept it: the attachment, the whole mail as it was saved (.eml), or its text, wherever the
documents stand in it (pure)."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Iterator
from email.message import EmailMessage, Message
from typing import Any

from audit.anchors.anchoring import FORMAT


def anchors_in(data: bytes) -> list[dict[str, Any]]:
    """Every anchor in these bytes, each day once, in the order of the days. None of them is believed yet."""
    found = {_key(document): document for text in _texts(data) for document in _documents(text)}
    return [found[key] for key in sorted(found)]


def _key(document: dict[str, Any]) -> tuple[str, str]:
    return str(document.get("day")), str(document.get("root"))


def _texts(data: bytes) -> Iterator[str]:
    """The bytes as text, and each part of the mail that they may be."""
    yield data.decode(errors="replace")
    message = email.message_from_bytes(data, policy=email.policy.default)
    for part in message.walk() if message.keys() else ():
        yield from _text_of(part)


def _text_of(part: Message) -> Iterator[str]:
    content = part.get_payload(decode=True) if isinstance(part, EmailMessage) and not part.is_multipart() else None
    if isinstance(content, bytes):
        yield content.decode(errors="replace")


def _documents(text: str) -> Iterator[dict[str, Any]]:
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            found, end = decoder.raw_decode(text, at)
        except ValueError:
            found, end = None, at + 1
        if isinstance(found, dict) and found.get("format") == FORMAT:
            yield found
        elif isinstance(found, dict):
            end = at + 1  # an anchor may stand inside of it
        at = text.find("{", end)
