"""One ordered test, by one process, and what comes of it: a signed result, a finding where it failed, or nothing at all (P7).

A process that is killed leaves an order that `recover` has begun again, and no half of a result: result, event, finding and the cell's new
day are written in one transaction, by the attempt that still holds the order.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from audit import actors, findings
from audit.events import Event, record
from audit.findings import Kind
from audit.models import Stream
from audit.registry import SYSTEM_STREAM
from backups import damage
from backups.choosing import opened
from backups.errors import BackupError, NotTested
from backups.leases import holder_is_gone, process_name
from backups.manifest import BadManifest
from backups.models import BackupSet, TestCell, TestOrder, TestRestore
from backups.policy import Policy
from backups.read_leases import LEAVES
from backups.stores.contract import StoreError
from backups.test_restores import coverage, documents, planning, trials
from backups.test_restores.documents import Trial
from backups.test_restores.exempting import left_alone
from backups.test_restores.trials import Bench
from backups.vault import Vault

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
TOLD_EVERY = 1.0
LINES_TOLD = 6
State = TestOrder.State
Result = TestRestore.Result
Progress = Callable[[str], None]


def carry_out(vault: Vault, order_id: int, *, progress: Progress = lambda _: None) -> TestOrder | None:
    """Makes the test, once, whoever is called how often; the order as it stands after it, None when it was not waiting."""
    begun = {"state": State.RUNNING, "started_at": vault.clock(), "holder": process_name(), "progress": "", "trouble": ""}
    seen = TestOrder.objects.filter(pk=order_id, state=State.WAITING)
    attempts = seen.values_list("attempts", flat=True).first()
    if attempts is None or not seen.filter(attempts=attempts).update(attempts=attempts + 1, **begun):
        return None
    order = TestOrder.objects.select_related("stream", "location").get(pk=order_id)
    with actors.acting(order.asked_by, reason=order.reason, source=f"test-restore:{order.pk}"):
        try:
            _test(vault, order, _telling(order, progress))
        except NotTested as problem:
            _not_tested(order, str(problem), vault.clock())
        except BaseException as problem:
            _not_tested(order, f"The test stopped: {type(problem).__name__}", vault.clock())  # its words may quote a row
            raise
    return TestOrder.objects.select_related("result", "location", "stream").get(pk=order_id)


def recover(vault: Vault, now: datetime) -> int:
    """Has what killed processes left begun again, and removes their scratch databases; returns how many orders. What killed three is given
    up, and says so. Stands inside `audit.acting(...)`."""
    trials.sweep(vault.spool)
    recovered = 0
    for order in TestOrder.objects.filter(state=State.RUNNING).select_related("stream", "location"):
        if not holder_is_gone(order.holder):
            continue
        if order.attempts < MAX_ATTEMPTS:
            recovered += _mine(order).update(state=State.WAITING, queued_at=None, trouble="The process at work on it died.", progress="")
        else:
            _not_tested(order, f"{order.attempts} processes died over it: see what this machine says of them, then test again.", now)
    return recovered


# The test itself


def _test(vault: Vault, order: TestOrder, tell: Progress) -> None:
    if order.stream_id in left_alone():
        raise NotTested(f"{order.stream.name} is being returned or has ended: its backups are left alone.")
    bench = Bench.at(vault, order.location.name, settings.L2L_SCRATCH_URL, tell)
    if reason := bench.out_of_reach():
        raise NotTested(f"{order.location.name} is out of reach: {reason}")
    begun_at, about = vault.clock(), f"{order.stream_id}/{order.tier}/{order.location.name}"
    set_id, oldest = _chosen(vault, order, about, begun_at)
    trial = _judged(lambda: trials.try_set(bench, order.stream_id, str(set_id)))
    if BackupSet.objects.filter(pk=set_id, state__in=LEAVES).exists():
        raise NotTested("The set went meanwhile, for its time was over.")
    second = _judged(lambda: trials.try_second(bench, order.stream_id, order.seed, about, order.at))
    elsewhere = _given_elsewhere(vault, order, set_id, tell) if trial.trouble and trial.damaged else []
    _record(vault, order, set_id, oldest, begun_at, bench, trial, second, elsewhere)


def _judged(make: Callable[[], Any]) -> Any:
    """The trial; where the judging itself stops at what it reads, that is a failure with the error's name."""
    try:
        return make()
    except NotTested:
        raise
    except (ValueError, KeyError, TypeError, LookupError) as problem:
        logger.exception("A test restore stopped")
        return Trial(trouble=f"What was restored cannot be judged: {type(problem).__name__}", damaged=False)


