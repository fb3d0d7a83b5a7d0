"""One message for all that is to be told by one way, as text and as JSON (pure)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from audit.moments import in_utc
from audit.promises import Standing

FORMAT = "l2l-alarms-1"
# Told one by one; of more it is said how many they are.
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Item:
    """One alarm. `sentence` is the policy's, `threshold` the control's; both are empty where no control is the subject. `again` when it was
    told before and still stands; `ended_at` when it is over."""

    number: int
    subject: str
    state: Standing
    text: str
    todo: str
    raised_at: datetime
    promise: str = ""
    sentence: str = ""
    threshold: str = ""
    link: str = ""
    worse_at: datetime | None = None
    ended_at: datetime | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """`ident` is the same for the same alarms in the same states: whoever gets a message twice can tell."""

    items: tuple[Item, ...]
    sent_at: datetime

    @property
    def ident(self) -> str:
        told = [f"{one.number} {one.state} {one.ended_at is not None} {one.again and self.sent_at.date()}" for one in self.items]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:32]

    @property
    def standing(self) -> list[Item]:
        """What is not over, the worst first."""
        return sorted((one for one in self.items if one.ended_at is None), key=lambda one: (-one.state.rank, one.number))

    @property
    def over(self) -> list[Item]:
        return [one for one in self.items if one.ended_at is not None]


def subject_of(message: Message) -> str:
    """`L2L: 1 broken, 2 at risk, 1 over`."""
    counts = [(sum(1 for one in message.standing if one.state is state), state.value) for state in (Standing.BROKEN, Standing.AT_RISK)]
    counts.append((len(message.over), "over"))
    return "L2L: " + ", ".join(f"{count} {word}" for count, word in counts if count)


def text_of(message: Message) -> str:
    """Plain words, a block for each alarm."""
    blocks = [_standing(one) for one in message.standing[:SHOWN]] + [_over(one) for one in message.over[:SHOWN]]
    hidden = len(message.items) - len(blocks)
    more = [f"And {hidden} more, which the back office lists under Alarms."] if hidden else []
    return "\n\n".join([*blocks, *more, _END]) + "\n"


_END = "What is broken is told again every day until it is mended, and once more when it is over. Figures are as of this message."


def _standing(one: Item) -> str:
    since = f"Since {in_utc(one.raised_at)}"
    since += f", worse since {in_utc(one.worse_at)}." if one.worse_at and one.state is Standing.BROKEN else "."
    lines = [
        f"{one.state.value.upper()}{', STILL' if one.again else ''}{_promise(one)}",
        _sentence(one.text),
        *([f"Threshold: {_sentence(one.threshold)}"] if one.threshold else []),
        since,
        *([f"What to do: {one.todo}"] if one.todo else []),
        *([one.link] if one.link else []),
    ]
    return _indented(lines)


def _over(one: Item) -> str:
    ended = f"Over since {in_utc(one.ended_at)}; it stood since {in_utc(one.raised_at)}." if one.ended_at else ""
    return _indented([f"OVER{_promise(one)}", _sentence(one.text), ended])


def _promise(one: Item) -> str:
    return f"  {one.promise}: {one.sentence}" if one.promise else ""


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _indented(lines: Sequence[str]) -> str:
    return "\n".join([lines[0], *(f"  {line}" for line in lines[1:])])


def document_of(message: Message, service: str) -> dict[str, Any]:
    """The same for programs. `alarms` stand, `over` are over; moments are ISO 8601 in UTC."""
    return {
        "format": FORMAT,
        "id": message.ident,
        "sent_at": _moment(message.sent_at),
        "service": service,
        "text": subject_of(message),
        "alarms": _documents(message.standing),
        "over": _documents(message.over),
    }


def _documents(items: Iterable[Item]) -> list[dict[str, Any]]:
    return [
        {
            "alarm": one.number,
            "subject": one.subject,
            "state": one.state.value,
            "again": one.again,
            "promise": one.promise,
            "sentence": one.sentence,
            "text": one.text,
            "threshold": one.threshold,
            "todo": one.todo,
            "since": _moment(one.raised_at),
            "worse_since": _moment(one.worse_at) if one.worse_at else None,
            "over_since": _moment(one.ended_at) if one.ended_at else None,
            "link": one.link,
        }
        for one in items
    ]


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
