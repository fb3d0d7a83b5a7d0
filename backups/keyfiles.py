"""The key files of this installation, mode 0600, and the recovery kit (design section 5).

`master.age` opens every customer's wrapped key; `signing.key` signs sets; `escrow.recipient` is the public half of a second master key that
stands only in the recovery kit. `ring.json` says which wrapping is in force and for whom customers' keys are wrapped: it is replaced whole,
and with that alone another master or recipient is in force (`backups/keys/switching.py`). A former master stays beside it, as
`master.retired-<date>.age`, until no location needs it. Losing the machine loses none of them as long as the kit is kept elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyrage
from pyrage.x25519 import Identity, Recipient

from audit.durability import flush
from audit.signing import Signer, new_secret
from backups.errors import KeysMissing

KIT, RING, MASTER, ESCROW = "recovery-kit.txt", "ring.json", "master.age", "escrow.recipient"
# What the first recipient beside the online master is called: its secret half stands in the first kit alone.
FIRST_RECIPIENT = "escrow"
# Another recipient's name is one word.
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")

_KIT_TEXT = """RECOVERY KIT of the L2L back office, made {made}
Print this page or store it in a vault, in two places away from this machine, then delete this file.
Without one of the two keys below nobody can open a backup if this machine is lost. Whoever has one can open all of them.

Master key (online; also in {folder}/master.age)
{master}

Escrow key (stands nowhere else)
{escrow}

Signing key (also in {folder}/signing.key)
{signing}

Signing key's fingerprint: trust backups and certificates signed by this one only
{fingerprint}
"""


@dataclass(frozen=True)
class KeyRing:
    """The master keys in use: wraps customers' keys for all who must be able to open them, opens them with the online one.

    `escrow` is the first recipient beside the online master, `further` the others as (name, `age1...`). `wrapping` numbers who they are: it
    is in the names of the keys that are wrapped for them. `retired` masters open what is not wrapped anew everywhere yet.
    """

    master: Identity
    escrow: Recipient
    further: tuple[tuple[str, str], ...] = ()
    wrapping: int = 1
    retired: tuple[Identity, ...] = field(default=(), repr=False)

    def now(self) -> KeyRing:
        """What is in force at this moment, which does not change under whoever holds it."""
        return self

    @property
    def recipients(self) -> list[str]:
        """The public halves of all who can open what is wrapped now, each once."""
        return list(dict.fromkeys((str(self.master.to_public()), str(self.escrow), *(recipient for _, recipient in self.further))))

    def wrap(self, identity: Identity) -> bytes:
        return pyrage.encrypt(str(identity).encode(), [Recipient.from_str(text) for text in self.recipients])

    def unwrap(self, wrapped: bytes) -> str:
        """The text of a customer's age identity; `KeysMissing` when no master key that is here opens it."""
        try:
            return pyrage.decrypt(wrapped, [self.master, *self.retired]).decode()
        except pyrage.DecryptError as problem:
            raise KeysMissing(
                f"The master key of this installation does not open a customer's key ({problem}). Use the key in the recovery kit."
            ) from None


class FileRing(KeyRing):
    """The ring that the key files hold, read again whenever they were changed: a rotation is noticed by every process that works.

    Files that vanish while it is held stop nothing: it goes on with what it read.
    """

    _folder: Path
    _seen: tuple[tuple[int, int, int] | None, ...]
    _ring: KeyRing

    def __init__(self, folder: Path) -> None:
        object.__setattr__(self, "_folder", folder)
        object.__setattr__(self, "_seen", _look_of(folder))
        object.__setattr__(self, "_ring", _read_ring(folder))

    def now(self) -> KeyRing:
        seen = _look_of(self._folder)
        if seen != self._seen and None not in seen:
            object.__setattr__(self, "_ring", _read_ring(self._folder))
            object.__setattr__(self, "_seen", seen)
        return self._ring

    def __getattribute__(self, name: str) -> Any:
        return getattr(self.now(), name) if name in _OF_THE_RING else object.__getattribute__(self, name)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"FileRing({self._folder})"


_OF_THE_RING = frozenset({"master", "escrow", "further", "wrapping", "retired", "recipients", "wrap", "unwrap"})


@dataclass(frozen=True, slots=True)
class RingFile:
    """What `ring.json` says, without any secret: the wrapping in force, the public half of the online master, the recipients beside it as
    (name, `age1...`), the escrow first, and which request it was that asked for it (None for the first)."""

    wrapping: int
    online: str
    recipients: tuple[tuple[str, str], ...]
    request: int | None = None

    def text(self) -> str:
        document = {"wrapping": self.wrapping, "online": self.online, "recipients": self.recipients, "request": self.request}
        return json.dumps(document, indent=2)


