"""A folder to import, written by the test as a customer would deliver it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest


class Delivery:
    """Writes below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def records(self, kind: str, *rows: tuple[str, ...]) -> Path:
        """`records/KIND.csv` of header and rows, as the csv module writes them."""
        path = self._at(f"records/{kind}.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return path

    def upload(self, name: str, content: bytes) -> Path:
        return self.raw(f"uploads/{name}", content)

    def links(self, *rows: tuple[str, ...]) -> Path:
        path = self._at("links.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows((("reference", "title", "url"), *rows))
        return path

    def raw(self, name: str, content: bytes) -> Path:
        path = self._at(name)
        path.write_bytes(content)
        return path

    def _at(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    return Delivery(tmp_path / "delivery")


@pytest.fixture
def take(acme: Any, delivery: Delivery) -> Any:
    """Imports the delivery for acme."""
    from subscriptions.importing import import_content

    def importing(**options: Any) -> Any:
        return import_content(acme, delivery.folder, **options)

    return importing
