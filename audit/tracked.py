"""`TrackedModel`: every change leaves a history row and a journal row in the same transaction, or does not happen (P8).

What would bypass that is refused with the name of the verb to use: `update` → `tracked_change`, `bulk_create` → `tracked_create`, `bulk_update` →
`tracked_update`, partial saves and `F()` → a whole `save()`. A save that changes nothing writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NoReturn, Self

from django.db import connections, models, router, transaction

from audit import capture, registry, rows
from audit.errors import BypassRefused, MovedCustomer
from audit.history import TrackedRecords
from audit.values import check_values

BATCH_ROWS = 2000


def _refused(call: str, instead: str) -> Any:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise BypassRefused(f"{self.model.__name__}: {call} would leave no history. Use {instead}.")

    return refuse


class TrackedQuerySet(models.QuerySet):
    """Reads as any other; writes only through the tracked verbs. Each verb is one transaction."""

    update = _refused("update()", "tracked_change(field=value), or tracked_update(objects)")
    bulk_create = _refused("bulk_create()", "tracked_create(objects)")
    bulk_update = _refused("bulk_update()", "tracked_update(objects)")
    _raw_delete = _refused("a raw delete", "delete() or tracked_delete()")

    def tracked_create(self, objects: Iterable[Any]) -> list[Any]:
        """Inserts many new rows with their history; returns them with their keys. All or nothing."""
        created = list(objects)
        for instance in created:
            _prepare(instance, add=True)
        with transaction.atomic(using=self._writes()):
            capture.enter(created, using=self._writes())
            for batch in _batches(created):
                models.QuerySet.bulk_create(self._plain(), batch)
                capture.record(self.model, batch, "+", using=self._writes())
        for instance in created:
            instance._remember()
        return created

    def tracked_update(self, objects: Iterable[Any]) -> list[Any]:
        """Writes every changed column of many loaded rows, with their history; returns those that had changed. All or nothing.

        Raises `DoesNotExist` when a row is gone from the database, `BypassRefused` when one stands twice in `objects`.
        """
        changed = [instance for instance in objects if _prepare(instance, add=False)]
        _refuse_twice(self.model, changed)
        with transaction.atomic(using=self._writes()):
            capture.enter(changed, using=self._writes())
            for batch in _batches(changed):
                self._write_rows(batch)
                capture.record(self.model, batch, "~", using=self._writes())
        for instance in changed:
            instance._remember()
        return changed

    def tracked_change(self, **values: Any) -> int:
        """Sets the same values on every row of this queryset; returns how many rows that changed. What `update` does elsewhere."""
        with transaction.atomic(using=self._writes()):
            found = list(self._plain(self).select_for_update())
            for instance in found:
                for name, value in values.items():
                    setattr(instance, name, value)
            return len(self.tracked_update(found))

    def tracked_delete(self) -> int:
        """Deletes every row of this queryset with its history; returns how many. Rows that others point at refuse (`ProtectedError`)."""
        with transaction.atomic(using=self._writes()):
            found = list(self._plain(self).select_for_update())
            if _has_dependants(self.model):
                for instance in found:
                    instance.delete(using=self._writes())
                return len(found)
            capture.enter(found, using=self._writes())
            for batch in _batches(found):
                models.QuerySet(self.model, using=self._writes()).filter(pk__in=[one.pk for one in batch])._raw_delete(self._writes())
                capture.record(self.model, batch, "-", using=self._writes())
        return len(found)

    def update_or_create(self, defaults: Any = None, create_defaults: Any = None, **kwargs: Any) -> tuple[Any, bool]:
        """As Django's, but the found row is saved whole (Django saves only the named columns)."""
        with transaction.atomic(using=self._writes()):
            first = defaults if create_defaults is None else create_defaults
            instance, created = self.select_for_update().get_or_create(first, **kwargs)
            if not created:
                for name, value in (defaults or {}).items():
                    setattr(instance, name, value() if callable(value) else value)
                instance.save(using=self._writes())
        return instance, created

    def _writes(self) -> str:
        return self._db or router.db_for_write(self.model)

    def _plain(self, like: Any = None) -> Any:
        return like._chain().using(self._writes()) if like is not None else models.QuerySet(self.model, using=self._writes())

    def _write_rows(self, batch: Sequence[Any]) -> None:
        connection = connections[self._writes()]
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key]
        quote, pk = connection.ops.quote_name, self.model._meta.pk
        columns = ", ".join(f"{quote(field.column)} = %s" for field in fields)
        statement = f"UPDATE {quote(self.model._meta.db_table)} SET {columns} WHERE {quote(pk.column)} = %s"  # noqa: S608  (names from the model)
        values = [
            [field.get_db_prep_save(getattr(instance, field.attname), connection) for field in (*fields, pk)] for instance in batch
        ]
        with connection.cursor() as cursor:
            cursor.executemany(statement, values)
            if cursor.rowcount != len(batch):
                raise self.model.DoesNotExist(
                    f"{len(batch) - cursor.rowcount} of {len(batch)} rows are gone from the database; nothing was changed. Load them again."
                )


