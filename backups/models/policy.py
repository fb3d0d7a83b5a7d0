"""When nights begin, how often a failure is tried again, how long sets are kept: in versions, each of which stays as it was made."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models

import audit
from audit.errors import BypassRefused
from backups.policy import Policy

MINUTES = RegexValidator(r"\A[1-9]\d{0,4}( [1-9]\d{0,4})*\Z", "Whole minutes, separated by single spaces, e.g. 1 5 15 60.")


@audit.protect(system=True, reference="number")
class BackupPolicy(audit.TrackedModel):
    """One version; `backups.policies.change_policy` makes the next. It is in the system stream: history, journal and backups have it."""

    number = models.PositiveIntegerField(unique=True)
    in_force_from = models.DateTimeField()
    night_starts = models.TimeField("night's start", help_text="When the nightly backups begin, by the clock of the zone.")
    zone = models.CharField("time zone", max_length=64, help_text="Nights run from noon to noon in this zone, e.g. Europe/Berlin.")
    max_attempts = models.PositiveSmallIntegerField(
        "attempts", validators=[MinValueValidator(1)], help_text="Then a run has failed, and the night is red."
    )
    retry_minutes = models.CharField(
        "minutes between attempts",
        max_length=200,
        validators=[MINUTES],
        help_text="Minutes until a failed attempt is tried again, for the first, second ...; the last one repeats.",
    )
    nightly_days = models.PositiveSmallIntegerField(
        "nightly sets, days", validators=[MinValueValidator(1)], help_text="Days that every night's set is kept."
    )
    weekly_weeks = models.PositiveSmallIntegerField("weekly sets, weeks", help_text="Weeks after those that one set of each week is kept.")
    longest_years = models.PositiveSmallIntegerField(
        "monthly sets, years", validators=[MinValueValidator(1)], help_text="Years that one set of each month is kept at most."
    )
    test_days = models.PositiveSmallIntegerField(
        "tested within, days",
        default=90,
        validators=[MinValueValidator(1)],
        help_text="Within so many days a set of each customer, tier and location is restored to prove that it can be.",
    )
    tests_a_night = models.PositiveSmallIntegerField(
        "tests a night", default=1, help_text="At least so many, even when fewer would do to keep to those days."
    )
    made_by = models.CharField(max_length=150)
    approved_by = models.CharField(max_length=150, blank=True)
    reason = models.TextField()

    class Meta:
        verbose_name = "backup policy"
        verbose_name_plural = "backup policies"
        ordering = ("-number",)
        constraints = [
            models.CheckConstraint(
                condition=models.Q(approved_by="") | ~models.Q(approved_by=models.F("made_by")), name="l2l_policy_two_people"
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"

    def clean(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValidationError({"zone": f"There is no time zone {self.zone!r}; write it like Europe/Berlin."}) from None

    def save(self, **kwargs: Any) -> None:
        if not self._state.adding:
            raise BypassRefused("A version of the policy stays as it was made. Make the next one with change_policy().")
        super().save(**kwargs)

    @property
    def pure(self) -> Policy:
        """This version as the deciding functions take it."""
        return Policy(
            number=self.number,
            in_force_from=self.in_force_from,
            night_starts=self.night_starts,
            zone=ZoneInfo(self.zone),
            max_attempts=self.max_attempts,
            retry_minutes=tuple(int(word) for word in self.retry_minutes.split()),
            nightly_days=self.nightly_days,
            weekly_weeks=self.weekly_weeks,
            longest_years=self.longest_years,
            test_days=self.test_days,
            tests_a_night=self.tests_a_night,
        )
