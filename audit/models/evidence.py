"""The evidence trail's rows. They are protected rows of the system stream too: history, journal, shipper and backup have each of them."""

from __future__ import annotations

from datetime import UTC
from typing import Any, NoReturn

from django.db import models

from audit import canonical, chain
from audit.errors import BypassRefused
from audit.fields import CanonicalJSONField
from audit.registry import protect
from audit.tracked import TrackedModel, TrackedQuerySet


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise BypassRefused("The evidence trail is only added to: nothing in it is changed or removed.")


class AppendedQuerySet(TrackedQuerySet):
    """Reading only; rows come one by one from `audit.events.record` and `audit.evidence.sign_head`."""

    delete = tracked_create = tracked_update = tracked_change = tracked_delete = update_or_create = _refuse


class AppendedModel(TrackedModel):
    """A row that is inserted once and stays. PostgreSQL refuses the rest by a trigger too (`audit.append_only`)."""

    objects = AppendedQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(self, **kwargs: Any) -> None:
        if not self._state.adding:
            _refuse()
        super().save(**kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse()


@protect(system=True, reference="number")
class Event(AppendedModel):
    """One thing that somebody did. `leaf` is the salted digest of its content, `digest` the link to the event before (`audit.chain`)."""

    number = models.BigIntegerField(primary_key=True)
    event = models.CharField(max_length=40)
    at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    actor_id = models.CharField(max_length=64, blank=True)
    source = models.CharField(max_length=100, blank=True)
    subject = models.CharField(max_length=200, blank=True, help_text="app.model:key of what it was done to.")
    customer = models.UUIDField(null=True, blank=True, help_text="Whose data it was about, if one customer's.")
    facts: Any = CanonicalJSONField(default=dict)
    salt = models.CharField(max_length=32)
    leaf = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)

    class Meta:
        ordering = ("-number",)
        indexes = [
            models.Index(fields=("customer", "number"), name="l2l_event_customer"),
            models.Index(fields=("event", "number"), name="l2l_event_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.event}"

    def leaf_now(self) -> str:
        """The leaf digest of what the row holds now; equal to `leaf` unless somebody edited it."""
        return chain.leaf(bytes.fromhex(self.salt), canonical.dump_bytes(self.content()))

    def content(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "event": self.event,
            "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "actor": self.actor,
            "actor_id": self.actor_id,
            "source": self.source,
            "subject": self.subject,
            "customer": str(self.customer) if self.customer else None,
            "facts": self.facts,
        }


@protect(system=True)
class SignedHead(AppendedModel):
    """The chain up to `number` had this digest, says the signing key. `document` is what was signed, with its signature."""

    number = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    at = models.DateTimeField()
    document: Any = CanonicalJSONField()

    class Meta:
        verbose_name = "signed head"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.number} {self.digest[:16]}"
