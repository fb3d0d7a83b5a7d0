"""`python -m tests.bench [WHAT] [sqlite|postgresql]`: full_set, small_customers, up_to_the_second, any_second, loading, verifying,
retention, pages; all when none is named.

L2L_BENCH_RECORDS, L2L_BENCH_CUSTOMERS, L2L_BENCH_IDLE_CUSTOMERS, L2L_BENCH_MANY_CUSTOMERS, L2L_BENCH_ESTATE, L2L_BENCH_ROWS and
L2L_BENCH_CHANGES make it larger or smaller. Each measurement runs in a process and a home of its own, so that its memory is its own.
With L2L_BENCH_KEEP=FOLDER `pages` keeps its estate there, and measures the one that it finds there. Ends with 1 when a page is too slow.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.both_databases import postgresql
from tests.home import PROJECT

WHAT = {
    "full_set": ("L2L_BENCH_RECORDS", "1000000"),
    "small_customers": ("L2L_BENCH_CUSTOMERS", "2000"),
    "up_to_the_second": ("L2L_BENCH_IDLE_CUSTOMERS", "10000"),
    "any_second": ("L2L_BENCH_RECORDS", "1000000"),
    "loading": ("L2L_BENCH_ROWS", "300000"),
    "verifying": ("L2L_BENCH_CHANGES", "200000"),
    "retention": ("L2L_BENCH_MANY_CUSTOMERS", "10000"),
    "pages": ("L2L_BENCH_ESTATE", "10000"),
}
# Brings the database that it is about.
BRINGS_ITS_OWN = ("loading",)
# Seeded by statements of its own, which is worth keeping.
ON_POSTGRESQL = ("pages",)
KEEP = "L2L_BENCH_KEEP"
DATABASES = ("sqlite", "postgresql")

MEASURE = """
import importlib, os, sys
from pathlib import Path

import django

django.setup()

from django.core.management import call_command

home = Path(os.environ["L2L_HOME"])
if not (home / "estate.json").exists():
    call_command("init", verbosity=0, stdout=open(os.devnull, "w"))
sys.exit(importlib.import_module(f"tests.bench.{sys.argv[1]}").measure(int(sys.argv[2]), home))
"""


@contextmanager
def _home(database: str, kept: Path | None) -> Iterator[dict[str, str]]:
    """Where the measurement finds its home and its database, as settings."""
    with ExitStack() as ends:
        if kept:
            home, data = kept / "home", kept / "postgresql"
            for folder in (home, data):
                folder.mkdir(parents=True, exist_ok=True)
        else:
            home, data = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="l2l-bench-"))), None
        address = {} if database == "sqlite" else {"DATABASE_URL": ends.enter_context(postgresql(data))}
        yield {"L2L_HOME": str(home), **address}


def _kept(what: str) -> Path | None:
    """Raises `SystemExit` for a folder whose estate was not written to its end."""
    if what not in ON_POSTGRESQL or not os.environ.get(KEEP):
        return None
    kept = Path(os.environ[KEEP]).absolute()
    if kept.exists() and any(kept.iterdir()) and not (kept / "home" / "estate.json").exists():
        raise SystemExit(f"{kept} holds no whole estate. Remove it, or name another folder in {KEEP}.")
    return kept


def run(what: str, database: str) -> int:
    print(f"== {what.replace('_', ' ')} on {database}", flush=True)
    variable, usual = WHAT[what]
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL" and not name.startswith("L2L_")}
    with _home(database, _kept(what)) as settings:
        environment = kept | {"DJANGO_SETTINGS_MODULE": "l2l.settings", **settings}
        command = [sys.executable, "-c", MEASURE, what, os.environ.get(variable, usual)]
        return subprocess.run(command, env=environment, cwd=PROJECT, check=False).returncode


def main(arguments: list[str]) -> int:
    unknown = set(arguments) - {*WHAT, *DATABASES}
    if unknown:
        print(f"{', '.join(sorted(unknown))}? {__doc__}", file=sys.stderr)
        return 2
    wanted = [one for one in WHAT if one in arguments] or list(WHAT)
    databases = [one for one in DATABASES if one in arguments] or list(DATABASES)
    return max(run(what, database) for what in wanted for database in _databases_of(what, databases))


def _databases_of(what: str, wanted: list[str]) -> list[str]:
    if what in BRINGS_ITS_OWN:
        return ["sqlite"]
    return ["postgresql"] if what in ON_POSTGRESQL else wanted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
