from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


def ensure_system_stream(sender: Any, using: str, **kwargs: Any) -> None:
    """The system stream exists as soon as its table does."""
    from audit.models import Stream
    from audit.registry import SYSTEM_STREAM

    Stream.objects.using(using).get_or_create(id=SYSTEM_STREAM, defaults={"name": "system"})


def guard_evidence(sender: Any, using: str, **kwargs: Any) -> None:
    """PostgreSQL itself refuses to change the evidence trail."""
    from audit import append_only

    append_only.guard(using)


class AuditConfig(AppConfig):
    name = "audit"
    label = "l2l_audit"
    verbose_name = "Audit trail"

    def ready(self) -> None:
        from audit import access, checks, people  # noqa: F401  (registers them)
        from audit.controls import own as own_controls
        from audit.populations import own as listings

        listings.register()
        post_migrate.connect(ensure_system_stream, sender=self)
        post_migrate.connect(guard_evidence, sender=self)
        own_controls.register()
