"""Databases as the migrations leave them, made once and copied: migrating takes 7 s of a processor, a copy a hundredth (measured).

Those of SQLite are kept in `build/databases` under the digest of the migrations, so that the next run finds them; one on a server lives as
long as the server, which is the run's own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / "build" / "databases"
INSTALLATION, TESTS = "l2l.settings", "tests.settings"
ON_SERVER = "l2l_template"


def copy_to(path: Path, settings: str) -> None:
    """Puts a migrated database there, of an installation or of the tests (which have an app more)."""
    with _locked(FOLDER):
        shutil.copyfile(_kept(settings), path)


def on_server(url: str) -> str:
    """The name of a migrated database on that server, for `CREATE DATABASE ... TEMPLATE`; made by whoever comes first."""
    with _locked(Path(tempfile.gettempdir())), psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [ON_SERVER]).fetchone() is None:
            making = f"{ON_SERVER}_{os.getpid()}"
            connection.execute(f"CREATE DATABASE {making}".encode())
            place, _, rest = url.partition("?")
            _migrate(TESTS, f"{place.rpartition('/')[0]}/{making}?{rest}")
            connection.execute(f"ALTER DATABASE {making} RENAME TO {ON_SERVER}".encode())
    return ON_SERVER


def _kept(settings: str) -> Path:
    found = FOLDER / f"{settings}-{_digest()}.sqlite3"
    if not found.exists():
        with tempfile.TemporaryDirectory(prefix="l2l-template-") as folder:
            made = Path(folder) / "made.sqlite3"
            if settings == TESTS:
                shutil.copyfile(_kept(INSTALLATION), made)
            _migrate(settings, f"sqlite:///{made}")
            shutil.copyfile(made, found.with_suffix(".part"))
        for former in FOLDER.glob(f"{settings}-*.sqlite3"):
            former.unlink()
        found.with_suffix(".part").rename(found)
    return found


def _digest() -> str:
    """Of all that says what `migrate` makes: our migrations and the pinned packages."""
    sources = [
        PROJECT / "constraints.txt",
        *sorted(PROJECT.glob("*/migrations/*.py")),
        *sorted(PROJECT.glob("tests/factory/migrations/*.py")),
    ]
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source.relative_to(PROJECT)}\n{source.read_text()}\n".encode())
    return digest.hexdigest()[:16]


def _migrate(settings: str, database_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="l2l-template-home-") as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("L2L_")}
        environment = kept | {"DJANGO_SETTINGS_MODULE": settings, "DATABASE_URL": database_url, "L2L_HOME": home}
        command = [sys.executable, str(PROJECT / "manage.py"), "migrate", "--verbosity", "0", "--no-input"]
        done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"No template of a database for the tests: {done.stdout}{done.stderr}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One maker at a time; the others wait and copy."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
