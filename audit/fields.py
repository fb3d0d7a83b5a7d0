"""Fields of protected models: JSON stored as its canonical text, and files whose digest stands beside their name."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.db import models

from audit import canonical, files
from audit.errors import Unstorable


class CanonicalJSONField(models.TextField):
    """JSON kept as canonical text in a text column: what is stored is what is digested, signed and shipped, on every database.

    It cannot be searched by key as `JSONField` can (jsonb forgets how a value was written); `icontains` works.
    """

    description = "Canonical JSON"
    canonical_kind = "json"

    def get_internal_type(self) -> str:
        return "TextField"

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        return None if value is None else json.loads(value)

    def get_prep_value(self, value: Any) -> Any:
        return value if value is None or hasattr(value, "resolve_expression") else canonical.dumps(value)

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> Any:
        return canonical.dumps(self.value_from_object(obj))

    def formfield(self, **kwargs: Any) -> Any:
        return models.Field.formfield(self, form_class=forms.JSONField, **kwargs)


class TrackedFileField(models.FileField):
    """A file of a protected model. `digest_field` and `size_field` name the columns for the SHA-256 (hex) and the bytes.

    A new content is a new stored file under a random name; the old one stays, because history still names it.
    """

    def __init__(self, *args: Any, digest_field: str = "sha256", size_field: str = "size", **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 200)
        super().__init__(*args, **kwargs)
        self.digest_field = digest_field
        self.size_field = size_field

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "digest_field": self.digest_field, "size_field": self.size_field}

    def store(self, instance: models.Model, stream: object) -> None:
        """Digests and stores a new content; does nothing when the instance names a stored file already.

        Raises `UploadsUnavailable`. After it, the file reads back with the size that was digested, or it raises `Unstorable`.
        """
        file = getattr(instance, self.attname)
        if not file or file._committed:
            return
        sha256, size = files.digest_of(file.file)
        name = self.storage.save(files.random_name(stream), file.file, max_length=self.max_length)
        if self.storage.size(name) != size:
            raise Unstorable(self.name, f"was stored with {self.storage.size(name)} bytes instead of {size}; upload it again")
        setattr(instance, self.attname, name)
        setattr(instance, self.digest_field, sha256)
        setattr(instance, self.size_field, size)
