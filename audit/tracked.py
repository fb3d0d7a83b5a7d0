"""`TrackedModel`: every change leaves a history row and a journal row in the same transaction, or does not happen (P8).

What would bypass that is refused with the name of the verb to use: `update` → `tracked_change`, `bulk_create` → `tracked_create`,
`bulk_update` → `tracked_update`, partial saves and `F()` → a whole `save()`. A save that changes nothing writes nothing.

So each instance remembers what is stored (`_loaded`), and in which level of which transaction it was written: what a rollback undid is not
stored, and is written again by the next save.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NoReturn, Self

from django.db import connections, models, router, transaction
from django.db.models.deletion import Collector

from audit import canonical, capture, history_sql, registry, rows
from audit.errors import BypassRefused, MovedCustomer
from audit.history import TrackedRecords
from audit.levels import Level
from audit.values import check_values


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
        created, alias = self._own(objects), self._writes()
        for instance in created:
            _prepare(instance, add=True, alias=alias)
        with transaction.atomic(using=alias):
            level = capture.enter(self.model, created, using=alias)
            for batch in history_sql.batches(created):
                self._plain().bulk_create(batch)
                self._record(batch, "+", level)
        return created

    def tracked_update(self, objects: Iterable[Any]) -> list[Any]:
        """Writes every changed column of many loaded rows, with their history; returns those that had changed. All or nothing.

        Raises `DoesNotExist` when a row is gone from the database, `BypassRefused` when one stands twice in `objects`.
        """
        alias = self._writes()
        given = self._own(objects)
        _refuse_twice(self.model, given)
        changed = [instance for instance in given if _prepare(instance, add=False, alias=alias)]
        with transaction.atomic(using=alias):
            level = capture.enter(self.model, changed, using=alias)
            for batch in history_sql.batches(changed):
                self._write_rows(batch)
                self._record(batch, "~", level)
        return changed

    def tracked_change(self, **values: Any) -> int:
        """Sets the same values on every row of this queryset; returns how many rows that changed. What `update` does elsewhere."""
        with transaction.atomic(using=self._writes()):
            found = self._taken()
            for instance in found:
                for name, value in values.items():
                    setattr(instance, name, value)
            return len(self.tracked_update(found))

    def tracked_delete(self) -> int:
        """Deletes every row of this queryset with its history; returns how many. Rows that others point at refuse (`ProtectedError`)."""
        alias = self._writes()
        with transaction.atomic(using=alias):
            found = self._taken()
            if _has_dependants(self.model):
                collector = Collector(using=alias, origin=self)  # type: ignore[arg-type]
                collector.collect(found)
                collector.delete()
                return len(found)
            capture.record(self.model, found, "-", using=alias)
            for batch in history_sql.batches(found):
                self._plain().filter(pk__in=[instance.pk for instance in batch])._raw_delete(alias)
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
        return self._db or router.db_for_write(self.model)  # type: ignore[attr-defined]

    def _own(self, objects: Iterable[Any]) -> list[Any]:
        given = list(objects)
        for instance in given:
            if type(instance) is not self.model:
                raise TypeError(f"{self.model.__name__}: these verbs take its own objects, not a {type(instance).__name__}")
            _undo_lost(instance)  # type: ignore[arg-type]
        return given

    def _plain(self) -> Any:
        return models.QuerySet(self.model, using=self._writes())

    def _taken(self) -> list[Any]:
        """The rows of this queryset, whole, taken in one order, so that two verbs do not wait for each other."""
        found = self._plain().filter(pk__in=self.using(self._writes()).values("pk"))
        return list(found.order_by("pk").select_for_update())

    def _record(self, batch: Sequence[Any], history_type: str, level: Level) -> None:
        capture.record(self.model, batch, history_type, using=self._writes(), entered=level)
        for instance in batch:
            instance._remember_written(level, inserted=history_type == "+")

    def _write_rows(self, batch: Sequence[Any]) -> None:
        connection = connections[self._writes()]
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key]
        quote: Any = connection.ops.quote_name
        pk: Any = self.model._meta.pk
        columns = ", ".join(f"{quote(field.column)} = %s" for field in fields)
        statement = f"UPDATE {quote(self.model._meta.db_table)} SET {columns} WHERE {quote(pk.column)} = %s"  # noqa: S608  (names from the model)
        values = [[field.get_db_prep_save(getattr(instance, field.attname), connection) for field in (*fields, pk)] for instance in batch]
        with connection.cursor() as cursor:
            cursor.executemany(statement, values)
            if cursor.rowcount != len(batch):
                raise self.model.DoesNotExist(  # type: ignore[attr-defined]
                    f"{len(batch) - cursor.rowcount} of {len(batch)} rows are gone from the database; nothing was changed. Load them again."
                )


TrackedManager = models.Manager.from_queryset(TrackedQuerySet)


class TrackedModel(models.Model):
    """Base of every protected model; say whose its rows are with `@audit.protect`."""

    history = TrackedRecords()
    objects = TrackedManager()

    # What the database holds, by attribute name; None for an instance that was neither loaded nor saved.
    _loaded: dict[str, Any] | None = None
    _written: Level | None = None
    _inserted: Level | None = None

    class Meta:
        abstract = True
        base_manager_name = "objects"  # related managers write through it; Django's own would let them by without history

    def save(self, *, force_insert: Any = False, force_update: bool = False, using: str | None = None, update_fields: Any = None) -> None:
        """Writes the whole row, its history row and its journal row, or nothing; nothing at all when no value changed.

        A new instance is inserted, never laid over a row that has its key. Raises what `audit.errors` lists, and `DatabaseError` when
        the row to change is gone.
        """
        if update_fields is not None:
            raise BypassRefused(_partial(self))
        alias = using or router.db_for_write(type(self), instance=self)
        _undo_lost(self)
        adding = bool(force_insert) or (self._state.adding and not force_update)
        if _prepare(self, add=adding, alias=alias):
            with transaction.atomic(using=alias, savepoint=False):
                super().save(force_insert=force_insert or adding, force_update=force_update or not adding, using=alias)

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        _undo_lost(self)
        return super().delete(using, keep_parents)

    @classmethod
    def from_db(cls, db: str | None, field_names: Any, values: Any) -> Self:  # type: ignore[override]
        instance = super().from_db(db, field_names, values)
        instance._remember()
        return instance

    def refresh_from_db(self, using: str | None = None, fields: Iterable[str] | None = None, from_queryset: Any = None) -> None:
        fields = None if fields is None else list(fields)
        super().refresh_from_db(using, fields, from_queryset)
        if fields is None:
            self._written = self._inserted = None
            self._remember()
        elif self._loaded is not None:
            names = {field.attname for field in self._meta.concrete_fields if not {field.name, field.attname}.isdisjoint(fields)}
            self._loaded |= {name: _frozen(self, name, kind) for name, kind in _attributes(type(self)) if name in names}

    def _remember_written(self, level: Level, *, inserted: bool) -> None:
        """Right after the write, in its transaction."""
        self._written = level
        if inserted:
            self._inserted = self._written
        self._remember()

    def _remember(self) -> None:
        stored = self.__dict__  # a deferred column is not in it
        self._loaded = {name: _frozen(self, name, kind) for name, kind in _attributes(type(self)) if name in stored}

    def _changed(self) -> bool:
        assert self._loaded is not None
        return any(not _same(self._loaded[name], _frozen(self, name, kind), kind) for name, kind in _attributes(type(self)))


@cache
def _attributes(model: type[models.Model]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (field.attname, "file" if isinstance(field, models.FileField) else rows.kind_of(field)) for field in model._meta.concrete_fields
    )


def _frozen(instance: models.Model, name: str, kind: str) -> Any:
    """A value that later changes inside the instance's own dicts and files cannot reach."""
    value = vars(instance).get(name)
    if kind == "file" and isinstance(value, str):
        return value, True
    value = getattr(instance, name)
    if kind == "json":
        return json.dumps(value, sort_keys=True, default=str)
    if kind == "file":
        return (value.name or "", value._committed) if value is not None else ("", True)
    return bytes(value) if kind == "binary" and value is not None else value


