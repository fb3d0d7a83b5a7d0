"""System checks on protected models: what cannot be captured whole is refused before anything runs. Ids `l2l_audit.E0xx`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, models, router

from audit import grants, registry, rows
from audit.fields import TrackedFileField
from audit.history import TrackedHistory
from audit.models import Grant, SchemaVersion
from audit.tracked import TrackedModel, TrackedQuerySet
from audit.two_person import TwoPersonRequest


@checks.register(checks.Tags.models)
def check_protected_models(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    found = list(unregistered(apps.get_models()))
    for protected in registry.protected():
        found += check_model(protected)
    if not getattr(settings, "SIMPLE_HISTORY_ENABLED", True):
        found.append(checks.Error("SIMPLE_HISTORY_ENABLED is off", hint="Remove it: history is a promise.", id="l2l_audit.E002"))
    return found


@checks.register(checks.Tags.models)
def check_requests(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """A request that takes two people has the constraint that says so: a Meta of its own loses it."""
    kinds = [model for model in apps.get_models() if issubclass(model, TwoPersonRequest)]
    return [
        _error("E016", kind, "lost its constraints", "Derive its Meta from TwoPersonRequest.Meta.")
        for kind in kinds
        if "approve" not in kind._meta.default_permissions or not any(one.name.endswith("_two_people") for one in kind._meta.constraints)
    ]


@checks.register(checks.Tags.database)
def check_grants(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Rights that stand on no grant (`manage.py check --database default`)."""
    if router.db_for_read(Grant) not in (databases or ()) or not _is_there(Grant):
        return []
    return [
        checks.Warning(f"{one}.", hint="Give a role with 'manage.py add_person', and take this away.", id="l2l_audit.W017")
        for one in grants.ungranted()
    ]