def _chosen(vault: Vault, order: TestOrder, about: str, now: datetime) -> tuple[uuid.UUID, bool]:
    """The set, and whether it is the oldest monthly one. Raises `NotTested` when there is none any more."""
    if order.set_id is not None:
        return order.set_id, False
    policy = _policy(vault, now)
    there = coverage.sets_of(order.tier, policy, now).filter(blob__stream=order.stream, location=order.location)
    found = dict(there.values_list("blob__made_by", "blob__made_by__snapshot_at"))
    if not found:
        raise NotTested(f"{order.location.name} has no {order.tier} set of {order.stream.name} any more.")
    tests = TestRestore.objects.filter(stream=order.stream_id, oldest=True, result=Result.PASSED).order_by("-begun_at")
    if planning.takes_oldest(order.tier, tests.values_list("begun_at", flat=True).first(), now):
        return min(found, key=lambda pk: (found[pk], pk)), True
    return uuid.UUID(planning.one_of(order.seed, about, [str(pk) for pk in found])), False


def _policy(vault: Vault, now: datetime) -> Policy:
    policy = vault.in_force(now)
    if policy is None:
        raise NotTested("There is no backup policy. 'manage.py init' makes the first version.")
    return policy


def _given_elsewhere(vault: Vault, order: TestOrder, set_id: uuid.UUID, tell: Progress) -> list[str]:
    """What each other location gives of a set that this one does not: a line each, beginning with its name. Reads all of it there."""
    return [_given_by(vault, place.name, order, set_id, tell) for place in vault.places if place.name != order.location.name]


def _given_by(vault: Vault, name: str, order: TestOrder, set_id: uuid.UUID, tell: Progress) -> str:
    bench = Bench.at(vault, name, "", tell)
    if reason := bench.out_of_reach():
        return f"{name}: out of reach ({reason})"
    try:
        with opened(bench.vault, order.stream_id, set_id=str(set_id), progress=tell) as (_, reader):
            for part in reader.parts:
                tell(f"{part.what} of {part.model} at {name}")
                trials.read_whole(reader, part)
    except (BackupError, StoreError, BadManifest) as problem:
        return f"{name}: {'out of reach' if bench.out_of_reach() else 'damaged'} ({problem})"
    return f"{name}: whole"


# What comes of it


def _record(
    vault: Vault,
    order: TestOrder,
    set_id: uuid.UUID,
    oldest: bool,
    begun_at: datetime,
    bench: Bench,
    trial: Trial,
    second: Trial | None,
    elsewhere: list[str],
) -> None:
    now = vault.clock()
    policy = _policy(vault, now)
    made = [one for one in (trial, second) if one is not None]
    lines = [*(f"the set: {line}" for line in trial.words()), *(f"the second: {line}" for line in (second.words() if second else []))]
    test = TestRestore(
        stream=order.stream_id,
        called=order.stream.name,
        set_id=set_id,
        night=BackupSet.objects.filter(pk=set_id).values_list("night", flat=True).first(),
        tier=order.tier,
        oldest=oldest,
        location=order.location.name,
        second=second.at if second else None,
        seed=order.seed,
        result=Result.PASSED if all(one.passed for one in made) else Result.FAILED,
        text="\n".join([*lines, *elsewhere]),
        asked_by=order.asked_by,
        reason=order.reason,
        begun_at=begun_at,
        ended_at=now,
        list_ms=trial.list_ms,
        restore_ms=trial.restore_ms,
        judge_ms=trial.judge_ms,
        read_bytes=sum(one.read_bytes for one in made),
        content_bytes=trial.content_bytes,
        software=vault.software_version,
        policy=policy.number,
    )
    test.document = documents.signed(vault.signer, test, scratch=bench.kind, trial=trial, second=second, elsewhere=elsewhere)
    with transaction.atomic():
        if not _mine(order).update(state=State.DONE, ended_at=now, progress="", queued_at=None):
            return  # another attempt has the order by now
        test.save()
        TestOrder.objects.filter(pk=order.pk).update(result=test)
        _tell_cell(order, test, policy.test_days, now)
        _tell_of_failure(order, test, elsewhere, now)
        facts = {"set": str(set_id), "tier": order.tier, "location": order.location.name, "result": test.result}
        facts["sha256"] = documents.sha256_of(test.document)
        record(Event.TEST_RESTORED, subject=test, customer=_customer(order.stream), facts=facts)


