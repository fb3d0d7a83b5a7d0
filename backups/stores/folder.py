"""A store in a folder of this machine or of a mounted file system.

An object is written whole to a hidden temporary file, flushed to disk, and only then gets its name by a hard link, which fails
where the name is taken: so there is never half an object and never an overwritten one, whoever is killed and when.

Every path is walked part by part from the root, without following symbolic links, so that nothing planted inside the root leads out.

The root is never made here: a root that is not there is a file system that is not mounted. For the same reason let the root be a
folder *inside* the mounted file system (`/mnt/disk/backups`, not `/mnt/disk`): the empty mount point would look like an empty store.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from backups.stores.contract import (
    AlreadyThere,
    BadName,
    Entry,
    Leftover,
    Missing,
    StillThere,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    checked_digest,
    checked_name,
    checked_part,
    checked_prefix,
    checked_size,
    is_name,
    probe,
)

_HIDDEN = ".tmp"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OBJECT_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a planted pipe must not hang us
_TEMPORARY_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES = 50
_MAX_REMEMBERED = 20_000

_ADVICE = {
    errno.ENOSPC: "no space is left: free some or enlarge the file system",
    errno.EDQUOT: "the quota is used up: raise it or free space",
    errno.EFBIG: "the file is larger than the file system or a limit of this process allows: raise the limit",
    errno.EACCES: "permission denied: give the folder and all in it to the user that runs this",
    errno.EPERM: "not permitted: give the folder and all in it to the user that runs this, and look for an immutable flag",
    errno.EROFS: "the file system is mounted read-only: look for its errors, then mount it for writing",
    errno.ENOTDIR: "a part of the path is not a folder: correct the location",
    errno.ENAMETOOLONG: "the path is too long for the file system: choose a shorter root",
    errno.EXDEV: "a folder inside is another file system: the whole store must be on one",
}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class _Temporary(NamedTuple):
    """A whole, flushed file in the hidden folder, waiting for its name."""

    hidden: int
    file: str


_Step = Callable[[int, str], int]
# (root, folder, name, data)
_Write = Callable[[int, int, str, bytes], None]


class FolderStore:
    """Objects as files below `root` (absolute; may itself be a symbolic link), files 0600, folders 0700."""

    def __init__(self, root: Path) -> None:
        if not root.is_absolute():
            raise StoreRefused(f"the folder {root} is not an absolute path: name it from / on")
        self.root = root
        self.url = root.as_uri()
        self._settled: set[tuple[int, int]] = set()

    def __repr__(self) -> str:
        return f"FolderStore({self.url!r})"

    def put(self, name: str, data: bytes) -> None:
        checked_size(checked_name(name), data)
        with self._opened(name) as root:
            try:
                self._place(root, name, data, self._link_new)
            except FileExistsError as taken:
                raise AlreadyThere(f"{name} is taken at {self.url}") from taken

    def put_back(self, name: str, data: bytes, sha256: str) -> None:
        checked_digest(checked_name(name), checked_size(name, data), sha256)
        with self._opened(name) as root:
            self._place(root, name, data, _replace)

    def get(self, name: str) -> bytes:
        with self._reading(name) as file:
            return _bytes(file, os.fstat(file).st_size)

    def read(self, name: str, start: int, length: int) -> bytes:
        checked_part(name, start, length)
        with self._reading(name) as file:
            os.lseek(file, start, os.SEEK_SET)
            return _bytes(file, max(0, min(length, os.fstat(file).st_size - start)))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return self._entries(checked_prefix(prefix))

    def exists(self, name: str) -> bool:
        with self._opened(checked_name(name)) as root:
            return _is_object(_looked_at(root, name))

    def remove(self, name: str) -> None:
        with self._opened(checked_name(name)) as root:
            for leftover in _temporaries(root):
                if leftover.name == name:
                    _drop_temporary(root, leftover.ident)
            self._unlink(root, name)
            if _is_object(_looked_at(root, name)):
                raise StillThere(f"{name} is still at {self.url} after its removal: somebody puts it there at the same time")

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        return self._hidden_below(checked_prefix(prefix))

    def remove_leftovers(self, prefix: str, older_than: datetime) -> int:
        old = (leftover for leftover in self.leftovers(prefix) if leftover.since < older_than)
        with self._opened(_HIDDEN) as root:
            return sum(_drop_temporary(root, leftover.ident) for leftover in old)

    def check(self) -> None:
        probe(self)

    def now(self) -> datetime:
        """The time that the file system gives a new file: of a network share, its server's."""
        with self._opened(_HIDDEN) as root, _temporary(root, "now", b"now") as temporary:
            return datetime.fromtimestamp(os.stat(temporary.file, dir_fd=temporary.hidden).st_mtime, UTC)

    @contextmanager
    def _opened(self, what: str) -> Iterator[int]:
        """A descriptor of the root; inside, whatever the system answers becomes an error of the contract about `what`."""
        root = self._root()
        try:
            yield root
        except OSError as error:
            raise self._failure(error, what) from error
        finally:
            os.close(root)

    def _root(self) -> int:
        try:
            return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise StoreUnavailable(f"{self.url} is not there: mount it (or, for a new location, make the folder)") from error
        except OSError as error:
            raise self._failure(error, "its root") from error

    def _failure(self, error: OSError, what: str) -> StoreError:
        advice = _ADVICE.get(error.errno or 0)
        if advice:
            return StoreRefused(f"{self.url} refused {what}: {advice}")
        return StoreUnavailable(
            f"{self.url} failed at {what} ({error.strerror or error}): look at its disk and mount; trying again later is right"
        )

    @contextmanager
    def _reading(self, name: str) -> Iterator[int]:
        """A descriptor of the object itself, past the page cache where the system lets us: damage on the disk must show."""
        *folders, last = checked_name(name).split("/")
        with self._opened(name) as root:
            try:
                with _entered(root, folders, _open_folder) as folder:
                    file = _open_object(folder, last)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise Missing(f"{name} is not at {self.url}") from error
            with _closing(file):
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                yield file

    def _place(self, root: int, name: str, data: bytes, write: _Write) -> None:
        """The object in its folder, by `write`, and the folder flushed; again while removals of neighbours take the empty folder away."""
        for _ in range(_TRIES):
            with suppress(FileNotFoundError), self._made(root, name) as folder:
                try:
                    write(root, folder, name, data)
                finally:
                    os.fsync(folder)
                return
        raise StoreUnavailable(
            f"{name} lost its folder or its temporary file at {self.url} each time: something removes them; try again later"
        )

    def _link_new(self, root: int, folder: int, name: str, data: bytes) -> None:
        """`FileExistsError` where the object is there; the caller flushes its folder, for whoever put it may have been killed before."""
        last = name.rpartition("/")[2]
        with suppress(FileNotFoundError):
            found = os.stat(last, dir_fd=folder, follow_symlinks=False)
            _refuse_link(found, last)
            if stat.S_ISDIR(found.st_mode):
                raise BadName(f"{name} is a folder at {self.url}: no name is the folder of another")
            raise FileExistsError(errno.EEXIST, "taken", name)
        with _temporary(root, name, data) as temporary:
            _link(temporary, folder, last)

    @contextmanager
    def _made(self, root: int, name: str) -> Iterator[int]:
        """A descriptor of the folder that `name` belongs in, made with all above it."""
        try:
            with _entered(root, name.split("/")[:-1], self._make_folder) as folder:
                yield folder
        except (NotADirectoryError, IsADirectoryError) as error:
            raise BadName(f"{name} has an object in its way at {self.url}, or is a folder: no name is the folder of another") from error

    def _make_folder(self, above: int, part: str) -> int:
        """A descriptor of the folder `part`, made where it is missing, and its entry on disk for good."""
        folder, made = _opened_or_made(above, part)
        try:
            self._settle(above, _identity(folder), made)
        except BaseException:
            os.close(folder)
            raise
        return folder

    def _settle(self, above: int, folder: tuple[int, int], made: bool) -> None:
        """Flush `above` unless this process did so since `folder` was made: another process may have made it and not flushed yet."""
        if not made and folder in self._settled:
            return
        os.fsync(above)
        if len(self._settled) >= _MAX_REMEMBERED:
            self._settled.clear()
        self._settled.add(folder)

    def _unlink(self, root: int, name: str) -> None:
        *folders, last = name.split("/")
        with suppress(FileNotFoundError, NotADirectoryError), _walked(root, folders, _open_folder) as path:
            with suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(last, dir_fd=path[-1])
            os.fsync(path[-1])
            self._drop_empty(path, folders)

    def _drop_empty(self, path: Sequence[int], folders: Sequence[str]) -> None:
        """Remove the folders on `path` from the innermost out, up to the first that holds something."""
        for above, folder, part in zip(path[-2::-1], path[:0:-1], reversed(folders), strict=True):
            try:
                os.rmdir(part, dir_fd=above)
            except OSError:
                return
            self._settled.discard(_identity(folder))

    def _entries(self, prefix: str) -> Iterator[Entry]:
        nothing_there = suppress(FileNotFoundError, NotADirectoryError)
        folders = prefix.split("/")[:-1]
        with self._opened(prefix or "the listing") as root, nothing_there, _entered(root, folders, _open_folder) as folder:
            yield from _listed(folder, prefix)

    def _hidden_below(self, prefix: str) -> Iterator[Leftover]:
        with self._opened(_HIDDEN) as root:
            yield from (leftover for leftover in _temporaries(root) if leftover.name.startswith(prefix))


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _walked(root: int, folders: Sequence[str], step: _Step) -> Iterator[Sequence[int]]:
    """Descriptors of `root` and of each of `folders` below it, opened by `step(above, part)`."""
    path = [root]
    with ExitStack() as opened:
        for part in folders:
            path.append(opened.enter_context(_closing(step(path[-1], part))))
        yield path


