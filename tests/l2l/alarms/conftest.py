"""Controls that stand as a test says, a mail server and a webhook on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import audit
from audit import controls
from audit.controls import Control, Measured
from audit.models import ControlState
from audit.promises import Standing
from l2l.alarms import looking, telling

KEPT, RISK, BROKEN = Standing
MINUTE = timedelta(minutes=1)


class Minutes:
    """The alarms' life, a minute at a time: a test says how the controls stand, and looks."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 12, tzinfo=UTC)
        self.measured = self.now

    def stand(self, name: str, state: Standing, figure: str = "3 of 120 customers", why: str = "See c1.", todo: str = "Mend it.") -> None:
        row = ControlState.objects.filter(pk=name).first()
        since = row.since if row and row.state == state.value else self.now
        values = {"state": state.value, "figure": figure, "since": since, "measured_at": self.now}
        ControlState.objects.update_or_create(control=name, defaults={**values, "why": why, "todo": todo})

    def look(self) -> dict[str, str]:
        """One minute: what stands is measured again, alarms are made and told."""
        with audit.acting("worker", source="test"):
            looking.look(self.now)
            return telling.tell(self.now)

    def forward(self, minutes: float = 1) -> None:
        self.now += minutes * MINUTE
        ControlState.objects.update(measured_at=self.now)

    def pass_by(self, minutes: int) -> list[dict[str, str]]:
        found = []
        for _ in range(minutes):
            self.forward()
            found.append(self.look())
        return found


@pytest.fixture
def minutes(db: None, monkeypatch: pytest.MonkeyPatch) -> Minutes:
    known = {
        name: Control(
            name, promise, title, "Broken when any.", "customers", lambda now: Measured(KEPT, ""), "admin:l2l_backups_run_changelist", "x=1"
        )
        for name, promise, title in (("nights", "P1", "Last night"), ("copies", "P3", "Copies owed"))
    }
    monkeypatch.setattr(controls, "_registered", known)
    return Minutes()


@dataclass
class Receiver:
    """A webhook that keeps what it got, and answers as it is told to."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    waits: float = 0.0
    drips: bool = False

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.got.append((dict(self.headers.items()), body))
            over.wait(kept.waits)
            if kept.drips:
                self._drip()
                return
            self.send_response(kept.answers.pop(0) if kept.answers else 204)
            self.send_header("Location", f"{kept.url}/elsewhere")
            self.end_headers()

        def _drip(self) -> None:
            while not over.is_set():
                self.wfile.write(b"H")
                self.wfile.flush()
                time.sleep(0.02)

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:  # whoever asked went away
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield kept
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()
