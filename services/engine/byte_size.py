"""Sizes of memory: read from what a person writes, and written for a person to read."""

from __future__ import annotations

import re
from typing import Final

from argo.errors import InvalidArgumentError

__all__ = ["GIB", "gib", "parse_bytes"]

GIB: Final = 2**30
_UNITS: Final = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": GIB}


def gib(size: float, digits: int = 1) -> str:
    """Bytes in GiB, such as "23.5 GiB"."""
    return f"{size / GIB:.{digits}f} GiB"


def parse_bytes(text: str) -> int:
    """Bytes of a size such as "12GiB", "24 GB" or "80gib".

    Raises:
        InvalidArgumentError: It is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?b)", text.strip().lower())
    if match is None:
        raise InvalidArgumentError(f"gpu_memory must be a size with its unit, such as 12GiB or 24GB, got {text!r}")
    return int(float(match[1]) * _UNITS[match[2]])
