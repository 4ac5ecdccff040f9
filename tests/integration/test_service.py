"""The web service: what it answers, what it refuses, and that it ends well."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import schemathesis
import soundfile
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok

from ser import server, service
from ser.gate import Limits
from ser.predict import Predictor

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
COMMAND = ["-m", "ser.cli", "serve", "--port", "0", "--device", "cpu"]


def record(seconds: float = 1.0, rate: int = 16_000, seed: int = 0) -> bytes:
    """Noise as a WAV file."""
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate))
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def predictor(trained: Path) -> Predictor:
    return Predictor.from_checkpoint(trained, device="cpu")


@pytest.fixture(scope="module")
def client(predictor: Predictor) -> Iterator[TestClient]:
    limits = Limits(megabytes=1, audio_seconds=20)
    with TestClient(service.create_app(predictor, limits, batch_size=4)) as client:
        yield client


def post(client: TestClient, content: bytes, name: str = "a.wav", **query: Any) -> Any:
    return client.post("/predict", files={"file": (name, content)}, params=query)


def sentence(answer: Any) -> str:
    """The one sentence of a refusal."""
    assert set(answer.json()) == {"error"}
    assert "\n" not in answer.json()["error"]
    return answer.json()["error"]


def test_a_recording_is_judged_as_the_predictor_judges_it(client, predictor):
    content = record(1.3, 44_100)
    [expected] = predictor([io.BytesIO(content)])
    answer = post(client, content)
    assert answer.status_code == 200
    judged = answer.json()
    assert set(judged) == {"emotion", "probabilities", "seconds"}
    assert judged["emotion"] == expected.emotion
    assert judged["seconds"] == pytest.approx(1.3, abs=1e-3)
    assert judged["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)


def test_windows_give_a_timeline_and_top_k_shortens_it(client, predictor):
    content = record(4)
    answer = post(client, content, window=2, hop=1, top_k=2).json()
    assert [each["start"] for each in answer["windows"]] == [0, 1, 2]
    assert answer["segments"][-1]["end"] == 4
    assert all(len(each["probabilities"]) == 2 for each in [answer, *answer["windows"]])


def test_recordings_sent_at_once_are_judged_as_if_alone(client, predictor):
    contents = [record(0.4 + 0.3 * (seed % 7), seed=seed) for seed in range(24)]
    expected = [predictor([io.BytesIO(content)])[0].probabilities for content in contents]
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda content: post(client, content).json(), contents))
    for answer, alone in zip(answers, expected, strict=True):
        assert answer["probabilities"] == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize(
    ("content", "query", "words"),
    [
        (b"", {}, "it holds no sound"),
        (b"no audio at all", {}, "no audio that libsndfile reads"),
        (record(1)[:20_000], {}, "shorter than its header says"),
        (b"version https://git-lfs.github.com/spec/v1\n", {}, "Git LFS pointer"),
        (record(1)[:44], {}, "shorter than its header says"),
        (record(21, 8000), {}, "longer than 20 s"),
        (record(11), {"window": 0.25, "hop": 0.01}, "more than 1000 windows"),
        (record(1), {"window": 1, "hop": 2}, "hop=2.0: from 0.01 s to the window"),
        (record(1), {"hop": 2}, "hop needs window"),
        (record(1), {"window": 600}, "window: the model hears "),
        (record(1), {"window": "nan"}, "window: "),
        (record(1), {"top_k": 0}, "top_k: "),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_sentence(client, content, query, words):
    answer = post(client, content, **query)
    assert answer.status_code == 422
    assert words in sentence(answer)


def test_silence_and_broken_samples_are_refused(client):
    quiet = io.BytesIO()
    soundfile.write(quiet, np.zeros(8000), 16_000, format="WAV")
    assert "nothing is to be heard" in sentence(post(client, quiet.getvalue()))
    broken = io.BytesIO()
    soundfile.write(broken, np.full(8000, np.nan), 16_000, format="WAV", subtype="FLOAT")
    assert "no numbers" in sentence(post(client, broken.getvalue()))


def test_a_request_without_a_file_says_what_is_missing(client):
    answer = client.post("/predict")
    assert answer.status_code == 422
    assert "file: Field required" in sentence(answer)


def test_too_many_bytes_are_refused_announced_or_not(client):
    content = bytes(1_100_000)
    announced = post(client, content)

    def trickle() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield from (content[start : start + 50_000] for start in range(0, len(content), 50_000))

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    counted = client.post("/predict", content=trickle(), headers=headers)
    for answer in (announced, counted):
        assert answer.status_code == 413
        assert "larger than 1 MB" in sentence(answer)


def test_a_small_file_of_a_long_recording_is_stopped_by_its_length(client):
    flac = io.BytesIO()
    soundfile.write(flac, np.zeros((3_000_000, 8), np.int16), 96_000, format="FLAC")
    assert len(flac.getvalue()) < 1e6
    assert "longer than 20 s" in sentence(post(client, flac.getvalue()))


def test_unknown_routes_and_methods_answer_in_json(client):
    assert client.get("/nothing").status_code == 404
    assert sentence(client.get("/nothing"))
    answer = client.get("/predict")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_the_model_says_what_it_is(client, predictor):
    facts = client.get("/model").json()
    assert facts["labels"] == list(predictor.labels)
    assert facts["temperature"] == predictor.temperature
    assert facts["max_megabytes"] == 1


def test_the_documentation_needs_no_other_server(client):
    page = client.get("/docs").text
    assert "http" not in page.replace("http-equiv", "")
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def test_a_token_is_asked_for_except_by_those_who_watch(predictor):
    with TestClient(service.create_app(predictor, token="secret")) as client:
        assert client.get("/health").json() == {"status": "alive"}
        assert client.get("/ready").json() == {"status": "ready"}
        for path in ("/model", "/metrics", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 401
        wrong = {"Authorization": "Bearer secrets"}
        answer = client.post("/predict", files={"file": record()}, headers=wrong)
        assert answer.status_code == 401
        assert "token" in sentence(answer)
        right = {"Authorization": "Bearer secret"}
        assert client.post("/predict", files={"file": record()}, headers=right).status_code == 200
        described = client.get("/openapi.json", headers=right).json()
        assert described["paths"]["/predict"]["post"]["security"]
        assert "security" not in described["paths"]["/health"]["get"]


def test_another_sites_page_cannot_name_a_service_on_loopback(predictor):
    app = service.create_app(predictor, hosts=server.name_hosts("127.0.0.1"))
    with TestClient(app, base_url="http://localhost:8000") as client:
        assert client.get("/health").status_code == 200
        assert client.get("/health", headers={"host": "[::1]:8000"}).status_code == 200
        assert client.get("/health", headers={"host": "evil.example"}).status_code == 400
    assert server.name_hosts("0.0.0.0") is None


def test_counters_tell_of_requests_and_audio(predictor):
    with TestClient(service.create_app(predictor)) as client:
        post(client, record(2))
        post(client, b"no audio")
        client.get("/made/up")
        text = client.get("/metrics").text
    assert 'ser_requests_total{route="/predict",status="200"} 1.0' in text
    assert 'ser_requests_total{route="/predict",status="422"} 1.0' in text
    assert 'ser_requests_total{route="other",status="404"} 1.0' in text
    assert "ser_audio_seconds_total 2.0" in text
    assert "ser_requests_waiting 0.0" in text


class Slow(Predictor):
    """Takes its time, as a large network would."""

    pause = 0.5

    def probabilities(self, waveforms):
        time.sleep(self.pause)
        return super().probabilities(waveforms)


def send_at_once(app: Any, count: int) -> list[httpx.Response]:
    """So many recordings, all sent before the first is answered."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            one = [client.post("/predict", files={"file": record(1)}) for _ in range(count)]
            return await asyncio.gather(*one)

    # In a thread of its own: where a browser was tested before, this one has a loop already.
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, send()).result()


