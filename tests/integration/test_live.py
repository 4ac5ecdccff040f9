"""Live sessions over a WebSocket."""

import json
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from served import load_predictor, load_slow, serving, write_noise
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from ser.inference.settings import WindowConfig
from ser.serving import live
from ser.serving.access import Access
from ser.serving.app import create_app
from ser.serving.limits import Limits

ROOT = Path(__file__).parents[2]
START = {"sample_rate": 16_000, "window": 1, "hop": 0.5}


@pytest.fixture(scope="module")
def predictor():
    return load_predictor()


@pytest.fixture
def client(predictor):
    with TestClient(create_app(predictor, Limits(audio_seconds=20, sessions=2))) as client:
        yield client


def noise(seconds: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate))
    return (32767 * samples).astype("<i2")


def stream(socket, samples, rate=16_000, pause=0.05, step=0.1):
    """Send samples in pieces, then the end; the results and the last message."""
    size = round(step * rate)
    for start in range(0, len(samples), size):
        socket.send_bytes(samples[start : start + size].tobytes())
        time.sleep(pause)
    socket.send_json({"type": "end"})
    results = []
    while (message := socket.receive_json()).get("type") == "result":
        results.append(message)
    return results, message


def test_a_stream_gets_the_predictions_of_its_windows(client, predictor):
    samples = noise(3.2)
    [expected] = predictor(
        [(samples.astype(np.float32) / 32768, 16_000)], sliding=WindowConfig(1, 0.5)
    )
    with client.websocket_connect("/live") as socket:
        socket.send_json(START)
        ready = socket.receive_json()
        assert ready["type"] == "ready"
        assert ready["labels"] == list(predictor.labels)
        results, last = stream(socket, samples)
    assert last == {"type": "end", "seconds": 3.2}
    assert [(each["start"], each["end"]) for each in results] == [
        (window.start, pytest.approx(window.end)) for window in expected.windows
    ]
    for result, window in zip(results, expected.windows, strict=True):
        assert result["emotion"] == window.emotion
        assert result["probabilities"] == pytest.approx(window.probabilities, abs=1e-3)
        assert 0 < result["latency"] < 5
        assert result["skipped"] == 0
    assert "ser_audio_seconds_total 3.2" in client.get("/metrics").text
    assert 'route="/live",status="1000"} 1.0' in client.get("/metrics").text


def test_silence_has_no_emotion(client):
    with client.websocket_connect("/live") as socket:
        socket.send_json(START | {"hop": 1})
        socket.receive_json()
        results, _ = stream(socket, np.zeros(32_000, "<i2"))
    assert [each["emotion"] for each in results] == [None, None]


def test_a_session_without_audio_ends_without_results(client):
    with client.websocket_connect("/live") as socket:
        socket.send_json({"sample_rate": 48_000})
        socket.receive_json()
        assert stream(socket, np.zeros(0, "<i2")) == ([], {"type": "end", "seconds": 0})


@pytest.mark.parametrize(
    ("first", "code", "words"),
    [
        ("no json", 1003, "JSON"),
        ("[" * 100_000, 1003, "JSON"),
        ("[]", 1008, "JSON object"),
        ("{}", 1008, "sample_rate"),
        (json.dumps(START | {"sample_rate": 10}), 1008, "sample_rate"),
        (json.dumps(START | {"sample_rate": "x"}), 1008, "sample_rate"),
        (json.dumps(START | {"windw": 1}), 1008, "windw"),
        (json.dumps(START | {"window": 50}), 1008, "window"),
        (json.dumps(START | {"hop": 2}), 1008, "hop"),
        (json.dumps(START | {"window": None}), 1008, "window"),
        ('{"sample_rate": 16000, "window": NaN}', 1008, "window"),
        (b"\x00\x00", 1003, "JSON"),
    ],
)
def test_a_bad_start_is_explained_before_the_close(client, first, code, words):
    with client.websocket_connect("/live") as socket:
        if isinstance(first, bytes):
            socket.send_bytes(first)
        else:
            socket.send_text(first)
        assert words in socket.receive_json()["error"]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == code


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00", 1003),
        ("text", 1003),
        ('{"type": "stop"}', 1003),
        (b"\x00" * 16_000 * 2 * 21, 1008),
    ],
)
def test_bad_audio_is_explained_before_the_close(client, message, code):
    with client.websocket_connect("/live") as socket:
        socket.send_json(START)
        socket.receive_json()
        if isinstance(message, bytes):
            socket.send_bytes(message)
        else:
            socket.send_text(message)
        assert socket.receive_json()["error"]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == code