@contextmanager
def _entered(root: int, folders: Sequence[str], step: _Step) -> Iterator[int]:
    """A descriptor of the innermost of `folders`, as `_walked` comes to it; those on the way are closed at once."""
    folder = root
    try:
        for part in folders:
            above = folder
            folder = step(above, part)
            if above != root:
                os.close(above)
        yield folder
    finally:
        if folder != root:
            os.close(folder)


def _open_folder(above: int, part: str) -> int:
    try:
        return os.open(part, _FOLDER_FLAGS, dir_fd=above)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            _refuse_link(os.stat(part, dir_fd=above, follow_symlinks=False), part)
        raise


def _opened_or_made(above: int, part: str) -> tuple[int, bool]:
    """A descriptor of the folder `part`, and whether it was made now; mostly it is there already, so that is tried first."""
    with suppress(FileNotFoundError):
        return _open_folder(above, part), False
    made = False
    with suppress(FileExistsError):
        os.mkdir(part, 0o700, dir_fd=above)
        made = True
    return _open_folder(above, part), made


def _open_object(folder: int, last: str) -> int:
    """A descriptor of a regular file; `FileNotFoundError` for anything that cannot be an object."""
    found = os.stat(last, dir_fd=folder, follow_symlinks=False)
    _refuse_link(found, last)
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(errno.ENOENT, "not an object", last)
    return os.open(last, _OBJECT_FLAGS, dir_fd=folder)


