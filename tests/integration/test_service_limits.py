"""The service as a process under hostile clients: slow, large, vanishing, malformed."""

import asyncio
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPResponse, RemoteDisconnected
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok
from served import ServedCommand, load_predictor, load_slow, serving, write_clicks, write_noise

from ser.serving import body
from ser.serving.app import create_app
from ser.serving.limits import Limits

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\n"


@pytest.fixture
def start(tmp_path):
    """Start `ser serve` in a process of its own."""
    with ExitStack() as stack:

        def start(*options: str, **environment: str) -> ServedCommand:
            served = ServedCommand("serve", tmp_path / "log", *options, **environment)
            stack.callback(served.process.kill)
            return served

        yield start


def connect(address: str) -> socket.socket:
    host, _, port = address.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def status_of(connection: socket.socket) -> int:
    """The status of the next response, which is read to its end; 0 if there is none."""
    response = HTTPResponse(connection)
    try:
        response.begin()
        response.read()
    except (ConnectionResetError, RemoteDisconnected):
        return 0
    return response.status


def post(address: str, content: bytes, **options: Any) -> httpx.Response:
    return httpx.post(f"{address}/predict", files={"file": content}, timeout=60, **options)


def test_stalled_bodies_do_not_block_others_and_are_ended(monkeypatch):
    monkeypatch.setattr(body, "BODY_GRACE_SECONDS", 1.0)
    app = create_app(load_predictor(), Limits(waiting=4))
    with serving(app) as address, ExitStack() as stack:
        stalled = [stack.enter_context(connect(address)) for _ in range(14)]
        for connection in stalled:
            connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\nRIFF")
        time.sleep(0.2)
        assert post(address, write_noise()).status_code == 200
        assert {status_of(connection) for connection in stalled} == {408}


def test_a_body_that_trickles_is_ended_by_the_minimum_rate(monkeypatch):
    monkeypatch.setattr(body, "BODY_GRACE_SECONDS", 0.5)
    with serving(create_app(load_predictor())) as address, connect(address) as connection:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        for _ in range(8):  # 10 bytes each 0.1 s
            connection.sendall(b"0123456789")
            time.sleep(0.1)
        assert status_of(connection) == 408


def test_a_slow_upload_within_the_rate_is_served_though_slower_than_the_time_for_an_answer():
    content = write_noise(1)
    app = create_app(load_predictor(), Limits(timeout=0.5))
    with serving(app) as address, connect(address) as connection:
        connection.sendall(HEAD + f"Content-Length: {len(content)}\r\n\r\n".encode())
        for start in range(0, len(content), 4_000):
            connection.sendall(content[start : start + 4_000])
            time.sleep(0.15)
        assert status_of(connection) == 200


def test_too_many_bodies_at_once_are_refused():
    app = create_app(load_predictor(), Limits(waiting=1))
    with serving(app) as address, ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(connect(address))
            connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        time.sleep(0.2)
        assert post(address, write_noise()).status_code == 503
        assert httpx.get(f"{address}/health").status_code == 200


@pytest.mark.parametrize("sent", [b"", b"POST /pre", HEAD])
@pytest.mark.parametrize("again", [False, True])
def test_unfinished_headers_end_the_connection(sent, again):
    app = create_app(load_predictor())
    with serving(app, header_seconds=0.5) as address, connect(address) as connection:
        if again:  # the second request on a connection
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status_of(connection) == 200
        started = time.monotonic()
        connection.sendall(sent)
        assert connection.recv(100) == b""
        # Idle connections between requests are uvicorn's, for five seconds.
        assert time.monotonic() - started < 20


def test_trickled_headers_end_the_connection():
    app = create_app(load_predictor())
    with serving(app, header_seconds=0.5) as address, connect(address) as connection:
        connection.sendall(HEAD)
        with suppress(BrokenPipeError, ConnectionResetError):
            for number in range(300):
                connection.sendall(f"X-{number}: x\r\n".encode())
                time.sleep(0.1)
            pytest.fail("the connection was not closed")


