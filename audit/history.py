"""The history rows of tracked models: simple-history's models and pages, written only by `audit.capture`.

What simple-history does by itself loses or invents data in several ways (settings that switch it off, partial saves, bulk calls, a user's
deletion that rewrites old rows, 32-bit ids). So its signal handlers end in our one writer, and the rows are sealed.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import models, router
from simple_history.manager import HistoricalQuerySet
from simple_history.models import HistoricalRecords

from audit.errors import BypassRefused


def _refuse(*_: Any, **__: Any) -> Any:
    raise BypassRefused(
        "History rows are never changed or removed one by one: they are written with the change, and go with their customer."
    )


class SealedQuerySet(HistoricalQuerySet):
    """Reading only, and in the order in which the rows were written: two rows can carry one date, and clocks step back."""

    update = bulk_create = bulk_update = delete = _raw_delete = update_or_create = _refuse

    def latest_of_each(self) -> SealedQuerySet:
        later = self.filter(**{self._pk_attr: models.OuterRef(self._pk_attr)}, history_id__gt=models.OuterRef("history_id"))
        return self.filter(~models.Exists(later))

    def latest(self, *fields: Any) -> Any:
        return super().latest(*(fields or ("history_id",)))

    def earliest(self, *fields: Any) -> Any:
        return super().earliest(*(fields or ("history_id",)))


class TrackedHistory(models.Model):
    """What every history row carries besides the values: whose stream, which transaction, who (as text, for good) and from where."""

    history_stream = models.UUIDField(editable=False)
    history_transaction = models.UUIDField(editable=False)
    history_actor = models.CharField(max_length=200, editable=False)
    history_source = models.CharField(max_length=100, editable=False, blank=True)

    objects: Any = SealedQuerySet.as_manager()

    class Meta:
        abstract = True
        base_manager_name = "objects"  # Django's own reaches around `objects`

    def save(self, *args: Any, **kwargs: Any) -> None:
        _refuse()

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        _refuse()


def _refuse_proxy(sender: type[models.Model], **_: Any) -> None:
    raise BypassRefused(f"{sender.__name__} is a proxy: write through {sender._meta.concrete_model.__name__}, which is protected.")  # type: ignore[union-attr]


def _refuse_writes(model: type[models.Model], refuse: Any) -> None:
    for signal in (models.signals.pre_save, models.signals.pre_delete):
        signal.connect(refuse, sender=model, weak=False)


def _user_of(row: Any) -> Any:
    users = get_user_model()._default_manager
    return users.filter(pk=row.history_user_id).first() if row.history_user_id else None


def _set_user(row: Any, user: Any) -> None:
    row.history_user_id = str(user.pk) if user is not None else None


def _next_record(row: Any) -> Any:
    return _of_same_row(row).filter(history_id__gt=row.history_id).order_by("history_id").first()


def _prev_record(row: Any) -> Any:
    return _of_same_row(row).filter(history_id__lt=row.history_id).order_by("-history_id").first()


def _of_same_row(row: Any) -> Any:
    pk = row.instance_type._meta.pk.attname
    return type(row).objects.using(row._state.db).filter(**{pk: getattr(row, pk)})


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

    def finalize(self, sender: type[models.Model], **kwargs: Any) -> None:
        if not issubclass(sender, self.cls) or sender is self.cls:
            return
        if sender._meta.proxy:
            _refuse_writes(sender, _refuse_proxy)
            return
        if isinstance(sender._meta.pk, models.CompositePrimaryKey):
            raise TypeError(f"{sender.__name__} has a composite primary key: give it one column as its key, and a unique constraint.")
        super().finalize(sender, **kwargs)
        models.signals.pre_save.connect(self.pre_save, sender=sender, weak=False)
        _refuse_writes(vars(sender)[self.manager_name].model, _refuse)

    def copy_fields(self, model: type[models.Model]) -> dict[str, models.Field]:
        fields = super().copy_fields(model)
        for field in fields.values():
            field.db_index = False  # two indexes of our own serve every question (below); each more costs every write
        return fields

    def get_meta_options(self, model: type[models.Model]) -> dict[str, Any]:
        pk = model._meta.pk.name
        return {
            **super().get_meta_options(model),
            "app_label": model._meta.app_label,
            "ordering": ("-history_id",),
            "indexes": (models.Index(fields=("history_stream", "history_id")), models.Index(fields=(pk, "history_id"))),
        }

    def get_extra_fields(self, model: type[models.Model], fields: Any) -> dict[str, Any]:
        return {**super().get_extra_fields(model, fields), "next_record": property(_next_record), "prev_record": property(_prev_record)}

    def pre_save(self, instance: Any, using: str, raw: bool = False, update_fields: Any = None, **kwargs: Any) -> None:
        """Before any write, also one that went around `TrackedModel.save`."""
        from audit import capture

        if raw:
            raise BypassRefused("Fixtures (loaddata) bypass history: import the rows with 'import_content' or 'objects.tracked_create'.")
        if update_fields is not None:
            raise BypassRefused("A partial save (update_fields) is never possible here: load the whole row and call save().")
        capture.enter(type(instance), [instance], using=using)

    def post_save(self, instance: Any, created: bool, using: str | None = None, **kwargs: Any) -> None:
        from audit import capture, levels

        level = levels.current(using or router.db_for_write(type(instance)))
        capture.record(type(instance), [instance], "+" if created else "~", using=using, entered=level)
        instance._remember_written(level, inserted=created)

    def pre_delete(self, instance: models.Model, using: str | None = None, **kwargs: Any) -> None:
        """While the row is still there: what goes into history is what is stored, and nothing when somebody else deleted it first."""
        from audit import capture

        capture.record(type(instance), [instance], "-", using=using)

    def post_delete(self, instance: models.Model, using: str | None = None, **kwargs: Any) -> None:
        """All was written before."""


def _refuse_untracked_save(self: models.Model, *args: Any, **kwargs: Any) -> None:
    raise BypassRefused("A save without a history row is never possible here: use save(), or objects.tracked_update(...) for many.")