def _refuse_link(found: os.stat_result, part: str) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise StoreRefused(f"{part} is a symbolic link, which a store never follows: find out who made it, then remove it")


def _looked_at(root: int, name: str) -> os.stat_result | None:
    """What is under `name` now, None where nothing is; a symbolic link is `StoreRefused`."""
    *folders, last = name.split("/")
    try:
        with _entered(root, folders, _open_folder) as folder:
            found = os.stat(last, dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    _refuse_link(found, last)
    return found


def _is_object(found: os.stat_result | None) -> bool:
    return found is not None and stat.S_ISREG(found.st_mode)


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _link(temporary: _Temporary, folder: int, last: str) -> None:
    try:
        os.link(temporary.file, last, src_dir_fd=temporary.hidden, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_HARD_LINKS:
            raise StoreRefused(f"{last} cannot be linked ({error.strerror}): choose a file system with hard links") from error
        raise


def _replace(root: int, folder: int, name: str, data: bytes) -> None:
    with _temporary(root, name, data) as temporary:
        os.rename(temporary.file, name.rpartition("/")[2], src_dir_fd=temporary.hidden, dst_dir_fd=folder)


def _bytes(file: int, length: int) -> bytes:
    with open(file, "rb", closefd=False) as raw:
        return raw.read(length)


@contextmanager
def _temporary(root: int, name: str, data: bytes) -> Iterator[_Temporary]:
    """`data` on disk for good in the hidden folder, under a name that tells whose it is; gone when the block ends."""
    with _closing(_opened_or_made(root, _HIDDEN)[0]) as hidden:
        file = f"{name.replace('/', '+')}+{secrets.token_hex(8)}"
        try:
            _write(hidden, file, data)
            yield _Temporary(hidden, file)
        finally:
            with suppress(OSError):
                os.unlink(file, dir_fd=hidden)


def _write(folder: int, file: str, data: bytes) -> None:
    with _closing(os.open(file, _TEMPORARY_FLAGS, 0o600, dir_fd=folder)) as descriptor:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)


def _temporaries(root: int) -> Iterator[Leftover]:
    try:
        hidden = _open_folder(root, _HIDDEN)
    except FileNotFoundError:
        return
    with _closing(hidden):
        for file in sorted(os.listdir(hidden)):  # noqa: PTH208 - a descriptor, not a path
            name = file.rpartition("+")[0].replace("+", "/")
            with suppress(FileNotFoundError):
                since = datetime.fromtimestamp(os.stat(file, dir_fd=hidden, follow_symlinks=False).st_mtime, UTC)
                if is_name(name):
                    yield Leftover(name, "temporary", since, file)


def _drop_temporary(root: int, file: str) -> bool:
    """Whether it was there; the hidden folder is flushed, for what a customer left must not come back after a crash."""
    with _closing(_open_folder(root, _HIDDEN)) as hidden:
        try:
            os.unlink(file, dir_fd=hidden)
        except FileNotFoundError:
            return False
        os.fsync(hidden)
        return True


def _listed(folder: int, prefix: str) -> Iterator[Entry]:
    """Every object below `folder` in the order of whole names; holds the names of one folder per level in memory."""
    for key in _keys(folder):
        if key.endswith("/"):
            with suppress(FileNotFoundError, NotADirectoryError), _closing(_open_folder(folder, key[:-1])) as below:
                yield from _listed(below, prefix + key)
        else:
            with suppress(FileNotFoundError):
                yield Entry(prefix + key, os.stat(key, dir_fd=folder, follow_symlinks=False).st_size)


def _keys(folder: int) -> Sequence[str]:
    """What may be (part of) a name in `folder`, sorted as in whole names: a folder counts with its `/`, so `a-b` comes before `a/b`."""
    with os.scandir(folder) as entries:
        return sorted(key for entry in entries if is_name(entry.name) and (key := _key(entry)))


def _key(entry: os.DirEntry[str]) -> str:
    if entry.is_dir(follow_symlinks=False):
        return f"{entry.name}/"
    return entry.name if entry.is_file(follow_symlinks=False) else ""
