"""The cache of a large finished run: its digest in one file, so that opening it decodes no spectrum.

``cache/digest.bin``: the 8 bytes of ``MAGIC``, CRC-32 of all that follows (uint32), length of a JSON header (uint32),
the header, then the arrays it lists, each at a multiple of 8. The header holds ``source``, which stands for every
checksum of the spectra that the digest was made from; a file that is damaged, cut, of another version or of another
source is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from flexlora.run_log.digest import Digest
from flexlora.run_log.format import Chunk, canonical, checksum

MAGIC = b"flxdgst1"
CACHE = Path("cache") / "digest.bin"
_TYPES = {"steps": "<i8", "stored": "<u2", "ranks": "<u2", "has_true": "|b1"}
_FLAGS = ("gated", "partial")
_NUMBERS = "<f8"


def source_of(chunks: Sequence[Chunk], limits: Mapping[int, float], matrices: int) -> str:
    """Return what tells the spectra that a digest is made from: their checksums, and what is void among them."""
    told = [
        MAGIC.decode(),
        matrices,
        [asdict(chunk) for chunk in chunks],
        [[segment, str(limit)] for segment, limit in sorted(limits.items())],
    ]
    return hashlib.sha256(canonical(told)).hexdigest()


def load_digest(folder: Path, source: str) -> Digest | None:
    """Return the cached digest of these spectra, or None when there is none that can be trusted."""
    try:
        data = (folder / CACHE).read_bytes()
        if data[:8] != MAGIC or struct.unpack_from("<I", data, 8)[0] != checksum(memoryview(data)[12:]):
            return None
        (length,) = struct.unpack_from("<I", data, 12)
        header = json.loads(data[16 : 16 + length])
        if header["source"] != source:
            return None
        arrays, offset = {}, 16 + length
        for name, shape in header["arrays"]:
            kind = np.dtype(_TYPES.get(name, _NUMBERS))
            array = np.frombuffer(data, kind, int(np.prod(shape)), offset).reshape(shape)
            offset += _padded(array.nbytes)
            # The integers are small on disk; the floats stay views of the one buffer.
            arrays[name] = array.astype(np.int64) if kind.kind in "iu" else array
        arrays = {"ranks": arrays["stored"], "used": None, **arrays}
        return Digest(**arrays, **header["flags"])
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def store_digest(folder: Path, source: str, found: Digest) -> bool:
    """Write the cache; False, and no error, when it cannot be: nothing depends on it."""
    arrays = {name: value for name, value in vars(found).items() if isinstance(value, np.ndarray)}
    if found.ranks is found.stored:
        del arrays["ranks"]
    if max(found.stored.max(initial=0), 0) > np.iinfo(np.uint16).max:
        return False
    header: dict[str, Any] = {
        "source": source,
        "flags": {name: getattr(found, name) for name in _FLAGS},
        "arrays": [[name, list(array.shape)] for name, array in arrays.items()],
    }
    text = json.dumps(header).encode()
    text += b" " * (_padded(len(text)) - len(text))
    parts = [array.astype(_TYPES.get(name, _NUMBERS)).tobytes() for name, array in arrays.items()]
    body = b"".join([struct.pack("<I", len(text)), text, *(part.ljust(_padded(len(part)), b"\0") for part in parts)])
    path = folder / CACHE
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(exist_ok=True)
        temporary.write_bytes(MAGIC + struct.pack("<I", checksum(body)) + body)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        return False
    return True


def _padded(length: int) -> int:
    return -(-length // 8) * 8
