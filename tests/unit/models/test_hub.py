"""A backbone from the hub, imitated by a local server."""

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForPreTraining

from ser.system.libraries import silence_hub

LOAD = """
from ser.config.backbone import BackboneConfig
from ser.config.model import ModelConfig
from ser.models.build import build_network
network = build_network(ModelConfig(backbone=BackboneConfig("lab/backbone")), ["sad", "happy"])
print(float(sum(weights.double().abs().sum() for weights in network.wav2vec2.parameters())))
"""


class Hub(BaseHTTPRequestHandler):
    """Serves the files of a folder. The first answer is 503, and weights are cut once."""

    folder: ClassVar[Path]
    requests: ClassVar[list[str]]
    busy: ClassVar[bool]
    cut: ClassVar[bool]

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        asked = self.headers.get("Range", "bytes=0-")
        self.requests.append(f"{self.command} {self.path} {asked}")
        path = self.folder / self.path.rpartition("/")[2]
        if "/resolve/main/" not in self.path or not path.is_file():
            self.answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": "a" * 40})
        elif type(self).busy:
            type(self).busy = False
            self.answer(503)
        else:
            self.send_file(path.read_bytes(), int(asked.removeprefix("bytes=").rstrip("-")), body)

    def send_file(self, content: bytes, start: int, body: bool) -> None:
        size = len(content)
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": "a" * 40,
            "Accept-Ranges": "bytes",
            "Content-Range": f"bytes {start}-{size - 1}/{size}",
        }
        self.answer(206 if start else 200, headers, size - start)
        if not body:
            return
        if type(self).cut and size > 50_000:
            type(self).cut = False
            self.wfile.write(content[start : size // 2])
            self.close_connection = True
        else:
            self.wfile.write(content[start:])

    def answer(self, status: int, headers: dict[str, str] | None = None, length: int = 0) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *args: object, **kwargs: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path, kinds) -> Iterator[str]:
    folder = tmp_path / "hub"
    Wav2Vec2ForPreTraining(Wav2Vec2Config(**kinds["wav2vec2-layer"])).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    Hub.folder, Hub.requests, Hub.busy, Hub.cut = folder, [], True, True
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_a_backbone_is_downloaded_although_the_hub_is_busy_and_cuts_connections(tmp_path, hub):
    offline = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}
    settings = {name: value for name, value in os.environ.items() if name not in offline}
    settings |= {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "cache")}
    found = subprocess.run(
        [sys.executable, "-c", LOAD], env=settings, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    source = Wav2Vec2ForPreTraining.from_pretrained(Hub.folder).wav2vec2
    expected = sum(float(weights.double().abs().sum()) for weights in source.parameters())
    assert float(found.stdout) == pytest.approx(expected)
    assert not Hub.busy
    assert not Hub.cut
    asked = [line for line in Hub.requests if "GET" in line and "safetensors" in line]
    assert re.search(r"bytes=[1-9]", asked[-1]) or len(asked) > 1


@pytest.mark.parametrize("hidden", [False, True])
def test_downloads_show_their_progress_unless_the_user_hides_it(hidden):
    (disable_progress_bars if hidden else enable_progress_bars)()
    try:
        silence_hub()
        assert are_progress_bars_disabled() == hidden
    finally:
        enable_progress_bars()