TrackedManager = models.Manager.from_queryset(TrackedQuerySet)


class TrackedModel(models.Model):
    """Base of every protected model; say whose its rows are with `@audit.protect(...)`."""

    history = TrackedRecords()
    objects = TrackedManager()

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any) -> Self:
        instance = super().from_db(db, field_names, values)
        instance._remember()
        return instance

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)
        self._remember()

    def save(self, *, force_insert: Any = False, force_update: bool = False, using: str | None = None, update_fields: Any = None) -> None:
        """Writes the whole row, its history row and its journal row, or nothing; nothing at all when no value changed.

        Raises what `audit.errors` lists, and `DatabaseError` when the row to change is gone.
        """
        if update_fields is not None or self.get_deferred_fields():
            raise BypassRefused(
                f"{self._meta.object_name}: a partial save would write values into history that were never stored. "
                "Load the whole row and call save(), or use objects.tracked_update(...)."
            )
        adding = self._state.adding or bool(force_insert)
        if not _prepare(self, add=adding):
            return
        alias = using or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=alias, savepoint=False):
            capture.enter([self], using=alias)
            super().save(force_insert=adding, force_update=not adding, using=alias)
        self._remember()

    def _remember(self) -> None:
        deferred = self.get_deferred_fields()
        self._loaded = {name: _frozen(self, name, kind) for name, kind in _attributes(type(self)) if name not in deferred}

    def _changed(self) -> bool:
        return any(self._loaded.get(name, self) != _frozen(self, name, kind) for name, kind in _attributes(type(self)))


def _attributes(model: type[models.Model]) -> list[tuple[str, str]]:
    return [(column.attname, column.kind) for column in rows.columns(model)]


def _frozen(instance: models.Model, name: str, kind: str) -> Any:
    """A value that later changes inside the instance's own dicts and files cannot reach."""
    value = getattr(instance, name)
    if kind == "json":
        return json.dumps(value, sort_keys=True, default=str)
    return (value.name or "", value._committed) if hasattr(value, "_committed") else value


def _prepare(instance: Any, *, add: bool) -> bool:
    """Checks the values, stores new files, and tells whether there is anything to write."""
    protected = registry.of(type(instance))
    for field in instance._meta.concrete_fields:
        if not isinstance(field, models.FileField) and not (field.primary_key and add):
            field.pre_save(instance, add)  # sets what sets itself (auto_now), so that history sees it
    check_values(instance)
    if not add:
        if not hasattr(instance, "_loaded"):
            instance._loaded = type(instance)._base_manager.get(pk=instance.pk)._loaded
        _refuse_move(protected, instance)
        if not instance._changed():
            return False
    for field in protected.files:
        field.store(instance, protected.stream_of(instance))
    return True


def _refuse_move(protected: registry.Protected, instance: Any) -> None:
    if not protected.hops:
        return
    field = instance._meta.get_field(protected.hops[0])
    if instance._loaded.get(field.attname) != getattr(instance, field.attname):
        raise MovedCustomer(
            f"{instance._meta.object_name} {instance.pk} belongs to {field.name} {instance._loaded.get(field.attname)} for good. "
            "To move it, delete it there and create it here: its history stays where it was made."
        )


def _refuse_twice(model: type[models.Model], instances: Sequence[Any]) -> None:
    if len({instance.pk for instance in instances}) != len(instances):
        raise BypassRefused(f"{model.__name__}: the same row stands twice in one tracked_update; history could not tell which came last.")


def _has_dependants(model: type[models.Model]) -> bool:
    return any(relation.on_delete is not models.DO_NOTHING for relation in model._meta.related_objects if hasattr(relation, "on_delete"))


def _batches(instances: Sequence[Any]) -> Iterable[list[Any]]:
    remaining = iter(instances)
    while batch := list(islice(remaining, BATCH_ROWS)):
        yield batch


