"""A scratch installation, worked through its commands in processes of their own, as a user would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import templates
from tests.both_databases import BYTECODE

PROJECT = Path(__file__).resolve().parent.parent

PEAK = """
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

report = Path(sys.argv.pop(1))
execute_from_command_line(["manage.py", *sys.argv[1:]])
status = Path("/proc/self/status").read_text()
report.write_text(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def in_turns(process: subprocess.Popen[Any], reached: Callable[[], bool], turn: float = 0.02) -> bool:
    """Lets the process run for `turn` seconds at a time and looks while it stands still, until `reached` (True) or it ended (False).

    However busy the machine is, it passes what is waited for by no more than a turn. Whom it reached it leaves standing: kill it.
    """
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        if reached():
            return True
        process.send_signal(signal.SIGCONT)
        time.sleep(turn)
    return False


@dataclass(frozen=True)
class Home:
    """`manage` runs a command to its end, `start` begins one that the test may kill. `settings`, such as DATABASE_URL, are added."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("L2L_")}
        kept.pop("DATABASE_URL", None)
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        # A sixth of what it takes to start is compiling this project's modules (measured); once is enough for all of them.
        kept["PYTHONPYCACHEPREFIX"] = str(BYTECODE)
        return kept | {"L2L_HOME": str(self.folder), "DJANGO_SETTINGS_MODULE": "l2l.settings", **self.settings}

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, str(PROJECT / "manage.py"), *arguments]

    def start(self, *arguments: str, said: Path | None = None) -> subprocess.Popen[str]:
        """What it says goes to pipes, or to the end of the file `said`: a pipe that nobody reads stops a process that says much."""
        if said is None:
            pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            return subprocess.Popen(self._command(arguments), env=self.environment, cwd=PROJECT, **pipes)
        with said.open("ab") as file:
            return subprocess.Popen(self._command(arguments), env=self.environment, cwd=PROJECT, stdout=file, stderr=file, text=True)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command(arguments), env=self.environment, capture_output=True, text=True, cwd=PROJECT, check=False)

    def manage(self, *arguments: str) -> str:
        """Standard output; the test fails when the command does."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def init(self, *arguments: str) -> str:
        """`manage.py init`, where the migrations have run; the demo's tests let `init` run them itself."""
        if "DATABASE_URL" not in self.settings and not (self.folder / "l2l.sqlite3").exists():
            self.migrate()
        return self.manage("init", *arguments)

    def migrate(self) -> None:
        """The database as `manage.py migrate` leaves it; of SQLite a copy of one that was migrated before."""
        if "DATABASE_URL" in self.settings:
            self.manage("migrate")
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        templates.copy_to(self.folder / "l2l.sqlite3", templates.INSTALLATION)

    def peak_bytes(self, *arguments: str) -> int:
        """Runs a command to its good end; returns the most memory that it ever held, as the kernel counts it for that program alone
        (a child's usage also counts what its parent held when it was forked)."""
        report = self.folder / f"peak-{'-'.join(arguments[:2])}"
        command = [sys.executable, "-c", PEAK, str(report), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=PROJECT, check=False)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return int(report.read_text()) * 1024

    def json(self, *arguments: str) -> Any:
        return json.loads(self.manage(*arguments, "--json"))

    def ask(self, code: str) -> Any:
        """What a line of Python gives inside of the installation, as JSON."""
        return json.loads(self.manage("shell", "-v", "0", "-c", f"import json; print(json.dumps({code}, default=str))"))

    def processes(self) -> list[int]:
        """The numbers of the living processes that work in this home."""
        mark = f"L2L_HOME={self.folder}".encode()
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and mark in _environment(path) and _alive(path)]

    def location(self, name: str) -> Path:
        return self.folder / "locations" / name


def _environment(path: Path) -> list[bytes]:
    try:
        return (path / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _alive(path: Path) -> bool:
    try:
        return (path / "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
