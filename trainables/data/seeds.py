"""Turning names and numbers into a seed that is the same on every machine; draws nothing."""

from __future__ import annotations

import hashlib
import json


def seed_of(*parts: str | int) -> int:
    """A seed in 0..2**63-1: the first bits of the SHA-256 of the parts. Python's own `hash` differs per process."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
