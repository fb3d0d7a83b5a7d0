"""Fields of protected models: JSON stored as its canonical text, and files whose digest stands beside their name."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.files.base import File
from django.db import models
from django.db.models.fields.files import FieldFile

from audit import canonical, files
from audit.errors import BypassRefused, Unstorable


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


class TrackedFile(FieldFile):
    """The file of a protected row: read here, replaced by assigning a new one and saving the row. What was stored stays as it is."""

    def open(self, mode: str | None = "rb", *args: Any, **kwargs: Any) -> Any:
        if mode not in ("rb", None):
            raise BypassRefused(f"{self.field.name} cannot be opened for writing: history names these bytes. Assign a new file and save().")
        return super().open("rb")

    def save(self, name: str, content: File, save: bool = True) -> None:
        """Makes `content` the row's file, stored when the row is saved."""
        content.name = name
        setattr(self.instance, self.field.attname, content)
        if save:
            self.instance.save()

    def delete(self, save: bool = True) -> None:
        """The row has no file any more; the stored bytes stay, because history names them."""
        setattr(self.instance, self.field.attname, "")
        if save:
            self.instance.save()


class TrackedFileField(models.FileField):
    """A file of a protected model. `digest_field` and `size_field` name the columns for the SHA-256 (hex) and the bytes.

    A new content is a new stored file under a random name; the old one stays, because history still names it.
    """

    attr_class = TrackedFile

    def __init__(self, *args: Any, digest_field: str = "sha256", size_field: str = "size", **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 200)
        super().__init__(*args, **kwargs)
        self.digest_field = digest_field
        self.size_field = size_field

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "digest_field": self.digest_field, "size_field": self.size_field}

    def pre_save(self, instance: models.Model, add: bool) -> Any:
        file = getattr(instance, self.attname)
        if not file._committed:
            raise BypassRefused(f"{self.name} holds a file that was never digested: save the row with its own save() or a tracked verb.")
        return file

    def store(self, instance: Any, stream: object, stored_name: str) -> None:
        """Digests and stores a new content, or digests the stored file that the row newly names; `stored_name` is the row's so far.

        Raises `UploadsUnavailable`, and `Unstorable` when the file does not read back with the size that was digested, is not there, or is
        another customer's.
        """
        file = getattr(instance, self.attname)
        if not file._committed:
            self._put(instance, *self._stored(file._file, stream))  # (Django takes a file without a name for none)
        elif not file:
            self._put(instance, "", "", 0)
        elif file.name != stored_name:
            self._put(instance, file.name, *self._digest_of_stored(file.name, stream))

    def _put(self, instance: models.Model, name: str, sha256: str, size: int) -> None:
        setattr(instance, self.attname, name)
        setattr(instance, self.digest_field, sha256)
        setattr(instance, self.size_field, size)

    def _stored(self, content: File, stream: object) -> tuple[str, str, int]:
        sha256, size = files.digest_of(content)
        name = self.storage.save(files.random_name(stream), content, max_length=self.max_length)
        if self.storage.size(name) != size:
            raise Unstorable(self.name, f"was stored with {self.storage.size(name)} bytes instead of {size}; upload it again")
        return name, sha256, size

    def _digest_of_stored(self, name: str, stream: object) -> tuple[str, int]:
        if not name.startswith(f"{files.folder_of(stream)}/") or ".." in name:
            raise Unstorable(self.name, f"names {name}, which is not a file of this customer; assign a file, not a name")
        if not self.storage.exists(name):
            raise Unstorable(self.name, f"names {name}, which is not stored")
        return files.digest_of_pieces(files.read_stored(self.storage, name))
