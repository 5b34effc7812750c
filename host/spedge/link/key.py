"""The key that an agent which others can reach asks for: a file that both ends have.

The proof is a keyed hash of the challenge, which is another one for each connection (SPEC.md, section 3.2). It says who
may come; what is said afterwards is neither hidden nor sealed.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from spedge.base.errors import UsageError
from spedge.link.frames import FLAG_KEY, VERSION

_CHALLENGE = slice(3, 19)  # of HELLO's reply, behind the version and the flags
_WHAT = b"spedge HELLO"
_LEAST_BYTES, _MOST_BYTES = 16, 1024
_MARK = ",key="


def split_key(address: str) -> tuple[str, bytes | None]:
    """`ADDRESS,key=FILE` as the address and the key, None where none is named. Raises UsageError for a bad file."""
    address, mark, path = address.partition(_MARK)
    return address, read_key(Path(path)) if mark else None


def read_key(path: Path) -> bytes:
    """The bytes of the file without the line ends behind them. Raises UsageError when they cannot be a key."""
    try:
        with path.open("rb") as file:
            key = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the key {path} cannot be read: {error.strerror or error}") from None
    if len(key) > _MOST_BYTES:
        raise UsageError(f"{path} is no key: it has more than {_MOST_BYTES} bytes")
    key = key.rstrip(b"\r\n")
    if len(key) < _LEAST_BYTES:
        raise UsageError(f"{path} is no key: it has fewer than {_LEAST_BYTES} bytes, and could be guessed")
    return key


def challenge_of(hello: bytes) -> bytes | None:
    """The challenge in a reply to HELLO that has nothing else to say, else None."""
    if len(hello) == _CHALLENGE.stop and hello[2] & FLAG_KEY and int.from_bytes(hello[:2], "little") == VERSION:
        return hello[_CHALLENGE]
    return None


def answered(challenge: bytes, key: bytes) -> bytes:
    """HELLO's payload, with the proof that this end has the key."""
    proof = hmac.digest(key, _WHAT + challenge, hashlib.sha256)
    return VERSION.to_bytes(2, "little") + challenge + proof
