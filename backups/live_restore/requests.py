"""Asking for a live restore and deciding on it: one asks, another approves exactly what was shown (P5). The deed: `carrying_out.py`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from audit import two_person
from audit.moments import in_utc_to_the_second
from audit.states import State
from audit.two_person import NOT_ENTITLED, ApprovalRefused
from backups.choosing import At, Only
from backups.errors import NotRestorable
from backups.live_restore.planning import chosen_of, make_plan
from backups.live_restore.plans import Chosen, Plan
from backups.live_restore.sources import Which, source
from backups.models import LiveRestore, LiveRestoreRequest
from backups.vault import Vault
from subscriptions.models import Customer


def preview(vault: Vault, stream: uuid.UUID, which: Which, only: Only | None = None) -> Plan:
    """What a restore would change now; nothing is stored. Raises `TooMuchDiffers`, `NoSet`, and what opening and reading a state raises."""
    with source(vault, stream, which, only=only) as opened:
        return make_plan(opened, chosen_of(opened, only))


@contextmanager
def planned(vault: Vault, asked: LiveRestoreRequest) -> Iterator[Plan]:
    """What the request would change now, with its state open for reading. Raises as `preview`."""
    which = Which(str(asked.set_id)) if asked.set_id else Which(at=At(asked.state_at))
    keys = frozenset(asked.only_keys) if asked.only_keys else None
    with source(vault, asked.customer_id, which, only=Only(asked.only_model) if asked.only_model else None) as opened:
        yield make_plan(opened, Chosen(asked.only_model, keys))


def plan_of(vault: Vault, asked: LiveRestoreRequest) -> Plan:
    """The same, to look at."""
    with planned(vault, asked) as plan:
        return plan


def ask(
    vault: Vault, customer: Customer, which: Which, *, by: Any, why: str, now: datetime, only: Only | None = None
) -> LiveRestoreRequest:
    """The new request. Raises `ApprovalRefused` when this person may not ask, `NotRestorable` when nothing would change or something stands
    in the way, and as `preview`."""
    _check_sees(by, customer.pk, "ask for")
    plan = preview(vault, customer.pk, which, only)
    check_restorable(plan)
    return two_person.request(
        LiveRestoreRequest,
        by=by,
        what=f"restore {customer.code} to {in_utc_to_the_second(plan.source.state_at)}: {in_words(plan)}"[:200],
        why=why,
        plan=plan.document,
        now=now,
        customer=customer,
        state_at=plan.source.state_at,
        set_id=plan.source.set_id,
        only_model=plan.chosen.model,
        only_keys=sorted(plan.chosen.keys or ()),
        counts=plan.counts,
    )


def approve(vault: Vault, asked: LiveRestoreRequest, *, by: Any, password: str, now: datetime) -> LiveRestore:
    """Approved, and waiting for who carries it out. Raises what `two_person.approve` raises (a moved difference voids the request), and
    `NotRestorable`."""
    _check_sees(by, asked.customer_id, "approve")
    plan = plan_of(vault, asked)
    check_restorable(plan)
    two_person.approve(asked, by=by, password=password, plan=plan.document, now=now)
    return waiting(asked)


def waiting(asked: LiveRestoreRequest) -> LiveRestore:
    """The row of an approved request that waits to be carried out; one that failed waits again. Safe to repeat."""
    row, made = LiveRestore.objects.get_or_create(request_id=asked.pk)
    if not made and row.state == LiveRestore.State.FAILED:
        again = {"state": LiveRestore.State.WAITING, "attempts": 0, "queued_at": None}
        LiveRestore.objects.filter(pk=row.pk, state=LiveRestore.State.FAILED).update(**again)
        row.refresh_from_db()
    return row


def refuse(asked: LiveRestoreRequest, *, by: Any, why: str, now: datetime) -> LiveRestoreRequest:
    _check_sees(by, asked.customer_id, "refuse")
    return two_person.refuse(asked, by=by, why=why, now=now)


def cancel(asked: LiveRestoreRequest, *, by: Any, why: str, now: datetime) -> LiveRestoreRequest:
    """Until it is committed: one that is at work finds itself cancelled, and writes nothing."""
    _check_sees(by, asked.customer_id, "cancel")
    return two_person.cancel(asked, by=by, why=why, now=now)


def check_restorable(plan: Plan) -> None:
    """`NotRestorable`, with all that stands in the way."""
    if plan.obstacles:
        raise NotRestorable("It cannot be restored into the live tables. " + " ".join(plan.obstacles))
    if plan.is_empty:
        raise NotRestorable("The live data is exactly that state already: there is nothing to restore.")


def in_words(plan: Plan) -> str:
    """`3 rows added, 2 changed, 1 removed; 4 files put back`."""
    added, changed, removed = plan.totals
    files = f"; {len(plan.files)} file{'' if len(plan.files) == 1 else 's'} put back" if plan.files else ""
    return f"{added} row{'' if added == 1 else 's'} added, {changed} changed, {removed} removed{files}"


def digest_of(plan: Plan) -> str:
    """What an approval binds to."""
    return two_person.digest_of(plan.document)


def is_open(asked: LiveRestoreRequest) -> bool:
    return asked.state in (State.REQUESTED, State.APPROVED)


def _check_sees(by: Any, customer: uuid.UUID, verb: str) -> None:
    if not Customer.objects.visible_to(by).filter(pk=customer).exists():
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not {verb} this: it is not a customer of theirs.")