@pytest.fixture
def slow(trained: Path) -> Slow:
    return Slow.from_checkpoint(trained, device="cpu")  # pyright: ignore[reportReturnType]


def test_more_than_may_wait_are_sent_away(slow):
    answers = send_at_once(service.create_app(slow, Limits(waiting=3)), 5)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 503, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert "3 recordings are waiting" in sentence(refused)


def test_who_waits_too_long_is_told_so_and_not_judged(slow):
    app = service.create_app(slow, Limits(timeout=0.2), batch_size=1)
    answers = send_at_once(app, 3)
    assert [answer.status_code for answer in answers] == [504] * 3
    assert "longer than 0.2 s" in sentence(answers[0])
    app.state.service.batcher.close()
    judged = app.state.service.telemetry.registry.get_sample_value("ser_batch_windows_count")
    assert judged == 1  # the one that the network had in hand


def test_those_who_wait_are_judged_together(slow):
    app = service.create_app(slow, batch_size=8)
    assert all(answer.status_code == 200 for answer in send_at_once(app, 9))
    value = app.state.service.telemetry.registry.get_sample_value
    assert value("ser_batch_windows_sum") == 9
    assert value("ser_batch_windows_count") <= 3


def test_a_failing_network_answers_500_and_the_next_one_is_served(trained):
    class Failing(Predictor):
        broken = False

        def probabilities(self, waveforms):
            if self.broken:
                raise RuntimeError("the device is gone")
            return super().probabilities(waveforms)

    predictor = Failing.from_checkpoint(trained, device="cpu")
    app = service.create_app(predictor)
    with TestClient(app, raise_server_exceptions=False) as client:
        predictor.broken = True  # pyright: ignore[reportAttributeAccessIssue]
        answer = post(client, record())
        assert answer.status_code == 500
        assert "log" in sentence(answer)
        predictor.broken = False  # pyright: ignore[reportAttributeAccessIssue]
        assert post(client, record()).status_code == 200