def test_a_session_that_says_nothing_is_ended(client, monkeypatch):
    monkeypatch.setattr(live, "START_SECONDS", 0.2)
    monkeypatch.setattr(live, "IDLE_SECONDS", 0.2)
    for first in (None, START):
        with client.websocket_connect("/live") as socket:
            if first is not None:
                socket.send_json(first)
                socket.receive_json()
            assert "within 0.2 s" in socket.receive_json()["error"]


def test_too_many_messages_are_refused(client, monkeypatch):
    monkeypatch.setattr(live, "MESSAGE_RATE", 20)
    with client.websocket_connect("/live") as socket:
        socket.send_json(START)
        socket.receive_json()
        for _ in range(live.MESSAGE_RATE * 6):
            socket.send_bytes(b"\x00\x00")
        assert "messages" in socket.receive_json()["error"]


def test_more_sessions_than_allowed_are_refused(client):
    with (
        client.websocket_connect("/live") as first,
        client.websocket_connect("/live") as second,
        client.websocket_connect("/live") as third,
    ):
        for socket in (first, second):
            socket.send_json(START)
            assert socket.receive_json()["type"] == "ready"
        third.send_json(START)
        assert "2 live sessions" in third.receive_json()["error"]
        assert "ser_live_sessions 2.0" in client.get("/metrics").text
        second.close()
    with client.websocket_connect("/live") as socket:
        socket.send_json(START)
        assert socket.receive_json()["type"] == "ready"


def test_sockets_that_stay_silent_make_room_for_others(client, monkeypatch):
    monkeypatch.setattr(live, "MOST_STARTING", 2)
    with (
        client.websocket_connect("/live") as oldest,
        client.websocket_connect("/live"),
        client.websocket_connect("/live") as newest,
    ):
        assert "error" in oldest.receive_json()
        newest.send_json(START)
        assert newest.receive_json()["type"] == "ready"


def test_the_token_comes_in_the_first_message_or_in_a_header(predictor):
    client = TestClient(create_app(predictor, access=Access(token="secret")))
    for message, headers, accepted in (
        ({"token": "secret"}, {}, True),
        ({}, {"Authorization": "bearer secret"}, True),
        ({"token": "wrong"}, {}, False),
        ({}, {}, False),
    ):
        with client.websocket_connect("/live", headers=headers) as socket:
            socket.send_json(START | message)
            answer = socket.receive_json()
        assert (answer.get("type") == "ready") is accepted
        assert ("token" in answer.get("error", "")) is not accepted


def test_pages_of_other_sites_are_refused(client):
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            client.websocket_connect("/live", headers=headers),
        ):
            pass
        assert refused.value.status_code == 403
        assert "--cors-origin" in refused.value.json()["error"]
    with client.websocket_connect("/live", headers={"Origin": "http://testserver"}) as socket:
        socket.send_json(START)
        assert socket.receive_json()["type"] == "ready"


@pytest.mark.slow
def test_a_slow_network_skips_windows_and_answers_the_newest():
    with (
        TestClient(create_app(load_slow(0.4))) as client,
        client.websocket_connect("/live") as socket,
    ):
        socket.send_json(START | {"hop": 0.1})
        socket.receive_json()
        results, last = stream(socket, noise(4), pause=0.1)
    assert last["type"] == "end"
    skipped = sum(each["skipped"] for each in results)
    assert skipped > 10
    assert len(results) + skipped == 31  # windows of 1 s each 0.1 s in 4 s
    assert results[-1]["end"] == 4
    assert all(each["latency"] < 5 for each in results)


def test_a_client_ahead_of_time_is_slowed_down(predictor, monkeypatch):
    monkeypatch.setattr(live, "AHEAD_SECONDS", 1.0)
    with serving(create_app(predictor)) as address:
        url = address.replace("http", "ws") + "/live"
        with connect(url) as socket:
            socket.send(json.dumps(START | {"hop": 1}))
            socket.recv()
            started = time.monotonic()
            for _ in range(30):
                socket.send(noise(0.1).tobytes())
            socket.send('{"type": "end"}')
            while json.loads(socket.recv())["type"] != "end":
                pass
            assert time.monotonic() - started > 1.8


