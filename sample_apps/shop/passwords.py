"""How passwords are kept: salted scrypt (RFC 7914), as text."""

import hmac
import secrets
from hashlib import scrypt

COST, BLOCK, LANES = 2**14, 8, 1


def hashed(password: str, salt: bytes | None = None) -> str:
    """What the database keeps of a password."""
    salt = salt if salt is not None else secrets.token_bytes(16)
    return f"{salt.hex()}:{scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=LANES).hex()}"


def fits(password: str, kept: str) -> bool:
    """Whether this is the password that was kept."""
    salt = bytes.fromhex(kept.partition(":")[0])
    return hmac.compare_digest(hashed(password, salt), kept)


NOBODYS = hashed("", b"nobody's salt 16")
"""Compared with when there is no such account, so that the time of an answer does not tell who has one."""
