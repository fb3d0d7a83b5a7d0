"""Names that every file system, archive program and checksum list takes, one for each name that a customer ever gave (pure; P10).

A customer's name for a file may be anything that a database holds: `../x`, one with a line break, `CON`, one of 500 characters, two that
differ by case alone. What stands here instead is made of the same characters where that can be, and of `~` and two hexadecimal digits for
each byte of what cannot. It is not meant to be read back: whoever gives names out keeps a table of them.

`%` is never in such a name: BagIt writes it encoded into its lists, and `sha256sum -c` does not decode (bagit-python, issue 157, neither).
"""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import PurePosixPath

# Windows takes paths of 260 characters, its folder included; most file systems take 255 bytes between two slashes.
MOST_PART, MOST_PATH = 120, 180
_REFUSED = frozenset('~%<>:"\\|?*')
_DEVICES = frozenset(["CON", "PRN", "AUX", "NUL", *(f"{device}{number}" for device in ("COM", "LPT") for number in "123456789¹²³")])
_DIGEST, _SUFFIX = 16, 12


class SafeNames:
    """Gives out relative paths with `/`; no two are the same to a file system that forgets case or the form of accents, and none is a
    folder of another. About 400 bytes of memory a name."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, name: str, suffix: str = "") -> str:
        """The path that stands for `name` from now on, with `suffix` at its end; a name given again gets another one."""
        path = safe(name, suffix)
        attempt = 0
        while not self._take(path):
            path = _told_apart(name, attempt, suffix)
            attempt += 1
        return path

    def _take(self, path: str) -> bool:
        key = _key(path)
        folders = [str(parent) for parent in PurePosixPath(key).parents][:-1]
        if key in self._files or key in self._folders or any(folder in self._files for folder in folders):
            return False
        self._files.add(key)
        self._folders.update(folders)
        return True


def safe(name: str, suffix: str = "") -> str:
    """The path for one name by itself: the name and `suffix`, when nothing is wrong with them."""
    path = "/".join(_safe_part(part) for part in unicodedata.normalize("NFC", name + suffix).split("/"))
    return path if len(path.encode()) <= MOST_PATH else _shortened(path.rpartition("/")[2], name, suffix)


def _told_apart(name: str, attempt: int, suffix: str) -> str:
    """In no folder of its own, so that no file stands where its folder would be."""
    return _shortened(safe(name, suffix).rpartition("/")[2], f"{name}\0{attempt}" if attempt else name, suffix)


def _safe_part(part: str) -> str:
    if not part:
        return "~"
    kept = "".join(_escaped(one) if _is_refused(one) else one for one in part)
    if kept.partition(".")[0].rstrip(" ").upper() in _DEVICES or kept[0] in " .":
        kept = _escaped(kept[0]) + kept[1:]
    if kept[-1] in " .":
        kept = kept[:-1] + _escaped(kept[-1])
    return kept if len(kept.encode()) <= MOST_PART else _shortened(kept, part, "")


def _is_refused(one: str) -> bool:
    """Also what nobody sees: controls, formats (which turn the writing direction round), lone surrogates, spaces but the plain one."""
    category = unicodedata.category(one)
    return one in _REFUSED or category[0] == "C" or (category[0] == "Z" and one != " ")


def _escaped(text: str) -> str:
    return "".join(f"~{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _shortened(part: str, name: str, suffix: str) -> str:
    """The beginning of a safe part, a digest of the whole name, and the end by which computers know what it is."""
    end = suffix or _end_of(part)
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    room = MOST_PART - len(end.encode()) - _DIGEST - 1
    begun = part.removesuffix(end).encode()[:room].decode(errors="ignore").rstrip(" .")
    return f"{begun}~{digest}{end}"


def _end_of(part: str) -> str:
    end = PurePosixPath(part).suffix
    return end if len(end) <= _SUFFIX and end.isascii() and "~" not in end else ""


def _key(path: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