def _same(stored: Any, value: Any, kind: str) -> bool:
    if stored == value or kind != "json":
        return bool(stored == value)
    try:
        return canonical.dumps(json.loads(stored)) == canonical.dumps(json.loads(value))  # 1 and 1.0 are one number
    except canonical.NotCanonical:
        return False


def _undo_lost(instance: TrackedModel) -> None:
    """What a rollback undid is not stored: a row whose insert was lost is new again, a change that was lost is still to be written."""
    if instance._inserted is not None and not instance._inserted.stands():
        instance._state.adding = True
        instance._loaded = instance._inserted = instance._written = None
        if isinstance(instance._meta.pk, models.AutoField | models.BigAutoField | models.SmallAutoField):
            instance.pk = None  # SQLite gives the key of a lost row to the next one
    elif instance._written is not None and not instance._written.stands():
        instance._loaded = instance._written = None


def _prepare(instance: Any, *, add: bool, alias: str) -> bool:
    """Checks the values, stores new files, and tells whether there is anything to write."""
    if instance.get_deferred_fields():
        raise BypassRefused(_partial(instance))
    check_values(instance)
    if not add:
        if instance._loaded is None:
            instance._loaded = _stored(instance, alias)._loaded
        _refuse_move(instance)
        if not instance._changed():
            return False
    if _set_themselves(instance, add):
        check_values(instance)
    _store_files(instance, add, alias)
    return True