@pytest.fixture
def start(trained: Path, tmp_path: Path) -> Iterator[Callable[..., tuple[Any, str, Path]]]:
    """Start `ser serve` on a free port; its process, address and log."""
    started = []

    def start(*options: str, **environment: str) -> tuple[Any, str, Path]:
        log = tmp_path / "log"
        process = subprocess.Popen(
            [sys.executable, *COMMAND, "--ckpt", str(trained), *options],
            stderr=log.open("w"),
            env=os.environ | environment,
        )
        started.append(process)
        for _ in range(600):
            lines = [json.loads(line) for line in log.read_text().splitlines() if line[0] == "{"]
            if any("startup complete" in line["message"] for line in lines):
                address = next(line["address"] for line in lines if "address" in line)
                return process, address, log
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        raise TimeoutError(log.read_text())

    yield start
    for process in started:
        process.kill()


@pytest.mark.parametrize("token", [None, "secret"])
def test_whatever_is_sent_is_answered_as_documented(start, token):
    """Schemathesis finds no status, type or body that the schema does not know, and no 500."""
    _, address, _ = start("--max-megabytes", "1", *(["--token", token] if token else []))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=headers)
    # A schema cannot say which bytes are a recording, so what fits it may well be refused.
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


def test_the_command_serves_logs_without_names_and_ends_what_was_begun(start):
    process, address, log = start(SER_TOKEN="secret")
    headers = {"Authorization": "Bearer secret"}
    file = {"file": ("confidential-name.wav", record(15))}

    def ask() -> httpx.Response:
        query = {"window": 3, "hop": 0.02}
        return httpx.post(
            f"{address}/predict", files=file, headers=headers, params=query, timeout=60
        )

    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert asked.result().status_code == 200
    assert process.wait(20) == 128 + signal.SIGTERM
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    answered = next(line for line in lines if line["message"] == "answered")
    assert answered["route"] == "/predict"
    assert answered["status"] == 200
    assert answered["audio_seconds"] == 15
    assert "confidential" not in log.read_text()
    assert "secret" not in log.read_text()
