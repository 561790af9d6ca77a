"""Memory that is free goes back to the system: glibc keeps it, and a server that opens large runs would grow."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Return free memory to the system where the C library can; elsewhere nothing happens."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
