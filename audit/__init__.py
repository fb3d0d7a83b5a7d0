"""Who changed what: `audit.TrackedModel`, `@audit.protect(...)`, `@audit.upgrade(...)`, `with audit.acting(...)`. Imports nothing of the
other apps."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTED = {
    "TrackedModel": "audit.tracked",
    "protect": "audit.registry",
    "upgrade": "audit.upgrades",
    "CanonicalJSONField": "audit.fields",
    "TrackedFileField": "audit.fields",
    "acting": "audit.actors",
    "because": "audit.actors",
}


def __getattr__(name: str) -> Any:
    # Lazily, for models cannot be imported while Django loads its apps.
    if name not in _EXPORTED:
        raise AttributeError(f"module 'audit' has no attribute {name!r}")
    return getattr(import_module(_EXPORTED[name]), name)