@checks.register(checks.Tags.database)
def check_schema(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Tables of no recorded version (`manage.py check --database default`)."""
    from audit.schema import versions

    if router.db_for_read(SchemaVersion) not in (databases or ()) or not _is_there(SchemaVersion):
        return []
    if versions.newest() is None or versions.is_recorded():
        return []
    hint = "Run 'manage.py init' instead of 'migrate': it says what migrations did to rows, and has sets made before and behind them."
    return [checks.Warning("The protected models are of no recorded schema version.", hint=hint, id="l2l_audit.W018")]


def _is_there(model: type[models.Model]) -> bool:
    """The table, which migrations may yet have to make."""
    connection = connections[router.db_for_read(model)]
    return model._meta.db_table in connection.introspection.table_names()


def check_model(protected: registry.Protected) -> list[checks.CheckMessage]:
    """Everything that keeps one model from being protected."""
    if not issubclass(protected.model, TrackedModel):
        return [_error("E003", protected.model, "is protected but no TrackedModel", "Derive it from audit.TrackedModel.")]
    if protected.model._meta.proxy:
        return [_proxy(protected.model)]
    rules = (_shape, _history, _path, _fields, _foreign_keys, _managers)
    return [message for rule in rules for message in rule(protected)]


def unregistered(candidates: Iterable[type[models.Model]]) -> Iterator[checks.CheckMessage]:
    """Tracked models that no @audit.protect stands on."""
    for model in candidates:
        if not issubclass(model, TrackedModel) or registry.is_protected(model):
            continue
        yield (
            _proxy(model)
            if model._meta.proxy
            else _error("E001", model, "is a TrackedModel without @audit.protect", "Say whose its rows are.")
        )


def _proxy(model: type[models.Model]) -> checks.CheckMessage:
    return _error("E004", model, "is a proxy model", "Use the model that it stands for, with a manager or queryset of its own.")


def _shape(protected: registry.Protected) -> Iterator[checks.CheckMessage]:
    model = protected.model
    if model._meta.parents:
        yield _error("E005", model, "uses multi-table inheritance: one row in two tables", "Inherit from an abstract model.")
    for field in model._meta.local_many_to_many:
        if field.remote_field.through and registry.is_protected(field.remote_field.through):
            continue
        yield _error("E006", model, f"has the many-to-many field {field.name}", "Make the link a protected model of its own.")


def _history(protected: registry.Protected) -> Iterator[checks.CheckMessage]:
    if not hasattr(protected.model, "history"):
        yield _error("E007", protected.model, "has no history", "Do not override 'history'.")
    elif not issubclass(protected.history_model, TrackedHistory) or not isinstance(protected.history_model._meta.pk, models.BigAutoField):
        yield _error(
            "E007",
            protected.model,
            "has a history of its own making, or with a 32-bit id",
            "Do not override 'history'; TrackedModel gives 64 bits.",
        )
    elif not hasattr(protected.history_model, "history_stream"):
        yield _error("E007", protected.model, "has a history without the tracked columns", "Do not override 'history'.")


def _path(protected: registry.Protected) -> Iterator[checks.CheckMessage]:
    model: Any = protected.model
    for hop in protected.hops:
        if not registry.is_protected(model):
            yield _error(
                "E008", protected.model, f"reaches its customer through {model.__name__}, which is not protected", "Protect it too."
            )
            return
        try:
            field = model._meta.get_field(hop)
        except FieldDoesNotExist:
            yield _error("E008", protected.model, f"has no path {protected.customer!r} ({hop} is no field)", "Correct the path.")
            return
        if not isinstance(field, models.ForeignKey) or field.null:
            yield _error("E008", protected.model, f"has {hop} in its path, which is not a required foreign key", "Make it one.")
            return
        model = field.related_model
    if protected.hops and not isinstance(model._meta.pk, models.UUIDField):
        yield _error("E008", protected.model, f"has a path that ends at {model.__name__}, not at the customer", "End it at the customer.")


def _fields(protected: registry.Protected) -> Iterator[checks.CheckMessage]:
    model = protected.model
    for field in model._meta.concrete_fields:
        if isinstance(field, models.FileField) and not isinstance(field, TrackedFileField):
            yield _error("E009", model, f"has the plain file field {field.name}", "Use audit.TrackedFileField: it keeps every version.")
        if getattr(field, "generated", False) or field.has_db_default():
            yield _error("E010", model, f"has {field.name}, filled in by the database", "Give it a default in Python: history must see it.")
        try:
            rows.kind_of(field)
        except rows.UnknownKind as problem:
            yield _error("E011", model, str(problem), "Use a built-in field, or name its kind as 'canonical_kind' on the field class.")
    names = {field.name for field in model._meta.concrete_fields} | {"pk"}
    wanted = {protected.reference} | {name for field in protected.files for name in (field.digest_field, field.size_field)}
    for name in sorted(wanted - names):
        yield _error("E012", model, f"has no field {name}", "It is named as the reference, or as a file's digest or size.")


def _foreign_keys(protected: registry.Protected) -> Iterator[checks.CheckMessage]:
    for field in protected.model._meta.concrete_fields:
        rule = field.remote_field.on_delete if field.is_relation else models.PROTECT  # type: ignore[union-attr]
        if rule not in (models.PROTECT, models.RESTRICT, models.CASCADE):
            yield _error(
                "E013",
                protected.model,
                f"has {field.name} with an on_delete that changes rows without history",
                "Use PROTECT, RESTRICT or CASCADE.",
            )


def _managers(protected: registry.Protected) -> Iterator[checks.CheckMessage]:
    if protected.model._base_manager.get_queryset().query.where:
        yield _error(
            "E015", protected.model, "has a base manager that hides rows", "Let 'objects' show all rows, and add a second manager."
        )
    for manager in (*protected.model._meta.managers, protected.model._base_manager):
        if not isinstance(manager.get_queryset(), TrackedQuerySet):
            yield _error(
                "E014", protected.model, f"has the manager {manager.name}, which does not refuse untracked calls", "Use TrackedManager."
            )


def _error(number: str, model: type[models.Model], what: str, hint: str) -> checks.Error:
    return checks.Error(f"{model._meta.label} {what}.", hint=hint, obj=model, id=f"l2l_audit.{number}")
