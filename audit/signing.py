"""Ed25519 signatures over canonical JSON (pure). A verifier trusts a fingerprint it was given, never a key found beside the data."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit import canonical


class BadSignature(Exception):
    """The document is not what the trusted key signed: altered, cut, or signed by somebody else."""


class Signer:
    """Holds the private key (32 bytes); `fingerprint` is the SHA-256 of the public key, 64 hex digits."""

    def __init__(self, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = self._key.public_key().public_bytes_raw()
        self.fingerprint = fingerprint(self.public)

    def sign(self, document: dict[str, Any]) -> dict[str, Any]:
        """`document` with `signed_by` (fingerprint and public key) and `signature` over all the rest, in canonical JSON."""
        body = {**document, "signed_by": {"ed25519": _text(self.public), "fingerprint": self.fingerprint}}
        return {**body, "signature": _text(self._key.sign(canonical.dump_bytes(body)))}


def new_secret() -> bytes:
    """A fresh private key, 32 bytes."""
    return Ed25519PrivateKey.generate().private_bytes_raw()


def fingerprint(public: bytes) -> str:
    """SHA-256 of the 32 bytes of the public key, in hex."""
    return hashlib.sha256(public).hexdigest()


def verify(document: Any, trusted: str) -> dict[str, Any]:
    """The document without its signature when the key of fingerprint `trusted` signed it; `BadSignature` else."""
    try:
        body = {name: value for name, value in document.items() if name != "signature"}
        public = _bytes(body["signed_by"]["ed25519"])
        signature = _bytes(document["signature"])
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        raise BadSignature(f"the document carries no signature that can be read ({problem})") from None
    if fingerprint(public) != trusted:
        raise BadSignature(f"signed by {fingerprint(public)[:16]}…, but only {trusted[:16]}… is trusted")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, canonical.dump_bytes(body))
    except (InvalidSignature, canonical.NotCanonical):
        raise BadSignature("the signature does not fit the document: it was altered after signing") from None
    return body


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
