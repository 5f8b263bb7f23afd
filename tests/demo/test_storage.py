"""The temporary folder: whose it is, what is deleted from it and when, what is said when it cannot be used."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mfuser.demo import serve, storage, wording
from mfuser.demo.storage import Folder, StorageError
from tests.demo.visitor import Visitor


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = Folder.create()
    yield made
    made.remove()


def old(path: Path, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_a_folder_belongs_to_one_user_and_process(folder, tmp_path):
    assert folder.path.parent == tmp_path and f"-{os.getuid()}-{os.getpid()}-" in folder.path.name
    assert folder.path.stat().st_mode & 0o777 == 0o700 and os.environ["GRADIO_TEMP_DIR"] == str(folder.path)
    assert list(folder.path.iterdir()) == []
    other = Folder.create(tmp_path)
    assert other.path != folder.path and folder.path.is_dir()
    other.remove()
    assert not other.path.exists() and os.environ["GRADIO_TEMP_DIR"] == str(folder.path)


def test_a_folder_whose_process_was_killed_is_deleted_and_a_running_ones_is_not(tmp_path):
    code = (
        "import sys, time; sys.path.insert(0, '.'); from mfuser.demo.storage import Folder; "
        f"f = Folder.create({str(tmp_path)!r}); (f.path / 'picture.png').write_bytes(b'x'); "
        "print(f.path, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    left = Path(process.stdout.readline().strip())
    try:
        assert storage.delete_left(tmp_path) == [] and (left / "picture.png").is_file()
    finally:
        process.kill()
        process.wait()
    assert storage.delete_left(tmp_path) == [left] and not left.exists()


def test_links_and_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / f"mfuser-{os.getuid()}-1-link").symlink_to(tmp_path / "precious")
    (tmp_path / "mfuser-99999-1-x").mkdir()
    assert storage.delete_left(tmp_path) == []
    assert (tmp_path / "precious").is_dir() and (tmp_path / "mfuser-99999-1-x").is_dir()


def test_old_files_go_and_kept_ones_stay(folder):
    fresh, cut = old(folder.path / "tmpnew", 60), old(folder.path / "tmpcut", storage.UNFINISHED + 60)
    young, gone = old(folder.path / "a" / "new.png", 1000), old(folder.path / "b" / "old.png", 5000)
    page = old(folder.path / "c" / "page.png", 5000)
    assert sorted(folder.delete_old(3600, keep=[page])) == sorted([cut, gone])
    assert fresh.exists() and young.exists() and page.exists()


def test_a_folder_that_was_deleted_is_made_and_locked_again(folder, tmp_path):
    folder.path.rmdir()
    folder.restore()
    assert folder.path.is_dir() and storage.delete_left(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.ENOSPC, "full"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota"), (errno.EACCES, "may not write")],
)
def test_a_disk_that_refuses_is_named_at_the_start_and_to_visitors(tmp_path, monkeypatch, number, word):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=word) as refused:
        Folder.create(tmp_path)
    assert str(tmp_path) in str(refused.value) and "GRADIO_TEMP_DIR" in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    said = wording.sentence(OSError(number, os.strerror(number), "/secret/place"))
    assert word in said and "/secret" not in said and "another picture" not in said


def test_a_place_that_takes_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", Path("/proc/self")):
        with pytest.raises(StorageError, match=str(place)):
            Folder.create(place)


def cut_upload(url: str, part: bytes, length: int, close: bool = True) -> socket.socket:
    """An upload of `length` bytes of which only `part` is ever sent."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="cut.png"\r\n\r\n' + part
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    connection.sendall(head.encode() + f"Content-Length: {length}\r\n\r\n".encode() + body)
    if close:
        time.sleep(0.3)
        connection.close()
    return connection


def files(served) -> list[Path]:
    own = serve.kept(served.page)
    return [p for p in served.folder.path.rglob("*") if p.is_file() and str(p) not in own]


def gone(served, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while files(served) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not files(served)


@pytest.fixture
def empty(served):
    for path in files(served):
        path.unlink()
    return served


def test_an_upload_that_is_cut_is_deleted_at_once(empty, caplog):
    open_ = cut_upload(empty.url, b"x" * 200_000, 1_000_000, close=False)
    deadline = time.monotonic() + 10
    while not files(empty) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(files(empty)) == 1, "it is there while it comes"
    open_.close()
    assert gone(empty) and "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nxxxx',  # no last boundary
        b'--b\r\nContent-Disposition: form-data; name="other"; filename="a.png"\r\n\r\nxxxx\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nx\r\n--b\r\n'
        b'Content-Disposition: form-data; name="files"\r\n\r\ntext\r\n--b--\r\n',
    ],
)
def test_what_no_one_gets_the_path_of_is_deleted(empty, body):
    visitor = Visitor(empty.url)
    answer = visitor.http.post(
        "/gradio_api/upload", content=body, headers={"content-type": "multipart/form-data; boundary=b"}
    )
    if answer.status_code != 200:
        assert 10 < len(answer.text) < 300 and "Traceback" not in answer.text
    assert gone(empty)


def test_an_upload_that_is_too_large_is_refused_and_deleted(empty, monkeypatch):
    monkeypatch.setattr(empty.page, "max_file_size", 1000)
    visitor = Visitor(empty.url)
    answer = visitor.http.post("/gradio_api/upload", files={"files": ("a.png", b"x" * 5000)})
    assert answer.status_code == 413 and gone(empty)


def test_data_urls_are_deleted_by_age_too(empty):
    visitor = Visitor(empty.url)
    visitor.call("segment", "data:image/png;base64,AAAA")
    assert len(files(empty)) == 1
    for path in files(empty):
        os.utime(path, (0, 0))
    empty.folder.delete_old(3600, serve.kept(empty.page))
    assert files(empty) == []


def test_an_upload_comes_through_when_the_folder_was_deleted_meanwhile(served):
    for path in sorted(served.folder.path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() or path.is_symlink() else path.rmdir()
    served.folder.path.rmdir()
    path = Visitor(served.url).upload(b"content")
    assert Path(path).read_bytes() == b"content" and storage.delete_left(served.folder.path.parent) == []
