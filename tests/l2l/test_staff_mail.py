"""Mail to staff over a real server on this machine: whole, with its attachments, or an error that says what the server said."""

from __future__ import annotations

import email
import email.policy
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from l2l import staff_mail


class Server:
    """Keeps what it accepts; refuses with `says` when that is set."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.says = ""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.says:
            return self.says
        self.kept.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 OK"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def server(settings: Any) -> Iterator[Server]:
    handler = Server()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL = "127.0.0.1", False, False
    settings.EMAIL_PORT = controller.port
    settings.DEFAULT_FROM_EMAIL = "L2L <l2l@example.org>"
    yield handler
    controller.stop()


def test_a_message_arrives_whole(server: Server) -> None:
    staff_mail.send(["a@example.org", "b@example.org"], "L2L: 1 broken", "Why?\n", "id1", [("a.json", b"[1]", "application/json")])
    ((to, message),) = server.kept
    assert to == ["a@example.org", "b@example.org"] and message["Message-ID"] == "<id1@example.org>"
    assert message["Subject"] == "L2L: 1 broken" and message.get_body().get_content().split() == ["Why?"]
    assert [part.get_content() for part in message.iter_attachments()] == [b"[1]"]


def test_a_server_that_refuses_is_an_error_with_its_words(server: Server) -> None:
    server.says = "451 too busy"
    with pytest.raises(OSError, match="too busy"):
        staff_mail.send(["a@example.org"], "s", "t", "id1")


def test_no_server_is_an_error(server: Server, settings: Any) -> None:
    settings.EMAIL_PORT = 9
    with pytest.raises(OSError, match="refused"):
        staff_mail.send(["a@example.org"], "s", "t", "id1")
