"""Which models are protected, and how each row finds its customer.

`@protect(customer="line__site__customer")` on a `TrackedModel`: journal, backup, restore, return and destruction work from this
registry and name no model themselves. `@protect(system=True)` is for what people decide about customers (the system stream).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.apps import apps
from django.db import models

from audit.errors import BypassRefused
from audit.fields import TrackedFileField

SYSTEM_STREAM = uuid.UUID("00000000-0000-0000-0000-000000000000")


@dataclass(frozen=True, slots=True)
class Protected:
    """A protected model. `customer` is the path of foreign keys to the customer, empty for the system stream; `reference`
    the field by which people call a row (`restore --only MODEL:REFERENCE`)."""

    model: type[models.Model]
    customer: str
    reference: str

    @property
    def label(self) -> str:
        return self.model._meta.label_lower

    @property
    def history_model(self) -> type[models.Model]:
        return vars(self.model)["history"].model  # asked of the descriptor: through the class it builds a manager each time (0.26 ms)

    @property
    def hops(self) -> list[str]:
        return self.customer.split("__") if self.customer else []

    @property
    def files(self) -> list[TrackedFileField]:
        return [field for field in self.model._meta.concrete_fields if isinstance(field, TrackedFileField)]

    @property
    def parents(self) -> list[list[str]]:
        """Its foreign keys to protected models of the same kind of stream: [column, `app.model`, column there]."""
        former = _former.get()
        found, known = [], _protected if former is None else {one.model: one for one in former}
        fields: Iterable[Any] = self.model._meta.concrete_fields
        for field in fields:
            parent = known.get(field.related_model) if field.is_relation else None
            if parent is not None and bool(parent.customer) == bool(self.customer):
                found.append([str(field.column), parent.label, str(field.target_field.column)])
        return found

    def rows(self, stream: uuid.UUID) -> models.QuerySet[Any]:
        """The live rows of one stream, unordered."""
        manager = self.model._base_manager
        return manager.filter(**{self.customer: stream}) if self.customer else manager.all()


_protected: dict[type[models.Model], Protected] = {}


def protect(*, customer: str = "", system: bool = False, reference: str = "pk") -> Callable[[type[Any]], type[Any]]:
    """Class decorator: the model's rows are captured, backed up, returned and destroyed with their customer."""
    if bool(customer) == system:
        raise TypeError("protect() takes either customer='path__to__customer' or system=True")

    def register(model: type[Any]) -> type[Any]:
        _protected[model] = Protected(model, customer, reference)
        _installed.cache_clear()
        return model

    return register


def of(model: type[models.Model]) -> Protected:
    """The registration of a model; `BypassRefused` when it is not protected."""
    if model not in _protected:
        raise BypassRefused(
            f"{model._meta.label} is not protected: decorate it with @audit.protect(...), or use the model that it stands for."
        )
    return _protected[model]


def is_protected(model: type[models.Model]) -> bool:
    return model in _protected


_former: ContextVar[Sequence[Protected] | None] = ContextVar("l2l_former_models", default=None)


def protected() -> list[Protected]:
    """Every protected model of the installed apps, parents before their children, then by label: the order for restoring."""
    former = _former.get()
    return list(_installed() if former is None else former)


@cache
def _installed() -> list[Protected]:
    """Put in order once: asked for each change that was shipped or read, that was nine tenths of its time (0.5 ms, measured)."""
    return _ordered([one for one in _protected.values() if one.model._meta.apps is apps])


def _ordered(known: Sequence[Protected]) -> list[Protected]:
    by_model = {one.model: one for one in known}
    ordered: list[Protected] = []
    for one in sorted(known, key=lambda one: one.label):
        _after_parents(one, ordered, (), by_model)
    return ordered


@contextmanager
def as_it_was(models_then: Sequence[Protected]) -> Iterator[None]:
    """In this thread these are the protected models, for the length of the block: the ones that the database still has the tables of while
    a migration is yet to run (`audit/schema/former.py`). For reading."""
    token = _former.set(_ordered(models_then))
    try:
        yield
    finally:
        _former.reset(token)


def of_stream(stream: uuid.UUID) -> list[Protected]:
    """The protected models whose rows belong to that kind of stream."""
    return [one for one in protected() if bool(one.customer) == (stream != SYSTEM_STREAM)]


def by_label(label: str) -> Protected | None:
    """The protected model called `app.model` (any case), or just `model` where that is unambiguous; None else."""
    wanted = label.lower()
    known = protected()
    found = [one for one in known if one.label == wanted] or [one for one in known if one.model._meta.model_name == wanted]
    return found[0] if len(found) == 1 else None


def _after_parents(
    one: Protected, ordered: list[Protected], path: tuple[Protected, ...], by_model: dict[type[models.Model], Protected]
) -> None:
    if one in ordered or one in path:
        return
    for field in one.model._meta.concrete_fields:
        parent = by_model.get(field.related_model) if field.is_relation else None  # type: ignore[arg-type]
        if parent is not None and parent is not one:
            _after_parents(parent, ordered, (*path, one), by_model)
    ordered.append(one)
