"""Mount a folder again without file locks, as some network file systems are, and run a command in it.

    pip install mfusepy     # needs /dev/fuse and libfuse
    python benchmarks/no_locks.py pytest --basetemp {}/t tests/flexlora/test_disk_faults.py

``{}`` is the mount. Every flock and lock is answered with ENOLCK; exits with the command's status.
"""

# ruff: noqa: D102  (the operations are the system's own)

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mfusepy  # pyright: ignore[reportMissingImports]

STAT = ("st_gid", "st_ino", "st_mode", "st_nlink", "st_size", "st_uid")
TIMES = ("st_atime", "st_ctime", "st_mtime")


class NoLocks(mfusepy.Operations):
    """What lies in ``root``, through a file system that has no locks."""

    use_ns = True

    def __init__(self, root: Path) -> None:
        self.root = root

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = self._at(path).lstat()
        times = {name: getattr(found, f"{name}_ns") for name in TIMES}
        return {**{name: getattr(found, name) for name in STAT}, **times}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *(found.name for found in self._at(path).iterdir())]

    def readlink(self, path: str) -> str:
        return str(self._at(path).readlink())

    def open(self, path: str, flags: int) -> int:
        # The kernel tells where the end is: pwrite to a file opened for appending would ignore it.
        return os.open(self._at(path), flags & ~os.O_APPEND)

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._at(path), length)
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        os.fsync(fh)
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        self._at(path).mkdir(mode)
        return 0

    def rmdir(self, path: str) -> int:
        self._at(path).rmdir()
        return 0

    def unlink(self, path: str) -> int:
        self._at(path).unlink()
        return 0

    def rename(self, old: str, new: str, *flags: int) -> int:
        self._at(old).rename(self._at(new))
        return 0

    def symlink(self, target: str, source: str) -> int:
        self._at(target).symlink_to(source)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        self._at(path).chmod(mode)
        return 0

    def utimens(self, path: str, times: tuple[int, int]) -> int:
        os.utime(self._at(path), ns=times)
        return 0

    def lock(self, *given: Any) -> int:
        raise mfusepy.FuseOSError(errno.ENOLCK)

    flock = lock


def main(command: list[str]) -> int:
    """Mount, run, unmount; return the command's exit status."""
    if command[:1] == ["--serve"]:
        mfusepy.FUSE(NoLocks(Path(command[1])), command[2], foreground=True, nothreads=True)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root, mount = Path(folder, "root"), Path(folder, "mount")
        root.mkdir()
        mount.mkdir()
        with subprocess.Popen([sys.executable, __file__, "--serve", str(root), str(mount)]) as server:
            try:
                while not mount.is_mount() and server.poll() is None:
                    time.sleep(0.05)
                _expect_no_locks(mount / "probe")
                return subprocess.run([part.replace("{}", str(mount)) for part in command], check=False).returncode
            finally:
                subprocess.run(["fusermount", "-uz", str(mount)], check=False)
                server.wait(10)


def _expect_no_locks(path: Path) -> None:
    import fcntl

    with path.open("w") as file, contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise SystemExit("This mount has locks: libfuse does not pass them on.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
