"""Test restores (P7): their results, which are evidence and stay as they were made; and the bookkeeping of what is owed and at work."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

import audit
from audit.errors import BypassRefused
from audit.models import Stream
from backups.models.catalogue import Location, StreamQuerySet


class TestTier(models.TextChoices):
    """What a set is kept for."""

    __test__ = False  # no test of ours: pytest would collect it by its name

    NIGHTLY = "nightly", "nightly"
    WEEKLY = "weekly", "weekly"
    MONTHLY = "monthly", "monthly"


@audit.protect(system=True)
class TestRestore(audit.TrackedModel):
    """One test: of one stream, one set and one second, from one location alone. `document` is all that was found, signed; it quotes no
    content. Written once, by `backups.test_restores.carrying_out`, when the test is over."""

    __test__ = False

    class Result(models.TextChoices):
        PASSED = "passed", "passed"
        FAILED = "failed", "failed"

    stream = models.UUIDField(help_text="The customer's id; zeros for the system stream.")
    called = models.CharField("customer", max_length=40)
    set_id = models.UUIDField("set")
    night = models.DateField(null=True, help_text="The set's; none where no envelope could be read.")
    tier = models.CharField(max_length=10, choices=TestTier)
    oldest = models.BooleanField(default=False, help_text="The oldest monthly set that there was.")
    location = models.CharField(max_length=40)
    second = models.DateTimeField("random second", null=True, help_text="None where no second was covered there.")
    seed = models.CharField(max_length=64, help_text="With what existed then it decides the set and the second.")
    result = models.CharField(max_length=10, choices=Result)
    text = models.TextField(help_text="What was found, a line each, in words.")
    asked_by = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    begun_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    list_ms = models.PositiveBigIntegerField("until the set was open, ms")
    restore_ms = models.PositiveBigIntegerField("until every row was in the database, ms")
    judge_ms = models.PositiveBigIntegerField("until all was judged, ms")
    read_bytes = models.PositiveBigIntegerField("read from the location")
    content_bytes = models.PositiveBigIntegerField("restored content")
    software = models.CharField(max_length=40)
    policy = models.PositiveIntegerField(null=True)
    document: Any = audit.CanonicalJSONField()

    class Meta:
        default_permissions = ("view", "add")
        permissions = [("sign_off_testrestore", "Can sign off a test restore")]
        ordering = ("-ended_at",)
        indexes = (
            models.Index(fields=("stream", "tier", "location", "-ended_at"), name="l2l_test_newest"),
            models.Index(fields=("ended_at",), name="l2l_test_ended"),
        )

    def __str__(self) -> str:
        return f"{self.called} {self.tier} {self.location}"

    def save(self, **kwargs: Any) -> None:
        if not self._state.adding:
            raise BypassRefused("The result of a test restore stays as it was made. Test again, or sign it off.")
        super().save(**kwargs)

    @property
    def passed(self) -> bool:
        return self.result == self.Result.PASSED

    @property
    def rto_ms(self) -> int:
        """From the question to a database that holds everything, before it was judged."""
        return self.list_ms + self.restore_ms


@audit.protect(system=True)
class TestSignOff(audit.TrackedModel):
    """A person has read the result of a test restore: once, and another one than who started it (`backups.test_restores.sign_off`)."""

    __test__ = False

    test = models.OneToOneField(TestRestore, on_delete=models.PROTECT, related_name="sign_off")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    comment = models.TextField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"sign-off of test {self.test_id}"

    def save(self, **kwargs: Any) -> None:
        if not self._state.adding:
            raise BypassRefused("A sign-off stays as it was made.")
        super().save(**kwargs)


class TestCell(models.Model):
    """What is owed: a test of one stream's sets of one tier at one location, by `due_at`. Bookkeeping, made anew from the catalogue and the
    results."""

    __test__ = False

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="+", db_index=False)
    tier = models.CharField(max_length=10, choices=TestTier)
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="+", db_index=False)
    there = models.BooleanField(default=True, help_text="There is a set of that tier at that location now.")
    since = models.DateTimeField(help_text="When the first one was there.")
    tested_at = models.DateTimeField(null=True, help_text="The last test that passed.")
    due_at = models.DateTimeField()
    tried_at = models.DateTimeField(null=True)
    trouble = models.CharField(max_length=500, blank=True, help_text="Why the last test did not pass, or was none.")
    failed = models.BooleanField(default=False, help_text="The last test failed.")
    last_test = models.ForeignKey(TestRestore, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False, db_constraint=False)

    objects = StreamQuerySet.as_manager()

    class Meta:
        verbose_name = "test that is owed"
        verbose_name_plural = "tests that are owed"
        constraints = (models.UniqueConstraint(fields=("stream", "tier", "location"), name="l2l_test_cell_once"),)
        indexes = (models.Index(fields=("due_at",), condition=models.Q(there=True), name="l2l_test_cell_due"),)

    def __str__(self) -> str:
        return f"{self.stream.name} {self.tier} {self.location.name}"


class TestOrder(models.Model):
    """One test that is to be made, by one process at a time; what came of it is a `TestRestore`. Bookkeeping."""

    __test__ = False

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        RUNNING = "running", "running"
        DONE = "done", "done"
        NOT_TESTED = "not tested", "not tested"

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="+", db_index=False)
    tier = models.CharField(max_length=10, choices=TestTier)
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="+", db_index=False)
    set_id = models.UUIDField(null=True, help_text="The set that somebody named; else the seed chooses.")
    at = models.DateTimeField("second", null=True, help_text="The second that somebody named; else the seed chooses.")
    seed = models.CharField(max_length=64)
    night = models.DateField(null=True, help_text="The night whose plan it belongs to; none when a person asked.")
    asked_by = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    asked_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    queued_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0, help_text="Counted when they begin.")
    holder = models.CharField("process", max_length=200, blank=True, help_text="host:pid:start of the process at work.")
    progress = models.CharField(max_length=200, blank=True)
    trouble = models.CharField(max_length=500, blank=True)
    result = models.ForeignKey(TestRestore, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False, db_constraint=False)

    objects = StreamQuerySet.as_manager()

    class Meta:
        ordering = ("-asked_at", "-pk")
        indexes = (models.Index(fields=("state",), condition=models.Q(state__in=("waiting", "running")), name="l2l_test_order_open"),)

    def __str__(self) -> str:
        return f"{self.stream.name} {self.tier} {self.location.name}"


class TestNight(models.Model):
    """What one night's plan chose from: with its seed the choice can be made again."""

    __test__ = False

    night = models.DateField(primary_key=True)
    planned_at = models.DateTimeField()
    seed = models.CharField(max_length=64)
    policy = models.PositiveIntegerField()
    owed = models.PositiveIntegerField(help_text="Cells that there were.")
    overdue = models.PositiveIntegerField()
    chosen = models.PositiveIntegerField()
    out_of_reach = models.CharField(max_length=500, blank=True, help_text="Locations that could not be used.")

    class Meta:
        ordering = ("-night",)

    def __str__(self) -> str:
        return f"test restores of {self.night}"
