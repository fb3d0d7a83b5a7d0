"""What only a server can get wrong: ignoring a condition, knowing no versions, being away, refusing; and what a process must not share."""

from __future__ import annotations

import hashlib
import os
import socket
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from backups.stores import s3
from backups.stores.contract import AlreadyThere, Missing, StillThere, StoreError, StoreRefused, StoreUnavailable
from backups.stores.s3 import S3Store
from tests.stores.conftest import KEYS, Place, careless_place, raw_client, s3_place

MD5_HEADER, CONDITION_HEADER, OUR_DIGEST = "Content-MD5", "If-None-Match", "x-amz-meta-sha256"


@dataclass
class Server:
    """A plain S3 server without versions or uploads, as bad as a test wants it.

    `always` answers every request with that status and error code; `conditional` keeps the condition of a put;
    `deletes` does what it is told; `seen` collects method, path and headers of each request.
    """

    endpoint: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    always: tuple[int, str] | None = None
    conditional: bool = True
    deletes: bool = True
    ranges: bool = True
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: object) -> None: ...

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def fail(self, status: int, code: str) -> None:
            self.answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

        def taken_care_of(self) -> bool:
            """Whether the request was answered already: by decree, or because it asks for versions or uploads."""
            server.seen.append((self.command, self.path, dict(self.headers)))
            if server.always:
                status, code = server.always
                self.fail(status, code) if code else self.answer(status)
                return True
            if {"versions", "uploads"} & set(parse_qs(urlsplit(self.path).query, keep_blank_values=True)):
                self.fail(501, "NotImplemented")
                return True
            return False

        @property
        def key(self) -> str:
            return urlsplit(self.path).path.removeprefix("/bucket/")

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.taken_care_of():
                return
            if server.conditional and self.headers[CONDITION_HEADER] and self.key in server.objects:
                self.fail(412, "PreconditionFailed")
                return
            server.objects[self.key] = data
            self.answer(200)

        def do_GET(self) -> None:
            if self.taken_care_of():
                return
            if "list-type" in self.path:
                self.answer(200, self.listing())
            elif self.key not in server.objects:
                self.fail(404, "NoSuchKey")
            else:
                self.send_part(server.objects[self.key])

        def send_part(self, data: bytes) -> None:
            asked = self.headers["Range"]
            if not (asked and server.ranges):
                self.answer(200, data)
                return
            first, _, last = asked.removeprefix("bytes=").partition("-")
            self.answer(206, data[int(first) : int(last) + 1], Content_Range=f"bytes {first}-{last}/{len(data)}")

        def listing(self) -> bytes:
            rows = "".join(f"<Contents><Key>{key}</Key><Size>{len(data)}</Size></Contents>" for key, data in sorted(server.objects.items()))
            return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

        def do_HEAD(self) -> None:
            if not self.taken_care_of():
                self.answer(200 if self.key in server.objects or self.path == "/bucket" else 404)

        def do_DELETE(self) -> None:
            if self.taken_care_of():
                return
            if server.deletes:
                server.objects.pop(self.key, None)
            self.answer(204)

    return Handler


@contextmanager
def serving(make: Callable[[Server], type[BaseHTTPRequestHandler]] = handler) -> Iterator[Server]:
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), make(server))
    http.daemon_threads = True
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.endpoint = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def store(server: Server) -> S3Store:
    return store_at(server.endpoint)


def store_at(endpoint: str, prefix: str = "", bucket: str = "bucket") -> S3Store:
    return S3Store(bucket, prefix, endpoint, "us-east-1", *KEYS)


class TestCheck:
    def test_a_plain_server_is_enough(self, store: S3Store, server: Server) -> None:
        store.check()
        assert server.objects == {}

    def test_a_server_that_ignores_the_condition_is_refused(self, store: S3Store, server: Server) -> None:
        server.conditional = False
        with pytest.raises(StoreRefused, match="overwrites"):
            store.check()
        assert server.objects == {}

    def test_a_server_that_says_yes_to_everything_is_refused(self, store: S3Store, server: Server) -> None:
        server.always = 200, ""
        with pytest.raises(StoreRefused, match="overwrites"):
            store.check()

    def test_a_server_that_does_not_delete_is_found_out(self, store: S3Store, server: Server) -> None:
        server.deletes = False
        with pytest.raises(StillThere):
            store.check()

    def test_a_server_that_cannot_do_conditions_is_refused(self, store: S3Store, server: Server) -> None:
        server.always = 501, "NotImplemented"
        with pytest.raises(StoreRefused, match="conditional puts"):
            store.check()

    def test_a_missing_bucket_is_refused(self, moto_endpoint: str) -> None:
        store = store_at(moto_endpoint, bucket="no-such-bucket")
        digest = hashlib.sha256(b"x").hexdigest()
        for act in (
            store.check,
            lambda: store.put("x", b"x"),
            lambda: store.put_back("x", b"x", digest),
            lambda: store.get("x"),
            lambda: store.exists("x"),
            lambda: store.remove("x"),
            lambda: list(store.list()),
            lambda: list(store.leftovers()),
        ):
            with pytest.raises(StoreRefused, match="create it"):
                act()