def _partial(instance: models.Model) -> str:
    return (
        f"{instance._meta.object_name}: a partial save would write values into history that were never stored. "
        "Load the whole row and call save(), or use objects.tracked_update(...)."
    )


def _stored(instance: Any, alias: str) -> Any:
    stored = type(instance)._base_manager.using(alias).filter(pk=instance.pk).first()
    if stored is None:
        raise type(instance).DoesNotExist(f"{instance._meta.object_name} {instance.pk} is gone from the database; nothing was changed.")
    return stored


def _set_themselves(instance: Any, add: bool) -> bool:
    """Lets the columns that fill themselves in (auto_now) do so; tells whether there are any."""
    fields = _self_setting(type(instance))  # type: ignore[arg-type]
    for field in fields:
        field.pre_save(instance, add)
    return bool(fields)


@cache
def _self_setting(model: type[Any]) -> tuple[models.Field, ...]:
    def sets(field: models.Field) -> bool:
        return type(field).pre_save is not models.Field.pre_save and not isinstance(field, models.FileField) and not field.primary_key

    return tuple(field for field in model._meta.concrete_fields if sets(field))


def _store_files(instance: Any, add: bool, alias: str) -> None:
    protected = registry.of(type(instance))
    loaded = {} if add else instance._loaded
    for field in protected.files:
        stored_name, _ = loaded.get(field.attname, ("", True))
        if (stored_name, True) != _frozen(instance, field.attname, "file"):
            (stream,) = history_sql.streams(protected, [instance], alias)
            capture.refuse_frozen(stream, using=alias)  # no file of a customer who is gone
            field.store(instance, stream, stored_name)


def _refuse_move(instance: Any) -> None:
    key = instance._loaded[instance._meta.pk.attname]
    if key != instance.pk:
        raise BypassRefused(
            f"{instance._meta.object_name} {key} was given another primary key, and would change another row. "
            "To copy it, create a new object."
        )
    hops = registry.of(type(instance)).hops
    if not hops:
        return
    field = instance._meta.get_field(hops[0])
    if instance._loaded[field.attname] != getattr(instance, field.attname):
        raise MovedCustomer(
            f"{instance._meta.object_name} {instance.pk} belongs to {field.name} {instance._loaded[field.attname]} for good. "
            "To move it, delete it there and create it here: its history stays where it was made."
        )


def _refuse_twice(model: type[models.Model], instances: Sequence[Any]) -> None:
    if len({instance.pk for instance in instances}) != len(instances):
        raise BypassRefused(f"{model.__name__}: the same row stands twice in one tracked_update; history could not tell which came last.")


def _has_dependants(model: type[models.Model]) -> bool:
    """Whether deleting a row may touch others. Hidden relations (`related_name="+"`) count too."""
    fields = model._meta.get_fields(include_hidden=True)
    return any(_follows(field) for field in fields if (field.auto_created and not field.concrete) or hasattr(field, "bulk_related_objects"))


def _follows(relation: Any) -> bool:
    return getattr(relation, "on_delete", models.CASCADE) is not models.DO_NOTHING
