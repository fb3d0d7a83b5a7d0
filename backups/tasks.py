"""What the queue calls: ids in, one verb each. Every task is safe to run twice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils.timezone import localdate

from audit import actors, evidence
from audit.anchors import anchoring
from backups import heartbeats, item_exports, keyfiles, queueing, runs
from backups import vault as vaults
from backups.destroy import carrying_out as destroying
from backups.errors import Busy
from backups.hot import removal, shipper, timelines
from backups.keys import former, keeping
from backups.live_restore import carrying_out
from backups.models import Run
from backups.prune import carrying_out as pruning
from backups.purge import carrying_out as purging
from backups.purge import looks
from backups.queueing import DESTROYER, WORKER
from backups.returning import carrying_out as returning
from backups.returning import excusing, freezing
from backups.snapshot import one_connection
from backups.test_restores import carrying_out as test_restores
from backups.test_restores import orders
from backups.vault import Vault
from backups.verification import carrying_out as verifying
from backups.verification import setting_aside

TURN_SECONDS, VERIFY_SECONDS = 20.0, 240.0
AWAY_ASKED = 5


def look() -> None:
    """What is owed, what was interrupted, what is due: every minute, in the worker cluster."""
    heartbeats.beat(WORKER)
    now = vaults.clock()
    with actors.acting("worker", reason="what is due", source="look"):
        runs.owe_nights(now)
        excusing.excuse_nights(now)
        runs.recover(now)
        item_exports.recover(now)
        item_exports.expire(now)
    queueing.queue_due(now)
    queueing.forget_failures()
    heartbeats.forget_old(now)
    with actors.acting("worker", reason="what is due", source="look"):
        carrying_out.recover(now)  # last, for it may have to wait for a lock
    queueing.queue_live_restores(now)


def see_locations() -> str:
    """Whether each location can be used, noted where people and controls look for it: every minute, in the worker cluster. One that is
    known to be away is asked every fifth minute: it may take a minute to say so."""
    heartbeats.beat(WORKER)
    vault = vaults.from_settings()
    asked = [place for place in vault.places if not place.location.trouble or vault.clock().minute % AWAY_ASKED == 0]
    _, troubles = replace(vault, places=tuple(asked)).usable()
    heartbeats.beat(WORKER)
    return f"{', '.join(sorted(troubles))} cannot be used" if troubles else f"{len(asked)} can be used"


def work_off(run_ids: Sequence[int]) -> list[str]:
    """One attempt at each of the runs; returns their states. Each is begun, leased and recorded by itself. Runs that a long one held up
    are given back, for another worker may be free."""
    vault, began, begun = vaults.from_settings(), time.monotonic(), set()
    done, due = 0, runs.due_among(run_ids, vault.clock())
    with one_connection():
        while done < len(run_ids) and (not done or time.monotonic() - began <= TURN_SECONDS):
            heartbeats.beat(WORKER)
            run_id = run_ids[done]
            if run_id in due and _attempted(vault, due[run_id]):
                begun.add(run_id)
            done += 1
    if done < len(run_ids):
        queueing.give_back(run_ids[done:], vaults.clock())
    heartbeats.beat(WORKER)
    states = dict(Run.objects.filter(pk__in=begun).values_list("pk", "state"))
    return [states.get(run_id, "not due") for run_id in run_ids[:done]]


def _attempted(vault: Vault, run: Run) -> bool:
    with actors.acting("worker", reason="a run that is due", source=f"run:{run.pk}"):
        return runs.attempted(vault, run)


def restore_live(request_id: int) -> str:
    """One attempt to carry out an approved live restore; its state."""
    heartbeats.beat(WORKER)
    done = carrying_out.carry_out(vaults.from_settings(), request_id)
    heartbeats.beat(WORKER)
    return done.state if done is not None else "not due"


def look_at_test_restores() -> int:
    """Tonight's test restores are ordered, killed ones begun again, and what waits is queued: every few minutes, in the worker cluster."""
    heartbeats.beat(WORKER)
    vault, now = vaults.from_settings(), vaults.clock()
    with actors.acting("worker", reason="what is kept can be restored", source="look_at_test_restores"):
        test_restores.recover(vault, now)
        orders.plan_night(vault, now)
    return queueing.queue_test_restores(now)


def test_restore(order_id: int) -> str:
    """One attempt at one ordered test restore; its state."""
    heartbeats.beat(WORKER)
    done = test_restores.carry_out(vaults.from_settings(), order_id, progress=lambda _: heartbeats.beat(WORKER))
    heartbeats.beat(WORKER)
    return done.state if done is not None else "not waiting"


def look_at_returns() -> int:
    """Customers whose data is to be returned: what is begun, killed or waits is queued, and freezes stand: every minute, in the worker
    cluster."""
    heartbeats.beat(WORKER)
    now = vaults.clock()
    with actors.acting("worker", reason="data is returned", source="look_at_returns"):
        freezing.keep_frozen()
        returning.look(now)
    return queueing.queue_returns(now)


def make_return(pk: int) -> str:
    """One attempt to make a customer's package; its state."""
    heartbeats.beat(WORKER)
    done = returning.carry_out(vaults.from_settings(), pk, progress=lambda _: heartbeats.beat(WORKER))
    heartbeats.beat(WORKER)
    return done.state if done is not None else "not waiting"


