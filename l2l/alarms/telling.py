"""Sends what nobody was told of: one message a way, each way for itself.

A way is claimed, all that it owes is sent as one message, and that is recorded if nothing changed meanwhile: an alarm that got worse in
between is told again. What a way cannot deliver stays owed and is tried again with growing waits; the other way does not wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.urls import NoReverseMatch, reverse

from audit import controls, events
from audit.controls import Control
from audit.events import Event
from audit.models import Alarm, Telling
from audit.promises import Standing
from l2l import staff_mail, ways
from l2l.alarms import webhook
from l2l.alarms.looking import CONTROL, FINDING
from l2l.alarms.messages import Item, Message, document_of, subject_of, text_of

# What is broken is told again after so long.
REPEATED = timedelta(days=1)
WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Way:
    """One way. `told` and `end_told` are the columns of `Alarm` that say when it was told by it; `called` is how the event names it; `send`
    raises `OSError`, and asks no database, for it runs in a thread of its own."""

    name: str
    called: str
    told: str
    end_told: str
    send: Callable[[Message], None]


def ways_set() -> list[Way]:
    """Mail always (to the log where there is no server, or no address), the webhook where one is set."""
    found = [Way(ways.MAIL, staff_mail.way_to(settings.L2L_ALARMS_TO), "mailed_at", "end_mailed_at", _mail)]
    if settings.L2L_ALARMS_WEBHOOK:
        found.append(Way(ways.WEBHOOK, WEBHOOK, "posted_at", "end_posted_at", _post))
    return found


def tell(now: datetime) -> dict[str, str]:
    """Whatever is owed by any way. Gives for each way that had something to tell what became of it: empty when it arrived. Stands inside
    `audit.acting(...)`."""
    all_set = ways_set()
    ways.forget({ways.MAIL, ways.WEBHOOK} - {way.name for way in all_set})
    todo = [(way, message) for way in all_set if (message := _claimed(way, now)) is not None]
    if not todo:
        return {}
    found: dict[str, str] = {}
    surprises: list[BaseException] = []
    with ThreadPoolExecutor(max_workers=len(todo), thread_name_prefix="alarms") as pool:
        sent = {pool.submit(way.send, message): (way, message) for way, message in todo}
        for future in as_completed(sent):
            way, message = sent[future]
            problem = future.exception()
            found[way.name] = _recorded(way, message, problem, now)
            if problem is not None and not isinstance(problem, OSError):
                surprises.append(problem)
    if surprises:  # no trouble of the way's, but of ours: seen among the queue's failures too
        raise surprises[0]
    return found


def owed(way: Way, since: datetime, now: datetime) -> QuerySet[Alarm]:
    """What this way has to tell: what is new or worse, what is broken still and was told a day ago, what is over. What was over before the
    way was first used is not told by it."""
    new, over = Q(**{way.told: None}), Q(ended_at__gte=since, **{way.end_told: None})
    again = Q(state=Standing.BROKEN.value, **{f"{way.told}__lte": now - REPEATED})
    return Alarm.objects.filter(Q(Q(ended_at=None) & (new | again)) | over).order_by("pk")


def untold(way: Way, now: datetime) -> int:
    """How many alarms this way has to tell of."""
    return owed(way, _since(way, now), now).count()


def _since(way: Way, now: datetime) -> datetime:
    return Telling.objects.filter(pk=way.name).values_list("since", flat=True).first() or now


def _claimed(way: Way, now: datetime) -> Message | None:
    """What the way has to tell, and only the caller tells it; None when there is nothing, or it is not its turn."""
    if not owed(way, _since(way, now), now).exists():
        return None
    claim = ways.claim(way.name, now)
    if claim is None:
        return None
    items = tuple(_item(alarm, way) for alarm in owed(way, claim.since, now))
    if not items:  # whoever had the claim before told it
        ways.free(way.name, now)
        return None
    return Message(items, now)


def _recorded(way: Way, message: Message, problem: BaseException | None, now: datetime) -> str:
    """What was told is told, or the trouble of the way stands at all that it owes."""
    why = "" if problem is None else str(problem) if isinstance(problem, OSError) and str(problem) else type(problem).__name__
    with transaction.atomic():
        if why:
            ways.failed(way.name, why, now)
            Alarm.objects.filter(pk__in=[one.number for one in message.items]).update(attempts=F("attempts") + 1)
        else:
            _mark(way, message, now)
            ways.worked(way.name, now)
        _note_troubles(now)
        if not why:
            facts = {"alarms": len(message.standing), "ended": len(message.over), "way": way.called}
            events.record(Event.ALARM_TOLD, subject="l2l:alarms", facts=facts)
    return why


def _mark(way: Way, message: Message, now: datetime) -> None:
    """What was told, if it is still what was told."""
    for state in Standing:
        keys = [one.number for one in message.standing if one.state is state]
        Alarm.objects.filter(pk__in=keys, state=state.value).update(**{way.told: now})
    Alarm.objects.filter(pk__in=[one.number for one in message.over]).update(**{way.end_told: now})


def _note_troubles(now: datetime) -> None:
    """At each alarm: what stood in the way at the last try, of every way that owes it."""
    troubles = dict(Telling.objects.exclude(trouble="").values_list("way", "trouble"))
    Alarm.objects.exclude(trouble="").update(trouble="")
    for way in ways_set():
        if way.name in troubles:
            for alarm in owed(way, _since(way, now), now):
                alarm.trouble = "; ".join(filter(None, (alarm.trouble, f"by {way.name}: {troubles[way.name]}")))
                alarm.save(update_fields=["trouble"])


def _item(alarm: Alarm, way: Way) -> Item:
    control = controls.by_name(alarm.subject.removeprefix(CONTROL)) if alarm.subject.startswith(CONTROL) else None
    return Item(
        number=alarm.pk,
        subject=alarm.subject,
        state=Standing(alarm.state),
        text=alarm.text,
        todo=alarm.todo,
        raised_at=alarm.raised_at,
        promise=control.promise if control else "",
        sentence=control.promised.sentence if control else "",
        threshold=control.threshold if control else "",
        link=link_of(alarm.subject, control),
        worse_at=alarm.worse_at,
        ended_at=alarm.ended_at,
        again=getattr(alarm, way.told) is not None,
    )


def link_of(subject: str, control: Control | None) -> str:
    """The page that shows it; nothing where our address is not known."""
    if not settings.L2L_ADDRESS:
        return ""
    page, query = "admin:index", ""
    if control is not None:
        page, query = control.evidence, control.query
    elif subject.startswith(FINDING):
        page, query = "admin:l2l_audit_finding_changelist", f"standing=open&kind={subject.removeprefix(FINDING)}"
    try:
        path = reverse(page)
    except NoReverseMatch:  # no alarm waits for a page that is gone
        path, query = reverse("admin:index"), ""
    return f"{settings.L2L_ADDRESS.rstrip('/')}{path}{'?' if query else ''}{query.lstrip('?')}"


def _mail(message: Message) -> None:
    staff_mail.send(settings.L2L_ALARMS_TO, subject_of(message), text_of(message), message.ident)


def _post(message: Message) -> None:
    body = json.dumps(document_of(message, settings.L2L_ADDRESS), ensure_ascii=False).encode()
    webhook.post(settings.L2L_ALARMS_WEBHOOK, settings.L2L_ALARMS_WEBHOOK_SECRET, body, message.ident)
