"""The webhook: one POST of JSON, signed, over TLS, within seconds.

The address may hold a secret of its own, and an answer may hold anything: neither is logged nor kept. No redirect is followed, for the body
would go where nobody decided; an answer other than 2xx means that it did not arrive.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

SIGNATURE, ID = "X-L2L-Signature", "X-L2L-Id"
# Of each step; and of the whole, whatever drips in.
STEP_SECONDS, ALL_SECONDS = 10.0, 30.0
LEAST_SECRET = 32


class NotDelivered(OSError):
    """The webhook did not take it; the message says why, without the address and without the answer's words."""


def problem_with(url: str) -> str:
    """What is wrong with the address of a webhook; empty when nothing is."""
    try:
        parts = urlsplit(url)
        is_address = bool(parts.hostname) and parts.port != 0 and url.isascii()
    except ValueError:  # brackets or a port that are none
        return "it is no https:// address"
    if parts.scheme not in ("https", "http") or not is_address:
        return "it is no https:// address"
    if parts.scheme == "http" and not _is_loopback(str(parts.hostname)):
        return "it is not https, and not on this machine"
    if parts.username or parts.password:
        return "it holds a name or a password before the host, which is not sent"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def signature(secret: str, body: bytes) -> str:
    """`sha256=` and the HMAC-SHA256 of the body, in hex."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def post(url: str, secret: str, body: bytes, ident: str) -> None:
    """Raises `NotDelivered`."""
    if wrong := problem_with(url):
        raise NotDelivered(f"L2L_ALARMS_WEBHOOK: {wrong}.")
    parts = urlsplit(url)
    headers = {"Content-Type": "application/json", "User-Agent": "l2l-back-office", ID: ident}
    if secret:
        headers[SIGNATURE] = signature(secret, body)
    try:
        status = _status(parts, body, headers)
    except TimeoutError:
        raise NotDelivered("The webhook did not answer in time.") from None
    except (OSError, HTTPException) as problem:
        raise NotDelivered(f"The webhook cannot be reached ({getattr(problem, 'strerror', None) or type(problem).__name__}).") from None
    if 300 <= status < 400:
        raise NotDelivered(f"The webhook answered {status}: redirects are not followed, so name the last address.")
    if not 200 <= status < 300:
        raise NotDelivered(f"The webhook answered {status}.")


def _status(parts: SplitResult, body: bytes, headers: dict[str, str]) -> int:
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=STEP_SECONDS)
    path = parts.path or "/"
    try:
        with _ended_after(connection, ALL_SECONDS) as over:
            try:
                connection.request("POST", f"{path}?{parts.query}" if parts.query else path, body, headers)
                return connection.getresponse().status
            except (OSError, HTTPException):
                if over.is_set():
                    raise TimeoutError from None
                raise
    finally:
        connection.close()


@contextmanager
def _ended_after(connection: HTTPConnection, seconds: float) -> Iterator[threading.Event]:
    """A timeout of the socket counts each read alone: one byte now and then would hold it for ever. Gives what tells that it was ended."""
    over = threading.Event()

    def end() -> None:
        over.set()
        if connection.sock is not None:
            with suppress(OSError):  # it was closed in this very moment
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()