class TestPlainServer:
    """Neither versions nor uploads can be listed there."""

    def test_every_operation_works(self, store: S3Store, server: Server) -> None:
        store.put("a/x", b"0123")
        with pytest.raises(AlreadyThere):
            store.put("a/x", b"4567")
        assert store.read("a/x", 1, 2) == b"12"
        store.put_back("a/x", b"0123", hashlib.sha256(b"0123").hexdigest())
        assert list(store.leftovers()) == []
        store.remove("a/x")
        assert server.objects == {}
        with pytest.raises(Missing):
            store.get("a/x")
        assert not store.exists("a/x")

    def test_a_server_that_ignores_ranges_gives_a_part_all_the_same(self, store: S3Store, server: Server) -> None:
        server.ranges = False
        store.put("x", b"0123456789")
        assert store.read("x", 3, 4) == b"3456"
        assert store.read("x", 3, 0) == b""

    def test_every_put_carries_md5_and_our_own_digest(self, store: S3Store, server: Server) -> None:
        store.put("x", b"data")
        store.put_back("x", b"data", hashlib.sha256(b"data").hexdigest())
        puts = [headers for method, _, headers in server.seen if method == "PUT"]
        assert [headers.get(CONDITION_HEADER) for headers in puts] == ["*", None]
        for headers in puts:
            assert headers[MD5_HEADER] == "jXd/OF09/siBXSD3SWAm3A=="
            assert headers[OUR_DIGEST] == hashlib.sha256(b"data").hexdigest()
            assert not [name for name in headers if name.lower().startswith(("x-amz-checksum", "x-amz-trailer", "x-amz-sdk-checksum"))]

    def test_keys_outside_the_alphabet_are_not_shown(self, store: S3Store, server: Server) -> None:
        server.objects = {"a/": b"", "a b": b"", "good": b"", ".hidden": b""}
        assert [entry.name for entry in store.list()] == ["good"]


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (403, "AccessDenied"),
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (403, "QuotaExceeded"),
            (403, "RequestTimeTooSkewed"),
            (404, "NoSuchBucket"),
            (400, "InvalidRequest"),
            (507, "InsufficientStorage"),
        ],
    )
    def test_what_a_person_must_mend_is_refused(self, store: S3Store, server: Server, status: int, code: str) -> None:
        server.always = status, code
        for act in (lambda: store.put("x", b"x"), lambda: store.get("x"), lambda: store.remove("x"), lambda: list(store.list())):
            with pytest.raises(StoreRefused, match=f"{code} .* for .*: "):
                act()
        with pytest.raises(StoreRefused):
            store.exists("x")

    @pytest.mark.parametrize(("status", "code"), [(409, "ConditionalRequestConflict"), (409, "OperationAborted"), (400, "BadDigest")])
    def test_what_may_pass_is_unavailable(self, store: S3Store, server: Server, status: int, code: str) -> None:
        server.always = status, code
        with pytest.raises(StoreUnavailable, match="try again later"):
            store.put("x", b"x")

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (400, "RequestTimeout"), (429, "TooManyRequests")]
    )
    def test_it_retries_a_bounded_number_of_times(self, store: S3Store, server: Server, status: int, code: str) -> None:
        server.always = status, code
        with pytest.raises(StoreUnavailable, match="try again later"):
            store.put("x", b"x")
        assert len(server.seen) <= 3

    def test_an_answer_that_is_not_s3_is_unavailable(self, store: S3Store, server: Server) -> None:
        """As of a proxy that shows its own page."""
        server.always = 200, "<html>"
        with pytest.raises(StoreUnavailable):
            list(store.list())

    def test_a_body_that_ends_early_is_unavailable(self) -> None:
        def cutting(server: Server) -> type[BaseHTTPRequestHandler]:
            class Cutting(handler(server)):  # type: ignore[misc]
                def do_GET(self) -> None:
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b"half")
                    self.close_connection = True

            return Cutting

        with serving(cutting) as server, pytest.raises(StoreUnavailable):
            store_at(server.endpoint).get("x")

    def test_a_wrong_endpoint_is_unavailable(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            store = store_at(f"http://127.0.0.1:{free.getsockname()[1]}")
            with pytest.raises(StoreUnavailable, match="could not be reached"):
                store.get("x")

    @pytest.mark.slow
    @pytest.mark.waiting
    def test_a_server_that_never_answers_is_unavailable_within_the_minute(self) -> None:
        """By how often it is tried and how long it waits each time; a loaded machine stretches what a clock would say."""
        with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
            store = store_at(f"http://127.0.0.1:{silent.getsockname()[1]}")
            with pytest.raises(StoreUnavailable):
                store.get("x")
            silent.setblocking(False)
            tried = 0
            with suppress(BlockingIOError):
                while True:
                    silent.accept()[0].close()
                    tried += 1
        config = store._client.meta.config
        assert tried >= 1 and tried * (config.connect_timeout + config.read_timeout) < 60

    def test_a_certificate_that_is_not_trusted_is_refused(self) -> None:
        error = Exception("SSL: CERTIFICATE_VERIFY_FAILED")
        assert isinstance(store_at("https://127.0.0.1:1")._unreached(error, "x"), StoreRefused)


class TestSecrets:
    @pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "InvalidAccessKeyId", "InternalError2"])
    def test_no_message_and_no_trace_shows_the_secret(self, store: S3Store, server: Server, code: str) -> None:
        server.always = 403, code
        with pytest.raises(StoreError) as failure:
            store.put("x", b"x")
        shown = "".join(traceback.format_exception(failure.value)) + repr(store) + str(vars(store)) + store.url
        assert KEYS[1] not in shown


