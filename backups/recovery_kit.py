"""The recovery kit: the page that stands away from this machine, from which everything can be opened again (design section 5).

`keyfiles` writes it; here it is read, people's copies of it too: typed, with other white space, or with one
of the two master keys left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pyrage
from pyrage.x25519 import Identity, Recipient

from audit.signing import Signer
from backups import keyfiles
from backups.errors import KeysMissing
from backups.keyfiles import FIRST_RECIPIENT, RingFile

MASTER, ESCROW, SIGNING, FINGERPRINT = "Master key", "Escrow key", "Signing key", "Signing key's fingerprint"
RING = "Key ring"
_RING = re.compile(r"wrapping (\d+):((?: [a-z][a-z0-9-]*=age1[a-z0-9]+)+)")

_TEXT = """RECOVERY KIT of the L2L back office, made {made} for wrapping {wrapping} of the customers' keys
Print this page or store it in a vault, in two places away from this machine, then delete this file.
Whoever has a master key or an escrow key can open every backup; without one of them nobody can.
The master key of an earlier kit is in force no more: strike it out there. Keep an earlier kit's escrow key while it is named below.

Master key (online; also in the key folder as master.age)
{master}

{escrow}

Key ring (for whom keys are wrapped beside the master key, by their public halves)
{ring}

Signing key (also in the key folder as signing.key)
{signing}

Signing key's fingerprint: trust backups and certificates signed by this one only
{fingerprint}
"""
_WITH_ESCROW = "Escrow key (given for this kit; it stands nowhere on the machine)\n{}"
_WITHOUT_ESCROW = (
    "The secret half of the escrow key is not in this kit, for this machine does not have it: it stands in the first kit,\n"
    "or where its holder keeps it. Keep that beside this page; its public half is in the line below."
)


@dataclass(frozen=True, slots=True)
class Kit:
    """`opens` are the master keys that the kit has, the online one first: one is enough. `escrow` is the escrow key, None when the kit
    lacks it; `signing` 32 bytes; `fingerprint` of the signing key, 64 hex digits: the only signer to be trusted. `ring` is the wrapping and
    for whom it is (None: for the two keys of a first kit)."""

    opens: tuple[Identity, ...]
    escrow: Identity | None
    signing: bytes
    fingerprint: str
    ring: tuple[int, tuple[tuple[str, str], ...]] | None = None

    @property
    def recipients(self) -> tuple[tuple[str, str], ...]:
        """(Name, public half) of those for whom keys are wrapped beside the master, the escrow first; none when the kit does not tell."""
        if self.ring is not None:
            return self.ring[1]
        return ((FIRST_RECIPIENT, str(self.escrow.to_public())),) if self.escrow else ()


def text_of(said: RingFile, master: Identity, escrow: Identity | None, signer: Signer, signing: bytes, made: datetime) -> str:
    """The text of a kit for that ring; `escrow` when its holder brought it."""
    return _TEXT.format(
        made=f"{made:%Y-%m-%d}",
        wrapping=said.wrapping,
        master=master,
        escrow=_WITH_ESCROW.format(escrow) if escrow else _WITHOUT_ESCROW,
        ring=f"wrapping {said.wrapping}: {' '.join(f'{name}={half}' for name, half in said.recipients)}",
        signing=signing.hex(),
        fingerprint=signer.fingerprint,
    )


def read_kit(path: Path) -> Kit:
    """The kit of that file. Raises `KeysMissing`, which says what is wrong and quotes no key."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise KeysMissing(f"The recovery kit {path} cannot be read ({type(problem).__name__}). Name the file with its text.") from None
    return kit_of(text, str(path))


def kit_of(text: str, name: str) -> Kit:
    """As `read_kit`, of its text."""
    found = _sections(text)
    keys = {title: _identity(found[title], title, name) for title in (MASTER, ESCROW) if title in found}
    if not keys:
        raise KeysMissing(f"{name} has neither a master key nor an escrow key (a line AGE-SECRET-KEY-…): one of them is needed.")
    signing, fingerprint = _signing(found, name)
    return Kit(tuple(keys.values()), keys.get(ESCROW), signing, fingerprint, _ring(found[RING], name) if RING in found else None)


def put_back_key_files(folder: Path, kit: Kit) -> None:
    """The key files of a new machine from the kit. What stands there already stays, and must be the same; `KeysMissing` else.

    Without the online master key, the escrow key takes its place until the keys are wrapped anew ('manage.py keys'). Without the escrow key
    in the kit nobody knows its public half, and nothing is put back: new keys would be wrapped for the master alone.
    """
    if not kit.recipients:
        raise KeysMissing("The recovery kit lacks the escrow key: type it in from your copy of the kit; new keys are wrapped for it too.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    texts = {
        "escrow.recipient": kit.recipients[0][1],
        "signing.key": kit.signing.hex(),
        "master.age": str(kit.opens[0]),  # last, as where they are made: with it the folder counts as complete
    }
    different = [name for name, key in texts.items() if (folder / name).exists() and (folder / name).read_text().strip() != key]
    if different:
        raise KeysMissing(
            f"{folder} holds other keys than the kit ({', '.join(different)}): it belongs to another installation. Name a new one."
        )
    for name, key in texts.items():
        keyfiles.write_once(folder / name, key)
    wrapping = kit.ring[0] if kit.ring else 1
    keyfiles.write_once(folder / keyfiles.RING, RingFile(wrapping, str(kit.opens[0].to_public()), kit.recipients).text())


def _sections(text: str) -> dict[str, str]:
    """The line behind each title. A title may be followed by an explanation in parentheses or behind a colon."""
    found: dict[str, str] = {}
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for title_line, value in pairwise(lines):
        for title in (FINGERPRINT, MASTER, ESCROW, SIGNING, RING):
            if title_line.startswith(title):
                found.setdefault(title, value)
                break
    return found


def _identity(value: str, title: str, name: str) -> Identity:
    try:
        return Identity.from_str("".join(value.split()))
    except pyrage.IdentityError:
        raise KeysMissing(f"{name}: what stands under “{title}” is no age key. Compare it with your copy, letter by letter.") from None


def _ring(value: str, name: str) -> tuple[int, tuple[tuple[str, str], ...]]:
    read = _RING.fullmatch(" ".join(value.split()))
    try:
        if read is None:
            raise ValueError
        recipients = tuple((one.partition("=")[0], str(Recipient.from_str(one.partition("=")[2]))) for one in read[2].split())
    except (ValueError, pyrage.RecipientError):
        raise KeysMissing(f"{name}: what stands under “{RING}” cannot be read. Compare it with your copy, letter by letter.") from None
    return int(read[1]), recipients


def _signing(found: dict[str, str], name: str) -> tuple[bytes, str]:
    if SIGNING not in found or FINGERPRINT not in found:
        raise KeysMissing(f"{name} lacks the signing key or its fingerprint. Type in the whole kit.")
    try:
        secret = bytes.fromhex("".join(found[SIGNING].split()))
        signer = Signer(secret)
    except ValueError:
        raise KeysMissing(
            f"{name}: what stands under “{SIGNING}” is no signing key. Compare it with your copy, letter by letter."
        ) from None
    fingerprint = "".join(found[FINGERPRINT].split()).lower()
    if signer.fingerprint != fingerprint:
        raise KeysMissing(f"{name}: the signing key has another fingerprint than the kit says. Compare both with your copy.")
    return secret, fingerprint
