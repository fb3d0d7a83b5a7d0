"""The kit's master keys: either opens a customer's key, so that losing one alone loses nothing (design section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import pyrage
from pyrage.x25519 import Identity

from backups.errors import KeysMissing
from backups.keyfiles import KeyRing


@dataclass(frozen=True, slots=True)
class AnyMaster(KeyRing):
    """As the installation's key ring, but opens with each of the masters that the kit has: the online one may have been rotated since."""

    opens: tuple[Identity, ...] = ()

    def unwrap(self, wrapped: bytes) -> str:
        for identity in self.opens:
            try:
                return pyrage.decrypt(wrapped, [identity]).decode()
            except pyrage.DecryptError:
                continue
        raise KeysMissing(f"None of the {len(self.opens)} master keys in the kit opens a customer's key. Is it the newest kit?")