@pytest.mark.slow
def test_bodies_and_answers_may_take_longer_than_headers():
    app = create_app(load_slow(1.5))
    content = write_noise(1)
    with serving(app, header_seconds=0.5) as address, connect(address) as connection:
        for _ in range(2):
            connection.sendall(HEAD + f"Content-Length: {len(content)}\r\n\r\n".encode())
            for start in range(0, len(content), 16_000):
                connection.sendall(content[start : start + 16_000])
                time.sleep(0.4)
            assert status_of(connection) == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: x\r\n" * 400_000 + b"\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused_and_the_service_goes_on(request_):
    with serving(create_app(load_predictor())) as address:
        with connect(address) as connection:
            connection.sendall(request_)
            connection.shutdown(socket.SHUT_WR)
            status = status_of(connection)
        assert status in (0, 400, 413, 422)
        assert httpx.get(f"{address}/health").status_code == 200


@pytest.mark.slow
def test_after_a_timeout_the_decoder_stops_within_a_second_and_the_log_stays_json(start):
    """Whatever was decoding when its request ended: a time-out, or a client that left."""
    served = start("--timeout", "1")
    address = served.wait_for("listening")["address"]
    served.wait_for("ready")
    bomb = write_clicks(250, 192_000, 8)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: post(address, bomb).status_code, range(4)))
    assert answers == [504] * 4
    with connect(address) as connection:
        connection.sendall(HEAD + f"Content-Length: {len(bomb)}\r\n\r\n".encode() + bomb)
        time.sleep(0.5)
    time.sleep(1)
    process = psutil.Process(served.process.pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(1)
    assert sum(process.cpu_times()[:2]) - before < 0.3
    assert "ser_requests_waiting 0.0" in httpx.get(f"{address}/metrics").text
    assert post(address, write_noise()).status_code == 200
    lines = served.lines()
    assert not any("traceback" in line for line in lines)
    answered = [line["status"] for line in lines if line.get("route") == "/predict"]
    assert answered == [504, 504, 504, 504, 499, 200]


def test_a_client_that_leaves_while_it_waits_is_not_evaluated():
    app = create_app(load_slow(1.0), batch_size=1)
    content = write_noise(1)
    with serving(app) as address:
        with ExitStack() as stack:
            for _ in range(5):
                connection = stack.enter_context(connect(address))
                connection.sendall(
                    HEAD + f"Content-Length: {len(content)}\r\n\r\n".encode() + content
                )
            time.sleep(0.5)
        until = time.monotonic() + 30
        while app.state.service.decoders.waiting and time.monotonic() < until:
            time.sleep(0.1)
        assert app.state.service.decoders.waiting == 0
        value = app.state.service.telemetry.registry.get_sample_value
        assert value("ser_batch_windows_count") <= 3  # noise at the start, and what had begun


@pytest.mark.slow
def test_many_flac_bombs_take_little_memory_and_others_are_served(start):
    """64 uploads of 0.9 MB, each of 590 s in 8 channels at 192 kHz."""
    served = start("--timeout", "20")
    address = served.wait_for("listening")["address"]
    served.wait_for("ready")
    bomb, good, peak = write_clicks(590, 192_000, 8), write_noise(3), [0.0]
    process, over = psutil.Process(served.process.pid), threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], process.memory_info().rss / 1e9)

    with ThreadPoolExecutor(66) as threads:
        threads.submit(watch)
        bombs = [threads.submit(post, address, bomb) for _ in range(64)]
        time.sleep(1)
        statuses = [post(address, good).status_code for _ in range(20)]
        ended = {each.result().status_code for each in bombs}
        over.set()
    assert statuses == [200] * 20
    assert ended <= {200, 504}
    assert peak[0] < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, "secret"])
