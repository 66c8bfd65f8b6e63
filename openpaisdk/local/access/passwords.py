# SPDX-License-Identifier: MIT
"""Passwords: kept as scrypt hashes, compared in a time that tells nothing."""

from __future__ import annotations

import hashlib
import hmac
import os


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Return what is kept of a password; slow on purpose."""
    salt = salt or os.urandom(16)
    hashed = hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
    return f"scrypt${salt.hex()}${hashed.hex()}"


def hash_fits(stored: str, password: str) -> bool:
    """Return whether ``stored`` was made from this password."""
    _, salt, _ = stored.split("$")
    return hmac.compare_digest(stored, hash_password(password, bytes.fromhex(salt)))