def make_key_files(folder: Path, made: str) -> bool:
    """Makes what is missing; returns whether a new kit was written. Never replaces a key."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_once(folder / "django-secret-key", secrets.token_urlsafe(50))
    if any(folder.glob("master*.age")):
        _complete(folder)
        return False
    if (folder / RING).exists():
        raise KeysMissing(
            f"{folder} is a complete key folder whose online master key is gone. Nothing was made anew: it would open nothing. Put "
            "master.age back from the recovery kit, or give every key a new master: 'manage.py keys replace-master'."
        )
    master, escrow, signing = Identity.generate(), Identity.generate(), new_secret()
    signer = Signer(signing)
    kit = _KIT_TEXT.format(made=made, folder=folder, master=master, escrow=escrow, signing=signing.hex(), fingerprint=signer.fingerprint)
    # The kit first and the master key last but for what says that all are there: a run cut short in between is repeated whole.
    for name, text in ((KIT, kit), ("escrow.recipient", str(escrow.to_public())), ("signing.key", signing.hex())):
        (folder / name).unlink(missing_ok=True)
        write_once(folder / name, text)
    write_once(folder / "master.age", str(master))
    _complete(folder)
    return True


def _complete(folder: Path) -> None:
    """Says that the folder has been complete: from now on a master key that is not there was lost, and is not made anew."""
    if not (folder / RING).exists():
        write_once(folder / RING, ring_file(folder).text())


def replace_file(path: Path, text: str) -> None:
    """The text whole or what stood there, readable by the owner alone."""
    temporary = _written_beside(path, text)
    temporary.rename(path)
    flush(path.parent)


def write_once(path: Path, text: str) -> None:
    """Whole or not at all, readable by the owner alone. What stands there stays."""
    if path.exists():
        return
    replace_file(path, text)


def _written_beside(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text.rstrip("\n") + "\n")
        file.flush()
        os.fsync(file.fileno())  # a key that was used must not vanish in a power cut
    return temporary


def key_ring(folder: Path) -> KeyRing:
    """The master keys from their files, read again whenever those change; `KeysMissing` says what to do."""
    return FileRing(folder)


def _read_ring(folder: Path) -> KeyRing:
    try:
        masters = [Identity.from_str(read_key_file(path)) for path in _master_files(folder)]
        Recipient.from_str(read_key_file(folder / ESCROW))
        said = ring_file(folder)
        escrow, *further = said.recipients
        online = [one for one in masters if str(one.to_public()) == said.online]
        if not online:
            raise KeysMissing(
                f"{folder}/master.age is not the master key in force (wrapping {said.wrapping}). Put back the one from the newest recovery "
                "kit, or give every key a new master: 'manage.py keys replace-master'."
            )
        retired = tuple(one for one in masters if str(one.to_public()) != said.online)
        return KeyRing(online[0], Recipient.from_str(escrow[1]), tuple(further), said.wrapping, retired)
    except (pyrage.IdentityError, pyrage.RecipientError, UnicodeDecodeError) as problem:
        raise KeysMissing(f"A key file in {folder} cannot be read as a key ({problem}). Put back the one from the recovery kit.") from None


def ring_file(folder: Path) -> RingFile:
    """What `ring.json` says; where it is not there, the first ring, of `master.age` and `escrow.recipient`. Raises `KeysMissing`."""
    if not (folder / RING).exists():
        try:
            online = str(Identity.from_str(read_key_file(folder / MASTER)).to_public())
            return RingFile(1, online, ((FIRST_RECIPIENT, str(Recipient.from_str(read_key_file(folder / ESCROW)))),))
        except (pyrage.IdentityError, pyrage.RecipientError, UnicodeDecodeError) as problem:
            raise KeysMissing(f"A key file in {folder} cannot be read as a key ({problem}). Put it back from the recovery kit.") from None
    try:
        return _ring_of(json.loads(read_key_file(folder / RING)))
    except (ValueError, KeyError, TypeError) as problem:
        raise KeysMissing(
            f"{folder}/{RING} cannot be read ({type(problem).__name__}). Put it back: 'manage.py keys list' shows what it said."
        ) from None


def _ring_of(document: Mapping[str, Any]) -> RingFile:
    recipients = tuple((str(name), str(recipient)) for name, recipient in document["recipients"])
    if not recipients:
        raise ValueError
    return RingFile(int(document["wrapping"]), str(document["online"]), recipients, document.get("request"))


def _master_files(folder: Path) -> list[Path]:
    """Every file with a master key, the one in use first; where there is none, the name of the one that is missing."""
    return sorted(folder.glob("master*.age")) or [folder / MASTER]


def retired_masters(folder: Path) -> list[Path]:
    """The files of masters that are in force no more."""
    return sorted(folder.glob("master.retired-*.age"))


def _look_of(folder: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """Changes whenever a key file does; None for one that is not there."""
    return tuple(_stamp(folder / name) for name in (RING, MASTER))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def signer(folder: Path) -> Signer:
    """The signing key from its file; `KeysMissing` says what to do."""
    try:
        return Signer(signing_secret(folder))
    except ValueError as problem:
        raise KeysMissing(f"{folder}/signing.key is damaged ({problem}). Put back the one from the recovery kit.") from None


def signing_secret(folder: Path) -> bytes:
    """As the recovery kit has it. `ValueError` for what is no hexadecimal."""
    return bytes.fromhex(read_key_file(folder / "signing.key"))


def read_key_file(path: Path) -> str:
    """Its text, without the line's end. `KeysMissing` when it is not there, or others can read it."""
    if not path.exists():
        raise KeysMissing(f"{path} is missing. On a new installation run 'manage.py init'; else put it back from the recovery kit.")
    if path.stat().st_mode & 0o077:
        raise KeysMissing(f"{path} can be read by others. Make it yours alone: chmod 600 {path}")
    return path.read_text().strip()
