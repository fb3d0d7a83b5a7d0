"""Empty databases to restore into, and plain SQL to look at them with."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

ON_POSTGRESQL = os.environ.get("DATABASE_URL", "").startswith("postgres")
# Where the tests run on SQLite a server has to be started first.
POSTGRESQL = pytest.param("postgresql", marks=() if ON_POSTGRESQL else pytest.mark.slow)
ENGINES = ["sqlite", POSTGRESQL]


@dataclass(frozen=True)
class Target:
    """`url` as an operator gives it; `select` asks it without any of our code."""

    url: str

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    @property
    def on_postgresql(self) -> bool:
        return self.url.startswith("postgres")

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        if self.on_postgresql:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute("SET timezone = 'UTC'")
                return connection.execute(statement.encode()).fetchall()
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(statement).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def tables(self) -> set[str]:
        """Names of all tables; none where there is nothing at all."""
        if self.on_postgresql:
            return {name for (name,) in self.select("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
        return {name for (name,) in self.select("SELECT name FROM sqlite_master WHERE type = 'table'")} if self.path.exists() else set()

    def untouched(self) -> bool:
        """Nothing of a restore is there, not even under another name."""
        return not self.tables() and (self.on_postgresql or not list(self.path.parent.glob(f"{self.path.name}*")))


def database_on(server: str, options: str = "") -> Target:
    """A new database on that server."""
    name = f"scratch_{uuid.uuid4().hex[:12]}"
    Target(server).execute(f"CREATE DATABASE {name} {options}")
    place, _, rest = server.partition("?")
    return Target(f"{place.rpartition('/')[0]}/{name}?{rest}")


def drop_database(server: str, made: Target) -> None:
    Target(server).execute(f"DROP DATABASE {made.url.partition('?')[0].rpartition('/')[2]} WITH (FORCE)")
