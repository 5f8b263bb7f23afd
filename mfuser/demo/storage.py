"""The temporary folder of one running app: locked while it runs, deleted when it stops, or at the next start."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no locks on folders: what a killed process left stays there
    fcntl = None

PROBE = 1_000_000  # bytes written at the start, to see that the folder takes a picture
UNFINISHED = 600.0  # seconds after its last byte: an upload that is still lying where uploads arrive was cut
_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "files of that size are not allowed",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EIO: "the disk reports an error",
    errno.ENOENT: "the folder is gone",
}


class StorageError(ValueError):
    """Pictures cannot be stored; the message says why and what to do."""


def cause(error: OSError) -> str | None:
    """Why a disk refused, in words; None for an error that is not about storage."""
    return _CAUSES.get(error.errno)


class Folder:
    """A folder that only this process uses. `create` makes one; `path` is where it is, links resolved."""

    def __init__(self, path: Path):
        self.path = path
        self._lock: int | None = None
        self._before: str | None = None
        self.restore()

    @classmethod
    def create(cls, base: str | Path | None = None) -> Folder:
        """Make a folder for this process, and delete those that killed processes of this user left beside it.

        Args:
            base: where to make it; None for the folder that GRADIO_TEMP_DIR names, else the system's temporary one.

        Returns:
            The folder, readable by this user alone. Gradio keeps uploads and its cache there from now on.

        Raises:
            StorageError: the place is full, read-only or not ours; the message names it and the cause.
        """
        place = "?"
        try:
            place = str(base or os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
            os.makedirs(place, exist_ok=True)
            delete_left(Path(place))
            path = Path(tempfile.mkdtemp(prefix=_prefix() + f"{os.getpid()}-", dir=place)).resolve()
            folder = cls(path)
            try:
                folder._probe()
            except OSError:
                folder.remove()
                raise
        except OSError as error:
            where = "The temporary folder" if place == "?" else f"The temporary folder {place}"
            raise StorageError(
                f"{where} cannot be used ({cause(error) or error.strerror or error}): make room or get the right to "
                "write there, or name another folder in the environment variable GRADIO_TEMP_DIR."
            ) from error
        folder._before = os.environ.get("GRADIO_TEMP_DIR")
        os.environ["GRADIO_TEMP_DIR"] = str(path)  # what Gradio reads
        return folder

    def restore(self) -> None:
        """Make the folder again when someone deleted it while the app runs, and hold its lock. Raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        while fcntl is not None and not self._locked():
            if self._lock is not None:
                os.close(self._lock)
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # deleted before it was locked: once more

    def delete_old(self, seconds: float, keep: Iterable[str | Path] = (), unfinished: float = UNFINISHED) -> list[Path]:
        """Delete files by age, whoever made them.

        Args:
            seconds: age after the last change at which a file goes.
            keep: files that stay.
            unfinished: the same for files directly in the folder, where uploads lie until they are complete.

        Returns:
            What was deleted.
        """
        kept, now, deleted = {str(path) for path in keep}, time.time(), []
        for path in self.path.rglob("*"):
            try:
                if path.is_dir() and not path.is_symlink():
                    continue
                limit = unfinished if path.parent == self.path else seconds
                if str(path) not in kept and now - path.lstat().st_mtime > limit:
                    path.unlink()
                    deleted.append(path)
            except OSError:  # deleted by someone else meanwhile
                continue
        return deleted

    def remove(self) -> None:
        """Delete the folder and everything in it."""
        for _ in range(3):  # a thread that still computes may write one more file meanwhile
            shutil.rmtree(self.path, ignore_errors=True)
            if not self.path.exists():
                break
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if os.environ.get("GRADIO_TEMP_DIR") == str(self.path):
            os.environ.pop("GRADIO_TEMP_DIR")
            os.environ.update({} if self._before is None else {"GRADIO_TEMP_DIR": self._before})

    def _probe(self) -> None:
        probe = self.path / "probe"
        with probe.open("wb") as file:
            file.write(bytes(PROBE))
            file.flush()
            os.fsync(file.fileno())
        probe.unlink()

    def _locked(self) -> bool:
        """Is the lock that this process holds the one of the folder that is there now?"""
        return self._lock is not None and os.path.samestat(os.fstat(self._lock), os.stat(self.path))


def delete_left(base: Path) -> list[Path]:
    """Delete folders in `base` whose process of this user is gone: their lock is free. Returns them."""
    if fcntl is None:
        return []
    deleted = []
    for path in sorted(base.glob(_prefix() + "*")):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            if os.fstat(lock).st_uid == _user():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
                deleted.append(path)
        except OSError:  # its process is running
            continue
        finally:
            os.close(lock)
    return deleted


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _prefix() -> str:
    return f"mfuser-{_user()}-"
