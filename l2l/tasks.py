"""What the queue calls of this app: one verb each. Every task is safe to run twice."""

from __future__ import annotations

import uuid

from audit import actors, clock
from audit.controls import measuring
from audit.reviews import reviewing
from backups import heartbeats
from backups import vault as vaults
from backups.queueing import WORKER
from l2l import mail
from l2l.access import locations_in_force
from l2l.alarms import looking, telling
from l2l.digest import sending
from l2l.evidence import asking
from subscriptions.ending import notices


def look_at_ends() -> str:
    """Reminders of the receipt, and alarms before and behind the day of destruction: hourly, in the worker cluster."""
    with actors.acting("worker", reason="the end of a customer", source="look_at_ends"):
        done = notices.look(mail.remind, clock.now())
    unsent = sum(1 for one in done if one.trouble)
    return f"{len(done)} noted, {unsent} not sent"


def look_at_alarms() -> str:
    """Alarms are raised and ended as things stand, and told: every minute, in the worker cluster."""
    heartbeats.beat(WORKER)
    now = clock.now()
    with actors.acting("worker", reason="what is not as promised is told", source="look_at_alarms"):
        changed = looking.look(now)
        told = telling.tell(now)
    heartbeats.beat(WORKER)
    ways = "; ".join(f"{way}: {why or 'told'}" for way, why in sorted(told.items()))
    return f"{len(changed)} changed" + (f"; {ways}" if ways else "")


def send_digest() -> str:
    """The week's digest, and the signed heads for somebody outside, when they are due: every few minutes, in the worker cluster."""
    heartbeats.beat(WORKER)
    with actors.acting("worker", reason="the weekly digest", source="send_digest"):
        sent = sending.send_due(clock.now())
    heartbeats.beat(WORKER)
    return "; ".join(f"{way}: {why or 'sent'}" for way, why in sorted(sent.items())) or "none is due"


def measure() -> str:
    """How every promise stands: each minute, in the worker cluster."""
    heartbeats.beat(WORKER)
    with actors.acting("worker", reason="the controls, measured", source="measure"):
        changed = measuring.measure_all(clock.now())
    heartbeats.beat(WORKER)
    return "; ".join(f"{one.control.name} {one.state.state}" for one in changed) or "as before"


def look_at_access() -> str:
    """Whether the newest quarter that is over was reviewed and attested: once a day, in the worker cluster."""
    with actors.acting("worker", reason="the quarter's review of access", source="look_at_access"):
        found = reviewing.look(locations_in_force(), clock.now())
    return "nothing owed yet" if found is None else f"{found.quarter}: {found.lacking or 'reviewed'}"


def look_at_evidence_packs() -> str:
    """Evidence packs that a killed worker left go on, and those whose time is over go: every few minutes, in the worker cluster."""
    with actors.acting("worker", reason="evidence packs", source="look_at_evidence_packs"):
        return asking.look(clock.now())


def make_evidence_pack(pk: str) -> str:
    """One attempt to make an evidence pack that a person asked for; its state."""
    heartbeats.beat(WORKER)
    done = asking.carry_out(vaults.from_settings(), uuid.UUID(pk))
    heartbeats.beat(WORKER)
    return done.state if done is not None else "not waiting"