def _tell_cell(order: TestOrder, test: TestRestore, test_days: int, now: datetime) -> None:
    cell = _cell(order)
    cell.update(tried_at=now, due_at=now, failed=not test.passed, trouble=test.text[:500], last_test=test)
    if test.passed:
        cell.update(tested_at=now, due_at=now + planning.period(order.tier, test_days))


def _tell_of_failure(order: TestOrder, test: TestRestore, elsewhere: list[str], now: datetime) -> None:
    if test.passed:
        return
    lines = test.text.split("\n")
    told = "; ".join(lines[:LINES_TOLD]) + ("; …" if len(lines) > LINES_TOLD else "")
    of_night = f" for the night of {test.night}" if test.night else ""
    text = f"The {order.tier} set{of_night} of {test.called} did not pass its test restore from {test.location}: {told}"
    subject = f"l2l_backups.testcell:{order.stream_id}/{order.tier}/{order.location.name}"
    findings.open_finding(Kind.TEST_RESTORE_FAILED, subject=subject, customer=_customer(order.stream), text=text[:2000], now=now)
    backup_set = BackupSet.objects.filter(pk=test.set_id).first()
    if backup_set is not None and _lost(elsewhere, test):
        damage.note(backup_set, f"no location gives it whole: test restore {test.pk}", now)


def _lost(elsewhere: list[str], test: TestRestore) -> bool:
    """Whether every location was asked, and none has the set whole."""
    damaged_here = bool(test.document["set_test"]["trouble"])
    return damaged_here and bool(elsewhere) and all(": damaged" in line for line in elsewhere)


def _not_tested(order: TestOrder, trouble: str, now: datetime) -> None:
    """Nothing is known of the backup: the test stays owed, and its cell says why."""
    with transaction.atomic():
        if not _mine(order).update(state=State.NOT_TESTED, ended_at=now, trouble=trouble[:500], progress="", queued_at=None):
            return
        _cell(order).update(tried_at=now, trouble=f"Not tested: {trouble}"[:500])
        facts = {"tier": order.tier, "location": order.location.name, "why": "not-tested"}
        record(Event.TEST_NOT_DONE, subject=order, customer=_customer(order.stream), facts=facts)


def _mine(order: TestOrder) -> Any:
    """The order, as long as this attempt is the one at it."""
    return TestOrder.objects.filter(pk=order.pk, state=State.RUNNING, attempts=order.attempts)


def _cell(order: TestOrder) -> Any:
    return TestCell.objects.filter(stream=order.stream, tier=order.tier, location=order.location)


def _customer(stream: Stream) -> uuid.UUID | None:
    return stream.pk if stream.pk != SYSTEM_STREAM else None


def _telling(order: TestOrder, progress: Progress) -> Progress:
    told_at = 0.0

    def tell(line: str) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= TOLD_EVERY:
            told_at = time.monotonic()
            progress(line)
            _mine(order).update(progress=line[:200])

    return tell
