"""A location whose segments are listed and fetched once: each of thousands of streams is read from the same ones. Nothing is written there
meanwhile."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from backups.hot.segments import FOLDER
from backups.locations import Place
from backups.stores.contract import Entry, Store


class ReadOnce:
    """The store itself, but for what lies under `hot/`. The copies are sealed as they are at the location."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._listed: dict[str, list[Entry]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        if not prefix.startswith(FOLDER):
            return self._store.list(prefix)
        if prefix not in self._listed:
            self._listed[prefix] = list(self._store.list(prefix))
        return iter(self._listed[prefix])

    def get(self, name: str) -> bytes:
        if not name.startswith(FOLDER):
            return self._store.get(name)
        kept = self._folder / hashlib.sha256(name.encode()).hexdigest()
        if not kept.exists():
            data = self._store.get(name)
            beginning = kept.with_suffix(f".{id(data)}")
            beginning.write_bytes(data)
            beginning.rename(kept)  # several threads may fetch the same
        return kept.read_bytes()


@contextmanager
def reading_once(places: Sequence[Place], spool: Path) -> Iterator[tuple[Place, ...]]:
    """These places, for the length of the block."""
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(prefix="recovery-", dir=spool))
    try:
        made = []
        for number, place in enumerate(places):
            own = folder / str(number)
            own.mkdir()
            made.append(replace(place, store=ReadOnce(place.store, own)))
        yield tuple(made)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
