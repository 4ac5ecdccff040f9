"""The real kagglehub against a server on this machine that answers as Kaggle does."""

import base64
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from ser.corpora import CORPORA
from ser.download import locate, newest_complete_version

HANDLE = CORPORA["tess"].handles[0]


class Kaggle(BaseHTTPRequestHandler):
    """The three requests of a download: current version, address of the archive, archive."""

    archive: ClassVar[bytes] = b""
    requests: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.requests.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("GetDataset"):
            answer = json.dumps({"currentVersionNumber": 3}).encode()
            self.answer(200, answer, {"Content-Type": "application/json"})
        else:
            self.answer(302, b"", {"Location": "http://localhost/archive.zip"})

    def do_GET(self) -> None:
        self.requests.append(self.path)
        digest = base64.b64encode(hashlib.md5(self.archive).digest()).decode()
        self.answer(200, self.archive, {"Accept-Ranges": "bytes", "x-goog-hash": f"md5={digest}"})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def kaggle(monkeypatch) -> Iterator[type[Kaggle]]:
    try:
        server = ThreadingHTTPServer(("localhost", 80), Kaggle)
    except OSError:
        pytest.skip("kagglehub's local mode wants port 80, which is not to be had here")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("TESS/OAF_Fear/OAF_back_fear.wav", b"audio")
    Kaggle.archive, Kaggle.requests = packed.getvalue(), []
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Kaggle
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def kaggle_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    return tmp_path / "kagglehub"


def finish(cache: Path, handle: str, version: int, *, marked: bool = True) -> Path:
    folder = cache / "datasets" / handle / "versions" / str(version)
    folder.mkdir(parents=True)
    if marked:
        (cache / "datasets" / handle / f"{version}.complete").touch()
    return folder


def test_a_local_copy_is_used_as_it_is(tmp_path):
    assert locate(CORPORA["tess"], str(tmp_path)) == tmp_path


def test_the_newest_finished_download_is_used_without_a_network(kaggle_cache):
    finish(kaggle_cache, HANDLE, 9)
    newest = finish(kaggle_cache, HANDLE, 10)
    finish(kaggle_cache, HANDLE, 11, marked=False)
    assert locate(CORPORA["tess"], None) == newest


def test_an_unfinished_download_does_not_count(kaggle_cache):
    finish(kaggle_cache, HANDLE, 1, marked=False)
    assert newest_complete_version(HANDLE) is None


def test_the_second_handle_of_a_corpus_counts_too(kaggle_cache):
    folder = finish(kaggle_cache, CORPORA["savee"].handles[1], 1)
    assert locate(CORPORA["savee"], None) == folder


def test_a_corpus_is_downloaded_once(kaggle, kaggle_cache):
    folder = locate(CORPORA["tess"], None)
    assert (folder / "TESS/OAF_Fear/OAF_back_fear.wav").read_bytes() == b"audio"
    assert folder == kaggle_cache / "datasets" / HANDLE / "versions" / "3"
    asked = len(kaggle.requests)
    assert locate(CORPORA["tess"], None) == folder
    assert len(kaggle.requests) == asked


def test_without_network_and_copy_one_sentence_names_both_ways_out(monkeypatch):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")  # where nobody answers now
    with pytest.raises(ConnectionError) as caught:
        locate(CORPORA["savee"], None)
    message = str(caught.value)
    assert message.startswith("SAVEE could not be downloaded")
    assert all(handle in message for handle in CORPORA["savee"].handles)
    assert "connect to the network" in message
    assert "data.paths.savee=FOLDER" in message
