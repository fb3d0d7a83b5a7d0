"""Who signs in here, as the backups have it: Django's own rows of users have no history, and hold what no backup may."""

from __future__ import annotations

from django.db import models

from audit.registry import protect
from audit.tracked import TrackedModel


@protect(system=True, reference="username")
class Person(TrackedModel):
    """What is known of one user, under the user's own key; written by `audit.people.keep` with every change of the user's row.

    Never a password, not even its hash: who comes back from a backup has none until somebody sets one.
    """

    id = models.BigIntegerField(primary_key=True, help_text="The user's.")
    username = models.CharField(max_length=150, unique=True)
    first_name = models.CharField(max_length=150, blank=True)
    last_name = models.CharField(max_length=150, blank=True)
    email = models.CharField(max_length=254, blank=True)
    is_active = models.BooleanField(default=True)
    is_superuser = models.BooleanField(default=False)
    date_joined = models.DateTimeField()

    class Meta:
        verbose_name_plural = "people"
        ordering = ("username",)

    def __str__(self) -> str:
        return self.username
