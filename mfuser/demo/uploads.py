"""Where an upload is checked: the one rule that says which files of this computer a request may name.

A request names a picture by its path. It may name files that were uploaded to this process, files in Gradio's cache of
this process, and bundled examples. A path anywhere else is refused before the disk is asked about it, so that neither
the answer nor its time tells whether such a file exists. `guard.Page`, the stage's event (`stage_view`) and the MCP
tools (`tools`) ask `Uploads.accept` about every picture that a request sends. Nothing else hands a visitor's path to a
decoder.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import mimetypes
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mfuser.demo.refusals import Refusal

UPLOAD_FIRST = (
    "This picture is not among the uploads here: upload it first (in Python with gradio_client.handle_file, over HTTP "
    "with POST /gradio_api/upload), or send it as a data URL."
)
EMPTY = "The uploaded file is empty (0 bytes): please choose the picture again."
MEGABYTES = 40
MAX_BYTES = MEGABYTES * 2**20  # of one picture
_DATA_URL = re.compile(r"data:([\w.+-]*/[\w.+-]*)?(?:;[\w.+-]+=[^;,]*)*(;base64)?,", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*", re.ASCII)
_SHORTEST = 90  # characters of base64 without a header; no picture is smaller, and hardly a path is one by chance


class Uploads:
    """The files that requests may name.

    Args:
        folder: upload folder of this process, which is also Gradio's cache.
        examples: pictures that come with the app.
        known: is this path one of a picture that was accepted earlier and deleted since? Its result may still be kept.
    """

    def __init__(
        self, folder: str | Path, examples: Iterable[str | Path] = (), known: Callable[[str], bool] = lambda path: False
    ):
        self.folder = os.path.abspath(folder)
        self._real = os.path.realpath(self.folder)
        self._examples = {os.path.realpath(path) for path in examples}
        self._known = known

    def accept(self, value: Any) -> str | None:
        """Which file a request means by the value of a picture.

        Args:
            value: None; a path; {"path": ...} with or without other keys; a data URL, in {"url": ...} or
                {"path": ...} or as text; or base64 text. Data are written into the upload folder.

        Returns:
            A path inside the upload folder, links resolved; None for no picture.

        Raises:
            Refusal: with `UPLOAD_FIRST`, the same for what is not there, not allowed, no file or a URL; with another
                sentence for data that are no base64, empty or too large.
            OSError: the disk does not take the data.
        """
        text = _text_of(value)
        if text is None:
            return None
        if text.startswith("data:"):
            found = _DATA_URL.match(text)
            if found is None or not found[2]:
                raise Refusal("This data URL is not one of base64: begin it with data:image/png;base64, for example.")
            return self._store(text[found.end() :], found[1] or "")
        if len(text) >= _SHORTEST and _BASE64.fullmatch(text):
            return self._store(text, "")
        return self._file(text)

    def holds(self, path: str) -> bool:
        """Does a path, read as text, lie in the upload folder? The disk is not asked."""
        if not os.path.isabs(path) or "\0" in path:
            return False
        return _within(os.path.normpath(path), (self.folder, self._real))

    def _file(self, path: str) -> str:
        if "\0" in path or not os.path.isabs(path):
            raise Refusal(UPLOAD_FIRST)
        path = os.path.normpath(path)
        if path in self._examples:
            return self._copied(path)
        if not _within(path, (self.folder, self._real)):
            raise Refusal(UPLOAD_FIRST)
        try:
            real = os.path.realpath(path)
            inside = _within(real, (self._real,))
            status = os.lstat(real) if inside else None
        except (OSError, ValueError):  # not there; or a name that no file can have
            if self._known(path):
                return path
            raise Refusal(UPLOAD_FIRST) from None
        if status is None or not stat.S_ISREG(status.st_mode):
            raise Refusal(UPLOAD_FIRST)
        if status.st_size == 0:
            raise Refusal(EMPTY)
        return real

    def _store(self, text: str, kind: str) -> str:
        if len(text) > MAX_BYTES * 1.4:
            raise Refusal(f"The picture is too large: {MEGABYTES} MB are the most.")
        try:
            data = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refusal("The picture's base64 is damaged or incomplete: please send it again.") from error
        if not data:
            raise Refusal(EMPTY)
        if len(data) > MAX_BYTES:
            raise Refusal(f"The picture is too large: {MEGABYTES} MB are the most.")
        name = "image" + (mimetypes.guess_extension(kind) or "")
        folder = Path(self._real) / hashlib.sha256(os.urandom(16) + data).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        try:
            path.write_bytes(data)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return str(path)

    def _copied(self, example: str) -> str:
        folder = Path(self._real) / hashlib.sha256(example.encode()).hexdigest()
        copy = folder / Path(example).name
        if not copy.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            beside = folder / f".{os.urandom(4).hex()}"
            shutil.copyfile(example, beside)
            os.replace(beside, copy)
        return str(copy)


def refuse_files(value: Any) -> None:
    """Refuse a file object, at any depth, in a value that is no picture; and numbers that are none.

    Raises:
        Refusal: there is one.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "path" in item or "meta" in item:
                raise Refusal("A file was sent where text or a number belongs: see the description of this function.")
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, float) and not abs(item) < float("inf"):
            raise Refusal("A number was sent that is none (NaN or infinite): see the description of this function.")


def _text_of(value: Any) -> str | None:
    """The path or data URL in a value; None for no picture. Raises Refusal for anything else."""
    if isinstance(value, dict):
        path, url = value.get("path"), value.get("url")
        if path is None and isinstance(url, str) and url.startswith("data:"):
            return url
        if path is None and url is None:
            return None
        value = url if path is None else path
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Refusal("The picture must be one file or one data URL, and nothing else.")
    return value


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder + os.sep) for folder in folders)
