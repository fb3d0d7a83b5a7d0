"""What the controls came to, now and hour by hour, and the alarms that went out (P13)."""

from __future__ import annotations

from typing import Any

from django.db import models

from audit.fields import CanonicalJSONField
from audit.models.evidence import AppendedModel
from audit.promises import Standing
from audit.registry import protect

STATES = [(one.value, one.value) for one in Standing]


@protect(system=True)
class Reading(AppendedModel):
    """What all controls came to in one hour. `controls` has an object for each, by name: state, the worst state since the reading before,
    figure, value, threshold, why; trouble where it could not be measured. Ids and counts alone. `gap_since` is the hour of the reading
    before when hours are missing between."""

    hour = models.DateTimeField(unique=True, help_text="When the hour began.")
    at = models.DateTimeField(help_text="When it was measured.")
    gap_since = models.DateTimeField(null=True, blank=True)
    controls: Any = CanonicalJSONField()
    software = models.CharField(max_length=40)

    class Meta:
        default_permissions = ("view",)
        ordering = ("-hour",)

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:00} UTC"


class ControlState(models.Model):
    """How a control stands now: bookkeeping, measured anew every minute. `trouble`: it could not be measured, and the rest is older."""

    control = models.CharField(max_length=60, primary_key=True)
    state = models.CharField(max_length=10, choices=STATES)
    figure = models.CharField(max_length=300)
    value = models.FloatField(null=True, blank=True)
    why = models.TextField(blank=True)
    todo = models.TextField(blank=True)
    since = models.DateTimeField(help_text="Since when it stands so.")
    measured_at = models.DateTimeField()
    trouble = models.TextField(blank=True)
    worst = models.CharField(max_length=10, choices=STATES, blank=True, help_text="The worst state since the newest reading.")

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.control} {self.state}"


class ControlDay(models.Model):
    """One day (UTC) of one control, summed up of its readings, so that a year is read in no time: bookkeeping, made anew from `Reading`.

    `state` is the worst of the day; `kept`, `at_risk` and `broken` are hours. What is missing to 24 was not measured."""

    id = models.BigAutoField(primary_key=True)
    control = models.CharField(max_length=60)
    day = models.DateField()
    state = models.CharField(max_length=10, choices=STATES)
    kept = models.PositiveSmallIntegerField(default=0)
    at_risk = models.PositiveSmallIntegerField(default=0)
    broken = models.PositiveSmallIntegerField(default=0)
    least = models.FloatField(null=True)
    most = models.FloatField(null=True)
    figure = models.CharField(max_length=300, blank=True, help_text="Of the hour in which it stood worst, the last of them.")

    class Meta:
        default_permissions = ()
        ordering = ("day", "control")
        constraints = [models.UniqueConstraint(fields=("control", "day"), name="l2l_control_day_once")]
        indexes = [models.Index(fields=("day",), name="l2l_control_day")]

    def __str__(self) -> str:
        return f"{self.control} {self.day} {self.state}"


class Alarm(models.Model):
    """One thing that people are told of while it lasts: once by mail and once by the webhook, again when it gets worse, daily while it is
    broken, and once that it is over. Written by `l2l.alarms`.

    `subject` is `control:<name>`, `finding:<kind>` or `measuring`. An empty `mailed_at`, `posted_at`, `end_mailed_at`, `end_posted_at` is
    owed, where that way is set; `trouble` is what stood in the way at the last try, of each way. Where there is no mail server, mailed
    means written to the worker's log."""

    subject = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=STATES)
    text = models.TextField(help_text="Ids and counts alone.")
    todo = models.TextField(blank=True)
    raised_at = models.DateTimeField()
    worse_at = models.DateTimeField(null=True, blank=True, help_text="When it went from at risk to broken.")
    ended_at = models.DateTimeField(null=True, blank=True)
    mailed_at = models.DateTimeField(null=True, blank=True)
    posted_at = models.DateTimeField(null=True, blank=True)
    end_mailed_at = models.DateTimeField(null=True, blank=True)
    end_posted_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    trouble = models.TextField(blank=True)

    class Meta:
        default_permissions = ("view",)
        ordering = ("-raised_at", "-pk")
        constraints = [models.UniqueConstraint(fields=("subject",), condition=models.Q(ended_at=None), name="l2l_alarm_open_once")]

    def __str__(self) -> str:
        return f"{self.subject} {self.state}"


class Telling(models.Model):
    """How one way of telling people goes (`mail`, `webhook`, `digest`, `anchor`): bookkeeping. `since` is when it was first used: what was
    over before is not told by it. Nobody tries before `next_at`, which is also the claim of whoever tries just now."""

    way = models.CharField(max_length=20, primary_key=True)
    since = models.DateTimeField()
    next_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True, blank=True, help_text="When it last worked.")
    attempts = models.PositiveIntegerField(default=0, help_text="In vain, since it last worked.")
    trouble = models.TextField(blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.way