class TestVersions:
    def test_the_versions_below_go_before_the_one_that_is_seen(self, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Otherwise an old one comes into sight in between, for good if we are killed there."""
        place = s3_place(moto_endpoint, versioned=True)
        store = place.store
        assert isinstance(store, S3Store) and place.hide
        store.put("x", b"old")
        place.hide("x")
        seen: list[bool] = []
        delete = S3Store._delete

        def delete_and_look(self: S3Store, trace: dict[str, str]) -> bool:
            found = delete(self, trace)
            seen.append(self.exists("x"))
            return found

        monkeypatch.setattr(S3Store, "_delete", delete_and_look)
        store.remove("x")
        assert seen == [False, False]

    def test_a_locked_version_is_refused_and_stays_hidden(self, moto_endpoint: str) -> None:
        client, bucket = raw_client(moto_endpoint), f"locked-{os.urandom(8).hex()}"
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
        client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule})
        store = store_at(moto_endpoint, bucket=bucket)
        store.put("x", b"locked")
        with pytest.raises(StoreRefused, match="locked"):
            store.remove("x")
        assert store.get("x") == b"locked"


class TestACarelessServer:
    """It keeps versions and ignores the condition, as Ceph 16 does; with many more tests in the contract's slow part."""

    @pytest.fixture
    def careless(self, request: pytest.FixtureRequest) -> Place:
        return careless_place(request)

    def test_what_was_there_first_stays_and_nothing_else_is_left(self, careless: Place) -> None:
        careless.store.put("x", b"first")
        with pytest.raises(AlreadyThere):
            careless.store.put("x", b"second")
        assert careless.store.get("x") == b"first"
        assert list(careless.store.leftovers()) == []

    def test_of_eight_at_once_one_wins(self, careless: Place) -> None:
        start = Barrier(8)

        def wins(number: int) -> bool:
            start.wait()
            with suppress(AlreadyThere):
                careless.store.put("x", b"%d" % number)
                return True
            return False

        with ThreadPoolExecutor(8) as threads:
            winners = [number for number, won in enumerate(threads.map(wins, range(8))) if won]
        assert winners == [int(careless.store.get("x"))]
        assert list(careless.store.leftovers()) == []

    def test_a_version_that_a_marker_hides_does_not_take_the_name(self, careless: Place) -> None:
        assert careless.hide
        careless.store.put("x", b"old")
        careless.hide("x")
        careless.store.put("x", b"new")
        assert careless.store.get("x") == b"new"

    def test_it_is_told_from_others_once(self, careless: Place, moto_endpoint: str) -> None:
        careful, plain = s3_place(moto_endpoint, versioned=True), s3_place(moto_endpoint, versioned=False)
        for place in (careless, careful, plain):
            for name in "xyz":
                place.store.put(name, b"1")
        kinds = [place.store._bucket_kind for place in (careless, careful, plain)]  # type: ignore[attr-defined]
        assert [kind and kind.name for kind in kinds] == ["CARELESS", "HEEDING", "PLAIN"]


class TestClients:
    def test_stores_of_one_configuration_share_a_client(self, server: Server) -> None:
        first, second = store_at(server.endpoint), store_at(server.endpoint, prefix="other", bucket="other")
        assert first._client is second._client
        assert S3Store("bucket", "", server.endpoint, "eu-west-1", *KEYS)._client is not first._client

    def test_none_is_made_before_it_is_needed(self, server: Server) -> None:
        before = len(s3._CLIENTS._clients)
        store_at(server.endpoint)
        assert len(s3._CLIENTS._clients) == before

    def test_a_forked_child_makes_its_own(self, store: S3Store, server: Server) -> None:
        store.put("x", b"from the parent")
        parents = store._client
        with s3._CLIENTS._lock:
            child = os.fork()
            if child == 0:
                os._exit(child_status(store, parents))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store._client is parents
        assert store.get("y") == b"from the child"


def child_status(store: S3Store, parents: object) -> int:
    """0 where the child has a client of its own that works, even if it was forked while another thread held the lock."""
    try:
        store.put("y", b"from the child")
        return 0 if store._client is not parents else 1
    except BaseException:  # noqa: BLE001
        return 2
