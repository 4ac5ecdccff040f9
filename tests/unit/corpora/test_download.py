"""The real kagglehub against a local server that imitates Kaggle."""

import base64
import hashlib
import io
import json
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from kagglehub import exceptions

from ser.corpora import CORPORA
from ser.corpora.download import CorpusSource, download_again, find_finished, locate
from ser.errors import UserError

HANDLE = CORPORA["tess"].handles[0]


class Kaggle(BaseHTTPRequestHandler):
    """The three requests of a download: current version, address of the archive, archive.

    The `failures` are sent as statuses first. Only `cut` bytes of the archive are sent, once.
    """

    archive: ClassVar[bytes] = b""
    requests: ClassVar[list[str]] = []
    failures: ClassVar[list[int]] = []
    cut: ClassVar[int] = 0

    def do_POST(self) -> None:
        self.requests.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.failures:
            self.answer(self.failures.pop(0), b"{}")
        elif self.path.endswith("GetDataset"):
            version = json.dumps({"currentVersionNumber": 3}).encode()
            self.answer(200, version, {"Content-Type": "application/json"})
        else:
            version = body.get("datasetVersionNumber", "")
            self.answer(302, b"", {"Location": f"http://localhost/archive-{version}.zip"})

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "bytes=0-")
        self.requests.append(f"{self.path} {asked}")
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        digest = base64.b64encode(hashlib.md5(self.archive).digest()).decode()
        headers = {"Accept-Ranges": "bytes", "x-goog-hash": f"md5={digest}"}
        body = self.archive[start:]
        if cut := type(self).cut:
            type(self).cut = 0
            self.answer(200, body[:cut], headers | {"Content-Length": str(len(body))})
            self.close_connection = True
            return
        self.answer(206 if start else 200, body, headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def pack(names: list[str], content: bytes = b"audio") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.fixture
def kaggle(monkeypatch) -> Iterator[type[Kaggle]]:
    try:
        server = ThreadingHTTPServer(("localhost", 80), Kaggle)
    except OSError:
        pytest.skip("kagglehub's local mode needs port 80, which is not available")
    Kaggle.archive = pack(["TESS/OAF_Fear/OAF_back_fear.wav"])
    Kaggle.requests, Kaggle.failures, Kaggle.cut = [], [], 0
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


def test_a_local_copy_is_used(tmp_path):
    assert locate(CORPORA["tess"], str(tmp_path)) == CorpusSource(tmp_path, "local copy")


def test_the_newest_finished_download_is_used_without_network(kaggle_cache):
    finish(kaggle_cache, HANDLE, 9)
    newest = finish(kaggle_cache, HANDLE, 10)
    finish(kaggle_cache, HANDLE, 11, marked=False)
    assert locate(CORPORA["tess"], None).folder == newest


def test_an_unfinished_download_does_not_count(kaggle_cache):
    finish(kaggle_cache, HANDLE, 1, marked=False)
    assert find_finished(HANDLE) is None


def test_the_second_handle_of_a_corpus_is_used_too(kaggle_cache):
    folder = finish(kaggle_cache, CORPORA["savee"].handles[1], 1)
    assert locate(CORPORA["savee"], None).folder == folder


def test_a_corpus_is_downloaded_once(kaggle, kaggle_cache):
    source = locate(CORPORA["tess"], None)
    folder = source.folder
    assert (folder / "TESS/OAF_Fear/OAF_back_fear.wav").read_bytes() == b"audio"
    assert source.origin == f"kaggle.com/datasets/{HANDLE}, version 3"
    assert folder == kaggle_cache / "datasets" / HANDLE / "versions" / "3"
    asked = len(kaggle.requests)
    assert locate(CORPORA["tess"], None) == source
    assert len(kaggle.requests) == asked


@pytest.mark.slow
def test_without_network_and_copy_one_message_names_both_solutions(monkeypatch):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")  # no server is running
    with pytest.raises(UserError) as caught:
        locate(CORPORA["savee"], None)
    message = str(caught.value)
    assert all(handle in message for handle in CORPORA["savee"].handles)
    assert "network" in message
    assert "data.paths.savee=FOLDER" in message


def test_a_version_can_be_pinned(kaggle, kaggle_cache):
    old = finish(kaggle_cache, HANDLE, 2)
    finish(kaggle_cache, HANDLE, 4)
    assert locate(CORPORA["tess"], None, 2).folder == old
    source = locate(CORPORA["tess"], None, 3)
    assert source.version == 3
    assert not any("GetDataset" in path for path in kaggle.requests)
    assert kaggle.requests[-1].startswith("/archive-3.zip")


def test_a_server_error_is_retried(kaggle):
    kaggle.failures = [500]
    assert locate(CORPORA["tess"], None).version == 3


def test_a_refusal_is_not_retried(kaggle):
    kaggle.failures = [404]
    with pytest.raises(UserError, match="tess: KaggleApiHTTPError"):
        locate(CORPORA["tess"], None)
    assert len(kaggle.requests) == 1


@pytest.mark.slow
def test_a_broken_download_is_resumed(kaggle):
    kaggle.archive = pack(["TESS/OAF_Fear/OAF_back_fear.wav"], bytes(range(256)) * 20_000)
    kaggle.cut = 3_000_000
    folder = locate(CORPORA["tess"], None).folder
    [wav] = folder.rglob("*.wav")
    assert wav.read_bytes() == bytes(range(256)) * 20_000
    resumed = [path for path in kaggle.requests if "archive" in path and "bytes=0-" not in path]
    assert len(resumed) == 1


def test_an_answer_that_is_not_an_archive_is_one_message(kaggle):
    kaggle.archive = b"<html>Sorry</html>"
    with pytest.raises(UserError, match="UserError"):
        locate(CORPORA["tess"], None)


@pytest.mark.slow
def test_a_kill_while_unpacking_is_repaired_by_the_next_run(kaggle, kaggle_cache):
    words = [
        f"w{chr(97 + n // 26 // 26)}{chr(97 + n // 26 % 26)}{chr(97 + n % 26)}" for n in range(9000)
    ]
    kaggle.archive = pack([f"TESS/OAF_{word}_sad.wav" for word in words], b"audio" * 100)
    code = "from ser.corpora import CORPORA; from ser.corpora.download import locate; locate(CORPORA['tess'], None)"
    run = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    versions = kaggle_cache / "datasets" / HANDLE / "versions"
    while len(list(versions.rglob("*.wav"))) < 100:
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    partial = len(list(versions.rglob("*.wav")))
    assert partial < len(words)
    assert find_finished(HANDLE) is None
    assert len(list(locate(CORPORA["tess"], None).folder.rglob("*.wav"))) == len(words)


def test_a_dataset_that_a_notebook_mounts_is_used_where_it_is(tmp_path, monkeypatch):
    """On Colab and Kaggle, kagglehub returns /kaggle/input/NAME, a folder without a version."""
    mounted = tmp_path / "input" / "toronto-emotional-speech-set-tess"
    monkeypatch.setattr("kagglehub.dataset_download", lambda handle: str(mounted))
    source = locate(CORPORA["tess"], None)
    assert (source.folder, source.version) == (mounted, 0)
    assert HANDLE in source.origin


@pytest.mark.slow
def test_an_incomplete_download_is_repeated_once(kaggle, kaggle_cache):
    source = locate(CORPORA["tess"], None)
    [wav] = source.folder.rglob("*.wav")
    (source.folder / "mine.txt").write_text("stays")
    wav.unlink()
    again = download_again(CORPORA["tess"], source, 0)
    assert again == source
    assert wav.exists()
    assert (source.folder / "mine.txt").exists()
    asked = len(kaggle.requests)
    download_again(CORPORA["tess"], source, 1)  # the dataset itself has no more files
    assert len(kaggle.requests) == asked


@pytest.mark.slow
def test_an_incomplete_download_is_kept_without_network(kaggle_cache, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    finish(kaggle_cache, HANDLE, 1)
    source = locate(CORPORA["tess"], None)
    with pytest.raises(UserError, match=r"data\.paths\.tess="):
        download_again(CORPORA["tess"], source, 7)
    assert find_finished(HANDLE) == source


@pytest.mark.slow
def test_the_manifest_records_the_origin_of_the_files(kaggle, tmp_path, write_tone):
    from ser.audio.cache import AudioCache
    from ser.config.data import DataConfig
    from ser.preparation.prepare import build

    tones = [
        write_tone(tmp_path / f"OAF_{word}_sad.wav", pitch=pitch)
        for pitch, word in ((200, "a"), (300, "b"))
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for tone in tones:
            archive.write(tone, f"TESS/{tone.name}")
    kaggle.archive = packed.getvalue()
    built = build(DataConfig(corpora=["tess"]), AudioCache(tmp_path / "cache"))
    assert len(built.utterances) == 2
    [row] = built.corpora.to_dict("records")
    assert row["origin"] == f"kaggle.com/datasets/{HANDLE}, version 3"
    downloads = [path for path in kaggle.requests if "archive" in path]
    assert len(downloads) == 2  # repeated, because 2 of 2,800 files are not all


@pytest.mark.parametrize("kind", ["BackendError", "CredentialError", "NotFoundError"])
def test_a_refusal_by_kaggles_own_client_is_one_message(monkeypatch, kind):
    def refuse(handle: str) -> str:
        raise getattr(exceptions, kind)("no")

    monkeypatch.setattr("kagglehub.dataset_download", refuse)
    with pytest.raises(UserError, match=r"data\.paths\.tess="):
        locate(CORPORA["tess"], None)
