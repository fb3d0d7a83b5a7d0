"""The recovery kit: the page that stands away from this machine, from which everything can be opened again (design section 5).

`keyfiles` writes it; here it is read, people's copies of it too: typed, with other white space, or with one
of the two master keys left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyrage
from pyrage.x25519 import Identity

from audit.signing import Signer
from backups import keyfiles
from backups.errors import KeysMissing

MASTER, ESCROW, SIGNING, FINGERPRINT = "Master key", "Escrow key", "Signing key", "Signing key's fingerprint"


@dataclass(frozen=True, slots=True)
class Kit:
    """`opens` are the master keys that the kit has, the online one first: one is enough. `escrow` is the escrow key, None when the kit
    lacks it; `signing` 32 bytes; `fingerprint` of the signing key, 64 hex digits: the only signer to be trusted."""

    opens: tuple[Identity, ...]
    escrow: Identity | None
    signing: bytes
    fingerprint: str


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
    return Kit(tuple(keys.values()), keys.get(ESCROW), signing, fingerprint)


def put_back_key_files(folder: Path, kit: Kit) -> None:
    """The key files of a new machine from the kit. What stands there already stays, and must be the same; `KeysMissing` else.

    Without the online master key, the escrow key takes its place until the keys are wrapped anew ('manage.py keys'). Without the escrow key
    in the kit nobody knows its public half, and nothing is put back: new keys would be wrapped for the master alone.
    """
    if kit.escrow is None:
        raise KeysMissing("The recovery kit lacks the escrow key: type it in from your copy of the kit; new keys are wrapped for it too.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    texts = {
        "escrow.recipient": str(kit.escrow.to_public()),
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


def _sections(text: str) -> dict[str, str]:
    """The line behind each title. A title may be followed by an explanation in parentheses or behind a colon."""
    found: dict[str, str] = {}
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for title_line, value in pairwise(lines):
        for title in (FINGERPRINT, MASTER, ESCROW, SIGNING):
            if title_line.startswith(title):
                found.setdefault(title, value)
                break
    return found


def _identity(value: str, title: str, name: str) -> Identity:
    try:
        return Identity.from_str("".join(value.split()))
    except pyrage.IdentityError:
        raise KeysMissing(f"{name}: what stands under “{title}” is no age key. Compare it with your copy, letter by letter.") from None


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