def test_a_failing_network_ends_the_session_with_a_message(predictor, monkeypatch, caplog):
    client = TestClient(create_app(predictor))
    monkeypatch.setattr(predictor, "probabilities", lambda waveforms: 1 / 0)
    with client.websocket_connect("/live") as socket:
        socket.send_json(START)
        socket.receive_json()
        socket.send_bytes(noise(2).tobytes())
        assert "log" in socket.receive_json()["error"]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1011
    assert [record.message for record in caplog.records if record.exc_info]


def test_clients_that_vanish_free_their_sessions(predictor):
    app = create_app(predictor, Limits(sessions=3))
    with serving(app) as address:
        url = address.replace("http", "ws") + "/live"
        for stage in range(9):
            socket = connect(url, legacy=True)
            if stage % 3 > 0:
                socket.send(json.dumps(START))
                socket.recv()
            if stage % 3 > 1:
                socket.send(noise(1).tobytes())
            socket.socket.close()
        until = time.monotonic() + 10
        value = app.state.service.telemetry.registry.get_sample_value
        while value("ser_live_sessions") and time.monotonic() < until:
            time.sleep(0.05)
        assert value("ser_live_sessions") == 0
        with connect(url) as socket:
            socket.send(json.dumps(START))
            assert json.loads(socket.recv())["type"] == "ready"


def test_sessions_beside_recordings_all_get_their_answers(predictor):
    app = create_app(predictor, Limits(sessions=6))
    with serving(app) as address:
        url = address.replace("http", "ws") + "/live"

        def session(seed: int) -> int:
            with connect(url) as socket:
                socket.send(json.dumps(START))
                socket.recv()
                for start in range(0, 32_000, 1_600):
                    socket.send(noise(2, seed=seed)[start : start + 1_600].tobytes())
                    time.sleep(0.05)
                socket.send('{"type": "end"}')
                count = 0
                while json.loads(socket.recv())["type"] == "result":
                    count += 1
                return count

        import httpx

        with ThreadPoolExecutor(12) as threads:
            counts = [threads.submit(session, seed) for seed in range(6)]
            posts = [
                threads.submit(
                    httpx.post, f"{address}/predict", files={"file": write_noise()}, timeout=60
                )
                for _ in range(12)
            ]
            assert all(1 <= each.result() <= 3 for each in counts)
            assert all(each.result().status_code == 200 for each in posts)


@pytest.mark.parametrize(("message", "code"), [(b"\x00" * 300_000, 1009), ("x" * 300_000, 1009)])
def test_messages_that_are_too_large_end_the_session(predictor, message, code):
    with serving(create_app(predictor)) as address:
        with connect(address.replace("http", "ws") + "/live") as socket:
            socket.send(json.dumps(START))
            socket.recv()
            with suppress(ConnectionClosed):
                socket.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code


def test_foreign_hosts_are_refused_in_json(predictor):
    app = create_app(predictor, access=Access(hosts=frozenset({"other.example"})))
    with serving(app) as address:
        with pytest.raises(InvalidStatus) as refused:
            connect(address.replace("http", "ws") + "/live")
        assert refused.value.response.status_code == 400
        assert "error" in json.loads(refused.value.response.body or b"")


@pytest.mark.slow
def test_the_example_of_the_documentation_works(predictor, tmp_path):
    """docs/use.md shows a client; it streams a file here."""
    text = (ROOT / "docs" / "use.md").read_text()
    [code] = [block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "/live" in block]
    (tmp_path / "speech.wav").write_bytes(write_noise(4, 44_100, 2))
    threads = threading.active_count()
    with serving(create_app(predictor, access=Access(token="TOKEN"))) as address:
        (tmp_path / "client.py").write_text(
            code.replace("http://127.0.0.1:8000", address).replace(
                "ws://127.0.0.1:8000", address.replace("http", "ws")
            )
        )
        done = subprocess.run(
            [sys.executable, "client.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    assert any(label in done.stdout for label in predictor.labels)
    ends = time.monotonic() + 10  # threads of the server may still be ending
    while threading.active_count() > threads and time.monotonic() < ends:
        time.sleep(0.1)
    assert threading.active_count() <= threads