def test_whatever_is_sent_is_answered_as_documented(start, token):
    """Schemathesis finds no status, type or body that the schema does not know, and no 500."""
    served = start("--max-megabytes", "1", *(["--token", token] if token else []))
    address = served.wait_for("listening")["address"]
    served.wait_for("ready")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    # A schema cannot say which bytes are a recording, so valid data may well be refused.
    left_out = CHECKS.get_by_names(["positive_data_acceptance"])
    fuzzed = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        modes = list(GenerationMode) if operation.method == "post" else [GenerationMode.POSITIVE]
        for mode in modes:

            @settings(max_examples=30, deadline=None, suppress_health_check=SLOW)
            @given(case=operation.as_strategy(generation_mode=mode))
            def fuzz(case: Any) -> None:
                case.call_and_validate(headers=headers, excluded_checks=left_out)

            fuzz()
            fuzzed += 1
    assert fuzzed == 6
    assert not any("traceback" in line for line in served.lines())


@pytest.mark.slow
def test_the_command_logs_within_a_second_without_names_and_ends_open_requests(start):
    served = start(SER_TOKEN="secret")
    served.wait_for("loading")
    told = time.monotonic() - served.started
    address = served.wait_for("listening")["address"]
    served.wait_for("ready")
    # On a busy machine all takes longer, but the imports come after the first line.
    assert told < max(1, 0.4 * (time.monotonic() - served.started))
    headers = {"Authorization": "Bearer secret"}
    file = {"file": ("confidential-name.wav", write_noise(15))}

    def ask() -> httpx.Response:
        query = {"window": 3, "hop": 0.02}
        return httpx.post(
            f"{address}/predict", files=file, headers=headers, params=query, timeout=60
        )

    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask)
        time.sleep(0.5)
        served.process.send_signal(signal.SIGTERM)
        assert asked.result().status_code == 200
    assert served.process.wait(20) == 128 + signal.SIGTERM
    answered = next(line for line in served.lines() if line["message"] == "answered")
    assert answered["route"] == "/predict"
    assert answered["status"] == 200
    assert answered["audio_seconds"] == 15
    assert "confidential" not in served.log.read_text()
    assert "secret" not in served.log.read_text()


@pytest.mark.slow
def test_a_request_that_outlives_the_shutdown_leaves_no_traceback(start):
    served = start("--timeout", "1")
    address = served.wait_for("listening")["address"]
    served.wait_for("ready")
    bomb = write_clicks(250, 192_000, 8)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(post, address, bomb)
        time.sleep(0.3)
        os.kill(served.process.pid, signal.SIGTERM)
        assert served.process.wait(20) == 128 + signal.SIGTERM
        assert isinstance(asked.exception(), httpx.HTTPError) or asked.result().status_code >= 503
    assert not any("traceback" in line for line in served.lines())


@pytest.mark.slow
def test_the_demo_says_what_it_does_and_warns_of_an_open_address(tmp_path: Path):
    served = ServedCommand("demo", tmp_path / "log", "--host", "0.0.0.0", "--no-open")
    try:
        until = time.monotonic() + 300
        while "--token" not in served.log.read_text() and time.monotonic() < until:
            time.sleep(0.1)
        assert "--token" in served.log.read_text()
    finally:
        served.process.kill()


def test_parallel_clients_of_all_kinds_leave_the_service_as_it_was():
    """Good requests between hostile ones are all answered."""
    hostile = [b"", b"no audio", write_noise(1)[:10_000], bytes(200_000)]
    app = create_app(load_predictor(), Limits(megabytes=0.1))
    good = write_noise(1, 8_000)

    async def send(address: str) -> list[int]:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            bodies = [good if each % 10 else hostile[each // 10 % 4] for each in range(200)]
            answers = await asyncio.gather(
                *(client.post("/predict", files={"file": each}) for each in bodies)
            )
            return [answer.status_code for answer in answers]

    with serving(app) as address, ThreadPoolExecutor(1) as threads:
        statuses = threads.submit(asyncio.run, send(address)).result()
        assert all(status in (200, 503) for number, status in enumerate(statuses) if number % 10)
        assert {status for number, status in enumerate(statuses) if not number % 10} <= {
            413, 422, 503,
        }  # fmt: skip
        assert post(address, good).status_code == 200
    assert app.state.service.decoders.waiting == 0
