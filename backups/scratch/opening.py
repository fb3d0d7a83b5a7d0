"""From the address of a database to the open target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backups.errors import TargetUnusable
from backups.scratch.contract import Scratch
from backups.scratch.postgresql import PostgresqlScratch
from backups.scratch.sqlite import SqliteScratch


@contextmanager
def open_scratch(url: str) -> Iterator[Scratch]:
    """The empty database at `url` for the length of the block: `postgres://user@host:port/name`, `sqlite:////absolute/path` or
    `sqlite:///relative/path` (as in DATABASE_URL). What was not committed by its end is gone.

    Raises `TargetInTheWay`, `TargetUnusable` (also for what the driver refuses inside of the block), `OSError` (the disk).
    """
    scratch = _opened(url)
    try:
        yield scratch
    except scratch.troubles as problem:
        raise TargetUnusable(f"{scratch.address}: {scratch.words(problem)}") from None
    finally:
        scratch.close()


def _opened(url: str) -> Scratch:
    scheme, colon, rest = url.partition("://")
    if scheme in ("postgres", "postgresql") and colon:
        return PostgresqlScratch(url)
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return SqliteScratch(Path(rest[1:]))
    raise TargetUnusable("The address of a database begins with postgres:// (and a host), or is sqlite:///path of a new file.")
