"""The history rows of tracked models: simple-history's models and pages, written only by `audit.capture`.

What simple-history does by itself loses or invents data in several ways (settings that switch it off, partial saves, bulk calls, a user's
deletion that rewrites old rows, 32-bit ids). So its signal handlers end in our one writer, and the rows are sealed.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import models
from simple_history.manager import HistoricalQuerySet
from simple_history.models import HistoricalRecords

from audit.errors import BypassRefused


def _refuse(*_: Any, **__: Any) -> Any:
    raise BypassRefused("History rows are never changed or removed one by one: they are written with the change, and go with their customer.")


class SealedQuerySet(HistoricalQuerySet):
    """Reading only."""

    update = bulk_create = bulk_update = delete = _raw_delete = update_or_create = _refuse


class TrackedHistory(models.Model):
    """What every history row carries besides the values: whose stream, which transaction, who (as text, for good) and from where."""

    history_stream = models.UUIDField(editable=False)
    history_transaction = models.UUIDField(editable=False)
    history_actor = models.CharField(max_length=200, editable=False)
    history_source = models.CharField(max_length=100, editable=False, blank=True)

    objects = SealedQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        _refuse()

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        _refuse()


def _user_of(row: Any) -> Any:
    users = get_user_model()._default_manager
    return users.filter(pk=row.history_user_id).first() if row.history_user_id else None


def _set_user(row: Any, user: Any) -> None:
    row.history_user_id = str(user.pk) if user is not None else None


class TrackedRecords(HistoricalRecords):
    """simple-history's descriptor with our columns, indexes and writer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{
                "inherit": True,
                "bases": [TrackedHistory],
                "history_id_field": models.BigAutoField(),
                # Plain text: a foreign key would let a user's deletion rewrite history rows.
                "history_user_id_field": models.CharField(max_length=64, null=True, editable=False),
                "history_user_getter": _user_of,
                "history_user_setter": _set_user,
                "historical_queryset": SealedQuerySet,
                **options,
            }
        )

    def add_extra_methods(self, cls: type[models.Model]) -> None:
        cls.save_without_historical_record = _refuse_untracked_save  # type: ignore[attr-defined]

    def copy_fields(self, model: type[models.Model]) -> dict[str, models.Field]:
        fields = super().copy_fields(model)
        for field in fields.values():
            field.db_index = False  # two indexes of our own serve every question (below); each more costs every write
        return fields

    def get_meta_options(self, model: type[models.Model]) -> dict[str, Any]:
        pk = model._meta.pk.name
        return {
            **super().get_meta_options(model),
            "ordering": ("-history_id",),
            "indexes": (models.Index(fields=("history_stream", "history_id")), models.Index(fields=(pk, "history_id"))),
        }

    def post_save(self, instance: models.Model, created: bool, using: str | None = None, **kwargs: Any) -> None:
        if kwargs.get("raw"):
            raise BypassRefused("Fixtures (loaddata) bypass history: import the rows with 'import_content' or 'objects.tracked_create'.")
        self.create_historical_record(instance, "+" if created else "~", using=using)

    def pre_delete(self, instance: models.Model, using: str | None = None, **kwargs: Any) -> None:
        from audit import capture

        capture.enter([instance], using=using)
        deferred = instance.get_deferred_fields()
        if deferred:
            instance.refresh_from_db(fields=list(deferred))

    def post_delete(self, instance: models.Model, using: str | None = None, **kwargs: Any) -> None:
        self.create_historical_record(instance, "-", using=using)

    def create_historical_record(self, instance: models.Model, history_type: str, using: str | None = None) -> None:
        from audit import capture

        capture.record(type(instance), [instance], history_type, using=using)


def _refuse_untracked_save(self: models.Model, *args: Any, **kwargs: Any) -> None:
    raise BypassRefused("A save without a history row is never possible here: use save(), or objects.tracked_update(...) for many.")
