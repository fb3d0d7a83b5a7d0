"""The key files of this installation, mode 0600, and the recovery kit (design section 5).

`master.age` opens every customer's wrapped key; `signing.key` signs sets; `escrow.recipient` is the public half of a second master key that
stands only in the recovery kit. Losing the machine loses none of them as long as the kit is kept elsewhere.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import pyrage
from pyrage.x25519 import Identity, Recipient

from audit.durability import flush
from audit.signing import Signer, new_secret
from backups.errors import KeysMissing

KIT = "recovery-kit.txt"

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


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The master keys in use: wraps customers' keys for both masters, opens them with the online one."""

    master: Identity
    escrow: Recipient

    def wrap(self, identity: Identity) -> bytes:
        return pyrage.encrypt(str(identity).encode(), [self.master.to_public(), self.escrow])

    def unwrap(self, wrapped: bytes) -> str:
        """The text of a customer's age identity; `KeysMissing` when the master key does not open it."""
        try:
            return pyrage.decrypt(wrapped, [self.master]).decode()
        except pyrage.DecryptError as problem:
            raise KeysMissing(
                f"The master key of this installation does not open a customer's key ({problem}). Use the key in the recovery kit."
            ) from None


def make_key_files(folder: Path, made: str) -> bool:
    """Makes what is missing; returns whether a new kit was written. Never replaces a key."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_once(folder / "django-secret-key", secrets.token_urlsafe(50))
    if (folder / "master.age").exists():
        return False
    master, escrow, signing = Identity.generate(), Identity.generate(), new_secret()
    signer = Signer(signing)
    kit = _KIT_TEXT.format(made=made, folder=folder, master=master, escrow=escrow, signing=signing.hex(), fingerprint=signer.fingerprint)
    # The kit first and the master key last: a run cut short in between is repeated whole.
    for name, text in ((KIT, kit), ("escrow.recipient", str(escrow.to_public())), ("signing.key", signing.hex())):
        (folder / name).unlink(missing_ok=True)
        write_once(folder / name, text)
    write_once(folder / "master.age", str(master))
    return True


def write_once(path: Path, text: str) -> None:
    """Whole or not at all, readable by the owner alone."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text.rstrip("\n") + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    flush(path.parent)  # a key that was used must not vanish in a power cut


def key_ring(folder: Path) -> KeyRing:
    """The master keys from their files; `KeysMissing` says what to do."""
    try:
        return KeyRing(Identity.from_str(_read(folder / "master.age")), Recipient.from_str(_read(folder / "escrow.recipient")))
    except (pyrage.IdentityError, pyrage.RecipientError, UnicodeDecodeError) as problem:
        raise KeysMissing(f"A key file in {folder} cannot be read as a key ({problem}). Put back the one from the recovery kit.") from None


def signer(folder: Path) -> Signer:
    """The signing key from its file; `KeysMissing` says what to do."""
    try:
        return Signer(bytes.fromhex(_read(folder / "signing.key")))
    except ValueError as problem:
        raise KeysMissing(f"{folder}/signing.key is damaged ({problem}). Put back the one from the recovery kit.") from None


def _read(path: Path) -> str:
    if not path.exists():
        raise KeysMissing(f"{path} is missing. On a new installation run 'manage.py init'; else put it back from the recovery kit.")
    if path.stat().st_mode & 0o077:
        raise KeysMissing(f"{path} can be read by others. Make it yours alone: chmod 600 {path}")
    return path.read_text().strip()
