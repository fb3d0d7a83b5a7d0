"""What only a folder can get wrong: half written files, lost mounts, full disks, planted links, permissions, forgotten flushes."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backups.stores.contract import AlreadyThere, BadName, Missing, Store, StoreError, StoreRefused, StoreUnavailable
from backups.stores.folder import FolderStore

ALWAYS = datetime.now(UTC) + timedelta(days=1)
PROJECT = Path(__file__).parents[2]

PUTTING = """
import hashlib, os, sys
from pathlib import Path
from backups.stores.folder import FolderStore
store = FolderStore(Path(sys.argv[1]))
while True:
    data = os.urandom(16) * 100_000
    digest = hashlib.sha256(data).hexdigest()
    name = f"blobs/{digest[:2]}/{digest}"
    store.put(name, data)
    print(name, flush=True)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(root)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside the store, with a file that nobody may read or remove through the store."""
    path = tmp_path / "elsewhere"
    path.mkdir()
    (path / "secret").write_bytes(b"secret")
    return path


def put_until_killed(root: Path, seconds: float) -> list[str]:
    """The names that a process had put when it was killed in the middle of its work, `seconds` after its first put."""
    process = subprocess.Popen([sys.executable, "-c", PUTTING, str(root)], stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    assert process.stdout
    first = process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0]
    return (first + rest).split()


def assert_all_whole(store: FolderStore, put: list[str]) -> None:
    found = [entry.name for entry in store.list()]
    assert set(put) <= set(found)
    for name in found:
        assert hashlib.sha256(store.get(name)).hexdigest() == name.rpartition("/")[2]


def kill_repeatedly(store: FolderStore, times: int) -> None:
    chance = random.Random(times)
    put: list[str] = []
    for _ in range(times):
        put += put_until_killed(store.root, chance.uniform(0.0, 0.05))
        assert_all_whole(store, put)
    store.remove_leftovers("", ALWAYS)
    assert os.listdir(store.root / ".tmp") == []
    assert_all_whole(store, put)


class TestKilled:
    def test_a_killed_put_leaves_nothing_or_the_whole_object(self, store: FolderStore) -> None:
        kill_repeatedly(store, 4)

    @pytest.mark.slow
    def test_however_often(self, store: FolderStore) -> None:
        kill_repeatedly(store, 60)

    def test_a_writer_killed_before_it_dropped_its_temporary_file_has_put(self, store: FolderStore, root: Path) -> None:
        """The hard link is the moment: both names show the whole object, and sweeping one keeps the other."""
        store.put("a/x", b"whole")
        os.link(root / "a/x", root / ".tmp/a+x+0011223344556677")
        assert [leftover.name for leftover in store.leftovers()] == ["a/x"]
        assert store.remove_leftovers("a/", ALWAYS) == 1
        assert store.get("a/x") == b"whole"


class TestFlushing:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What happened, in order: each flush as `flush <path>`, each giving of a name as `link` or `rename`."""
        happened: list[str] = []
        flush, link, rename = os.fsync, os.link, os.rename

        def noting(word: str, act: Any) -> Any:
            def noted(*args: Any, **more: Any) -> Any:
                happened.append(word)
                return act(*args, **more)

            return noted

        def flushing(file: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{file}"))
            happened.append(f"flush {path.parent.name if path.parent.name == '.tmp' else path.name}")
            flush(file)

        monkeypatch.setattr(os, "fsync", flushing)
        monkeypatch.setattr(os, "link", noting("link", link))
        monkeypatch.setattr(os, "rename", noting("rename", rename))
        return happened

    def test_every_new_folder_and_the_file_before_its_name_and_its_own_folder_after(self, store: FolderStore, calls: list[str]) -> None:
        store.put("a/b/x", b"1")
        assert calls == ["flush store", "flush a", "flush .tmp", "link", "flush b"]

    def test_a_known_folder_is_not_flushed_above_again(self, store: FolderStore, calls: list[str]) -> None:
        store.put("a/b/x", b"1")
        calls.clear()
        store.put("a/b/y", b"1")
        assert calls == ["flush .tmp", "link", "flush b"]

    def test_folders_that_another_process_made_are_flushed(self, store: FolderStore, root: Path, calls: list[str]) -> None:
        (root / "a/b").mkdir(parents=True)
        store.put("a/b/x", b"1")
        assert calls == ["flush store", "flush a", "flush .tmp", "link", "flush b"]

    def test_what_is_already_there_is_flushed_too(self, store: FolderStore, root: Path, calls: list[str]) -> None:
        (root / "a").mkdir()
        (root / "a/x").write_bytes(b"by a writer that was killed before its flush")
        with pytest.raises(AlreadyThere):
            store.put("a/x", b"1")
        assert calls == ["flush store", "flush a"]

    def test_putting_back_and_removing(self, store: FolderStore, calls: list[str]) -> None:
        store.put("x", b"1")
        calls.clear()
        store.put_back("x", b"1", hashlib.sha256(b"1").hexdigest())
        assert calls == ["flush .tmp", "rename", "flush store"]
        calls.clear()
        store.remove("x")
        assert calls == ["flush store"]

    def test_removing_leftovers(self, store: FolderStore, root: Path, calls: list[str]) -> None:
        (root / ".tmp").mkdir()
        (root / ".tmp/x+0011").write_bytes(b"half")
        store.remove_leftovers("", ALWAYS)
        assert calls == ["flush .tmp"]


class TestRoot:
    def test_a_missing_root_is_unavailable_and_never_made(self, tmp_path: Path) -> None:
        store = FolderStore(tmp_path / "not mounted")
        for act in (
            lambda: store.put("x", b"1"),
            lambda: store.put_back("x", b"1", hashlib.sha256(b"1").hexdigest()),
            lambda: store.get("x"),
            lambda: store.exists("x"),
            lambda: store.remove("x"),
            lambda: list(store.list()),
            lambda: list(store.leftovers()),
            lambda: store.remove_leftovers("", ALWAYS),
            store.check,
        ):
            with pytest.raises(StoreUnavailable, match="mount it"):
                act()
        assert not store.root.exists()

    def test_a_root_that_goes_and_comes_is_used_again(self, store: FolderStore, root: Path) -> None:
        store.put("x", b"1")
        root.rename(root.with_name("away"))
        with pytest.raises(StoreUnavailable):
            store.get("x")
        root.with_name("away").rename(root)
        assert store.get("x") == b"1"

    def test_a_root_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StoreRefused, match="not a folder"):
            FolderStore(tmp_path / "file").check()

    def test_a_relative_root_is_refused(self) -> None:
        with pytest.raises(StoreRefused, match="absolute"):
            FolderStore(Path("somewhere"))

    def test_the_root_itself_may_be_a_link(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(root)
        FolderStore(tmp_path / "link").put("a/x", b"1")
        assert (root / "a/x").read_bytes() == b"1"

    def test_what_others_put_there_is_neither_shown_nor_in_the_way(self, store: FolderStore, root: Path) -> None:
        (root / "lost+found").mkdir()
        (root / ".snapshot").mkdir()
        (root / "with space").write_bytes(b"")
        os.mkfifo(root / "pipe")
        store.put("x", b"1")
        assert [entry.name for entry in store.list()] == ["x"]
        with pytest.raises(Missing):
            store.get("pipe")


class TestTrouble:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM, errno.EFBIG])
    def test_what_a_person_must_mend_is_refused(self, store: FolderStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.assert_put_fails(store, monkeypatch, number, StoreRefused)

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ENODEV, errno.EMFILE])
    def test_what_may_pass_is_unavailable(self, store: FolderStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.assert_put_fails(store, monkeypatch, number, StoreUnavailable)

    def assert_put_fails(self, store: FolderStore, patch: pytest.MonkeyPatch, number: int, kind: type[StoreError]) -> None:
        written: list[int] = []
        write = os.write

        def fail_half_way(file: int, data: bytes) -> int:
            if written:
                raise OSError(number, os.strerror(number))
            written.append(write(file, data[: len(data) // 2]))
            return written[0]

        with patch.context() as failing:
            failing.setattr(os, "write", fail_half_way)
            with pytest.raises(kind, match="a/x"):
                store.put("a/x", b"12345678")
        assert not store.exists("a/x")
        assert list(store.leftovers()) == []
        store.put("a/x", b"12345678")

    def test_a_file_that_the_system_cuts_short_is_no_object(self, store: FolderStore, root: Path) -> None:
        """The kernel itself writes half and refuses the rest, as on a full disk."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            with pytest.raises(StoreRefused, match="raise the limit"):
                store.put("a/x", bytes(1_500_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(store.list()) == list(store.leftovers()) == []
        assert os.listdir(root / ".tmp") == []

    @pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
    def test_a_file_system_without_hard_links_is_refused(self, store: FolderStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        def no_link(*args: Any, **more: Any) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "link", no_link)
        with pytest.raises(StoreRefused, match="hard links"):
            store.check()
        assert list(store.list()) == list(store.leftovers()) == []

    def test_a_failing_read_is_unavailable(self, store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any) -> None:
            raise OSError(errno.EIO, "Input/output error")

        store.put("x", b"1")
        monkeypatch.setattr(os, "posix_fadvise", fail)
        with pytest.raises(StoreUnavailable, match="Input/output"):
            store.get("x")


class TestLinks:
    def test_a_linked_folder_is_never_followed(self, store: FolderStore, root: Path, elsewhere: Path) -> None:
        (root / "customers").symlink_to(elsewhere)
        for act in (
            lambda: store.put("customers/new", b"1"),
            lambda: store.put_back("customers/secret", b"1", hashlib.sha256(b"1").hexdigest()),
            lambda: store.get("customers/secret"),
            lambda: store.read("customers/secret", 0, 1),
            lambda: store.exists("customers/secret"),
            lambda: store.remove("customers/secret"),
            lambda: list(store.list("customers/")),
        ):
            with pytest.raises(StoreRefused, match="symbolic link"):
                act()
        assert list(store.list()) == []
        assert [path.name for path in elsewhere.iterdir()] == ["secret"]
        assert (elsewhere / "secret").read_bytes() == b"secret"

    def test_a_linked_file_is_never_followed(self, store: FolderStore, root: Path, elsewhere: Path) -> None:
        (root / "x").symlink_to(elsewhere / "secret")
        (root / "dangling").symlink_to(elsewhere / "new")
        for act in (lambda: store.get("x"), lambda: store.put("x", b"1"), lambda: store.put("dangling", b"1"), lambda: store.exists("x")):
            with pytest.raises(StoreRefused, match="symbolic link"):
                act()
        assert list(store.list()) == []
        store.remove("x")
        store.put_back("dangling", b"1", hashlib.sha256(b"1").hexdigest())
        assert not (root / "x").is_symlink()
        assert store.get("dangling") == b"1"
        assert [path.name for path in elsewhere.iterdir()] == ["secret"]

    def test_a_linked_hidden_folder_is_refused(self, store: FolderStore, root: Path, elsewhere: Path) -> None:
        (root / ".tmp").symlink_to(elsewhere)
        with pytest.raises(StoreRefused, match="symbolic link"):
            store.put("x", b"1")
        assert [path.name for path in elsewhere.iterdir()] == ["secret"]


class TestFolders:
    def test_files_and_folders_are_for_the_owner_alone(self, store: FolderStore, root: Path) -> None:
        before = os.umask(0)
        try:
            store.put("a/b/x", b"1")
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
        assert modes == {"a": 0o700, "b": 0o700, "x": 0o600, ".tmp": 0o700}

    def test_no_name_is_the_folder_of_another(self, store: FolderStore) -> None:
        store.put("a/b", b"1")
        digest = hashlib.sha256(b"1").hexdigest()
        for name in ("a", "a/b/c", "a/b/c/d"):
            with pytest.raises(BadName, match="folder of another"):
                store.put(name, b"1")
            with pytest.raises(BadName, match="folder of another"):
                store.put_back(name, b"1", digest)
        assert [entry.name for entry in store.list()] == ["a/b"]
        assert list(store.leftovers()) == []

    def test_folders_that_became_empty_go_with_their_last_object(self, store: FolderStore, root: Path) -> None:
        store.put("a/b/c/x", b"1")
        store.put("a/y", b"1")
        store.remove("a/b/c/x")
        assert os.listdir(root / "a") == ["y"]
        store.remove("a/y")
        assert os.listdir(root) == [".tmp"]

    def test_a_second_removal_takes_the_folders_that_a_killed_one_left(self, store: FolderStore, root: Path) -> None:
        (root / "a/b").mkdir(parents=True)
        store.remove("a/b/x")
        assert os.listdir(root) == []

    def test_puts_survive_removals_that_take_their_folders_away(self, root: Path) -> None:
        """Two stores, as in two processes: each knows nothing of what the other removes."""

        def come_and_go(number: int) -> None:
            store: Store = FolderStore(root)
            for _ in range(100):
                store.put(f"a/b/c/{number}", b"1")
                store.remove(f"a/b/c/{number}")

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(come_and_go, range(4)))
        assert os.listdir(root) == [".tmp"]

    def test_removing_drops_the_temporary_files_of_that_name_alone(self, store: FolderStore, root: Path) -> None:
        (root / ".tmp").mkdir()
        for file in ("a+x+0011", "a+x+2233", "a+x0+4455", "a+x+y+6677"):
            (root / ".tmp" / file).write_bytes(b"half")
        store.remove("a/x")
        assert sorted(os.listdir(root / ".tmp")) == ["a+x+y+6677", "a+x0+4455"]

    def test_what_others_put_into_the_hidden_folder_is_neither_shown_nor_swept(self, store: FolderStore, root: Path) -> None:
        (root / ".tmp").mkdir()
        for file in ("notes.txt", ".nfs0001", "a b+0011"):
            (root / ".tmp" / file).write_bytes(b"")
        assert list(store.leftovers()) == []
        assert store.remove_leftovers("", ALWAYS) == 0


@pytest.fixture
def many(root: Path) -> int:
    """How many names there are in a store of 60 folders."""
    for folder in range(60):
        (root / f"{folder:03}").mkdir()
        for file in range(60):
            (root / f"{folder:03}" / f"{file:060}").touch()
    return 3_600


def test_listing_holds_the_names_of_one_folder_in_memory(store: FolderStore, many: int) -> None:
    tracemalloc.start()
    try:
        assert sum(1 for _ in store.list()) == many
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * many  # a name of 64 bytes takes well over 100 in memory