def export_item(pk: int) -> str:
    """Takes one item that a person asked for from the backups; returns what became of it."""
    heartbeats.beat(WORKER)
    made = item_exports.make(vaults.from_settings(), pk)
    return made.state if made else "not waiting"


def ship_if_unled() -> bool:
    """When no shipper leads, the queue ships what waits: every minute, in the worker cluster."""
    heartbeats.beat(WORKER)
    with actors.acting("worker", reason="nobody leads the hot backups", source="ship_if_unled"):
        return shipper.ship_if_unled(vaults.from_settings(), vaults.clock())


def remove_segments() -> str:
    """What sets hold by now leaves the hot folder: hourly, where credentials that delete are."""
    heartbeats.beat(DESTROYER)
    with actors.acting("destroyer", reason="sets hold what these segments say", source="remove_segments"):
        return removal.remove_covered(vaults.from_settings(), vaults.clock()).why


def prune() -> str:
    """Sets whose time is over go: hourly, where credentials that delete are."""
    heartbeats.beat(DESTROYER)
    with actors.acting("destroyer", reason="what retention lets go", source="prune"):
        done = pruning.carry_out(vaults.from_settings(), progress=lambda _: heartbeats.beat(DESTROYER))
    heartbeats.beat(DESTROYER)
    return f"{done.sets} sets let go, {done.objects} objects removed, {len(done.left)} left"


def verify() -> str:
    """Reads on with tonight's share of each location, and mends what is wrong: some minutes at a time, in the worker cluster."""
    heartbeats.beat(WORKER)
    vault, wanted = vaults.from_settings(), verifying.Wanted(seconds=VERIFY_SECONDS)
    if not verifying.anything_to_do(vault):
        return "tonight's share is read"
    with actors.acting("worker", reason="every stored byte is read again", source="verify"):
        try:
            turns = verifying.carry_out(vault, wanted, progress=lambda _: heartbeats.beat(WORKER))
        except Busy as busy:
            return str(busy)
    heartbeats.beat(WORKER)
    return "; ".join(f"{one.location}: {one.objects} read, {one.found} wrong, {one.mended} mended, {one.left} left" for one in turns)


def expire_set_aside() -> str:
    """Damaged bytes that were set aside long enough leave: hourly, where credentials that delete are."""
    heartbeats.beat(DESTROYER)
    with actors.acting("destroyer", reason="set aside long enough", source="expire_set_aside"):
        vault = vaults.from_settings()
        gone, left = setting_aside.expire(vault, vault.usable()[0], vault.clock())
    return f"{gone} gone, {len(left)} left"


def purge() -> str:
    """Content past its term goes, where two people decided on it and its day has come, and what is past its term is looked at: hourly,
    where credentials that delete are."""
    heartbeats.beat(DESTROYER)
    with actors.acting("destroyer", reason="content past its term", source="purge"):
        report = purging.look(vaults.from_settings(), progress=lambda _: heartbeats.beat(DESTROYER))
        looks.look_at_all(vaults.clock(), lambda: heartbeats.beat(DESTROYER))
    return f"{sum(report.items.values())} items gone, {len(report.troubles)} requests wait or failed"


def destroy() -> str:
    """Ended customers whose destruction is approved and has cooled off: begun, gone on with, looked at again. Every ten minutes, where
    credentials that delete are."""
    heartbeats.beat(DESTROYER)
    vault = vaults.from_settings()
    with actors.acting("destroyer", reason="the end of a customer", source="destroy"):
        report = destroying.look(vault, vault.clock(), progress=lambda _: heartbeats.beat(DESTROYER))
    heartbeats.beat(DESTROYER)
    return f"{len(report.begun)} begun, {len(report.gone)} gone, {len(report.void)} approvals void, {len(report.troubles)} wait"


def keep_keys() -> str:
    """An approved change of keys is carried out, and every key is wrapped for whom it should be: hourly, and when a change is approved."""
    heartbeats.beat(WORKER)
    with actors.acting("worker", reason="keys are wrapped for whom they should be", source="keep_keys"):
        done = keeping.keep(settings.L2L_KEYS, vaults.clock(), progress=lambda _: heartbeats.beat(WORKER))
    heartbeats.beat(WORKER)
    return f"{done.keys} keys wrapped anew, {len(done.left)} left"


def remove_former_keys() -> str:
    """Former wrappings of keys go where the new one is: hourly, where credentials that delete are."""
    heartbeats.beat(DESTROYER)
    with actors.acting("destroyer", reason="keys are wrapped anew", source="remove_former_keys"):
        gone = former.remove_former(vaults.from_settings(), progress=lambda _: heartbeats.beat(DESTROYER))
    heartbeats.beat(DESTROYER)
    return f"{gone.objects} former wrappings removed, {len(gone.left)} left"


def sign_evidence() -> None:
    """Signs where the evidence trail stands: what was recorded before cannot be altered unseen."""
    evidence.sign_head(keyfiles.signer(settings.L2L_KEYS), vaults.clock())


def anchor() -> str:
    """The day's head over all chains, once a day in the back office's zone: every few minutes, in the worker cluster."""
    now = vaults.clock()
    day = localdate(now, ZoneInfo(settings.L2L_ZONE))
    return anchoring.make(keyfiles.signer(settings.L2L_KEYS), day=day, timeline=timelines.current(), now=now).root


def alive() -> None:
    """The destroyer's sign of life, until it has more to do."""
    heartbeats.beat(DESTROYER)
