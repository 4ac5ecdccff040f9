"""The service: what it answers and what it refuses."""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from served import GOLDEN, load_predictor, load_slow, serving, write_clicks, write_noise

from ser.inference.predictor import Predictor
from ser.serving.access import Access, name_hosts
from ser.serving.app import create_app
from ser.serving.limits import Limits


@pytest.fixture(scope="module")
def predictor():
    return load_predictor()


@pytest.fixture(scope="module")
def client(predictor):
    limits = Limits(megabytes=1, audio_seconds=20)
    with TestClient(create_app(predictor, limits, batch_size=4)) as client:
        yield client


def post(client: Any, content: bytes, **query: Any) -> Any:
    return client.post("/predict", files={"file": ("a.wav", content)}, params=query)


def message(answer: Any) -> str:
    """The one line of a refusal."""
    assert set(answer.json()) == {"error"}
    assert "\n" not in answer.json()["error"]
    return answer.json()["error"]


def test_a_recording_gets_the_prediction_of_the_predictor(client, predictor):
    content = write_noise(1.3, 44_100)
    [expected] = predictor([io.BytesIO(content)])
    answer = post(client, content)
    assert answer.status_code == 200
    prediction = answer.json()
    assert set(prediction) == {"emotion", "probabilities", "seconds"}
    assert prediction["emotion"] == expected.emotion
    assert prediction["seconds"] == pytest.approx(1.3, abs=1e-3)
    assert prediction["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)


def test_windows_give_a_timeline_and_top_k_shortens_it(client):
    answer = post(client, write_noise(4), window=2, hop=1, top_k=2).json()
    assert [each["start"] for each in answer["windows"]] == [0, 1, 2]
    assert answer["segments"][-1]["end"] == 4
    assert all(len(each["probabilities"]) == 2 for each in [answer, *answer["windows"]])


@pytest.mark.parametrize("kind", ["audio/wav", "audio/x-wav", "application/octet-stream", None])
def test_a_recording_may_be_the_request_body(client, kind):
    content = write_noise(4)
    headers = {} if kind is None else {"Content-Type": kind}
    query = {"window": 2, "hop": 2}
    answer = client.post("/predict", content=content, headers=headers, params=query)
    assert answer.json() == post(client, content, **query).json()


def test_options_may_be_form_fields(client):
    content = write_noise(4)
    fields = {"window": "2", "hop": "1", "top_k": "1"}
    answer = client.post("/predict", files={"file": content}, data=fields)
    assert answer.json() == post(client, content, **fields).json()


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"data": {"window": "x"}}, 422, "window: "),
        ({"data": {"windw": "3"}}, 422, "windw: "),
        ({"params": {"windw": "3"}}, 422, "windw: "),
        ({"data": {"top_k": "1"}, "params": {"top_k": "2"}}, 422, "top_k: "),
        ({"data": {"hop": "1"}}, 422, "hop"),
        ({"data": {"window": "1" * 2000}}, 400, "form"),
        ({"data": {"window": ["1", "2"]}}, 422, "twice"),
    ],
)
def test_bad_options_are_named(client, request_, status, words):
    answer = client.post("/predict", files={"file": write_noise()}, **request_)
    assert answer.status_code == status
    assert words in message(answer)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({}, 422),
        ({"content": b""}, 422),
        ({"data": {"file": "text"}}, 415),
        ({"files": {"recording": b"x"}}, 422),
        ({"files": [("file", b"x"), ("file", b"x")]}, 400),
        ({"files": {"file": (None, b"x")}}, 422),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}}, 400),
        ({"content": b"{}", "headers": {"Content-Type": "application/json"}}, 415),
        ({"content": b"x", "headers": {"Content-Type": "text/html; charset=x"}}, 415),
    ],
)
def test_a_request_without_a_recording_explains_how_to_send_one(client, request_, status):
    answer = client.post("/predict", **request_)
    assert answer.status_code == status
    assert "file" in message(answer)


@pytest.mark.parametrize(
    ("content", "query", "words"),
    [
        (b"", {}, "recording"),
        (b"no audio at all", {}, "recording"),
        (write_noise(1)[:20_000], {}, "recording"),
        (b"version https://git-lfs.github.com/spec/v1\n", {}, "Git LFS pointer"),
        (write_noise(1)[:44], {}, "recording"),
        (write_noise(21, 8000), {}, "longer than 20 s"),
        (write_clicks(100, 96_000, 8), {}, "longer than 20 s"),
        (write_noise(11), {"window": 0.25, "hop": 0.01}, "more than 1000 windows"),
        (write_noise(1), {"window": 1, "hop": 2}, "hop=2.0"),
        (write_noise(1), {"hop": 2}, "hop"),
        (write_noise(1), {"window": 600}, "window: the model "),
        (write_noise(1), {"window": "nan"}, "window: "),
        (write_noise(1), {"top_k": 0}, "top_k: "),
    ],
)
def test_what_has_no_prediction_is_refused_with_the_reason(client, content, query, words):
    answer = post(client, content, **query)
    assert answer.status_code == 422
    assert words in message(answer)


def test_silence_and_broken_samples_are_refused(client):
    for samples in (np.zeros(8000), np.full(8000, np.nan)):
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 16_000, format="WAV", subtype="FLOAT")
        answer = post(client, buffer.getvalue())
        assert answer.status_code == 422
        assert message(answer)


@pytest.mark.parametrize("seconds", [2, 100])
def test_warnings_of_a_recording_are_in_the_answer(predictor, seconds):
    [noise] = np.random.default_rng(0).normal(0, 0.1, (1, 8000 * seconds))
    opposite, clipped = np.column_stack([noise, -noise]), np.clip(20 * noise, -0.9, 0.9)
    with TestClient(create_app(predictor, batch_size=4)) as client:
        for samples, word in ((opposite, "phase"), (clipped, "clipped")):
            buffer = io.BytesIO()
            soundfile.write(buffer, samples, 8000, format="WAV")
            [expected] = predictor([io.BytesIO(buffer.getvalue())])
            [warning] = post(client, buffer.getvalue()).json()["warnings"]
            assert word in warning
            assert expected.warnings == (warning,)
            assert expected.as_plain()["warnings"] == (warning,)


def test_a_constant_offset_is_refused_at_any_rate(client):
    for rate in (8000, 44_100, 48_000):
        buffer = io.BytesIO()
        soundfile.write(buffer, np.full(rate, 0.3), rate, format="WAV")
        answer = post(client, buffer.getvalue())
        assert answer.status_code == 422
        assert "silent" in message(answer)


def test_long_recordings_and_many_windows_are_predicted_as_by_the_predictor(predictor):
    from ser.inference.settings import WindowConfig

    app = create_app(predictor, batch_size=4)
    with TestClient(app) as client:
        for seconds, window, hop in ((100, 3, 1), (30, 1, 0.1)):
            content = write_noise(seconds, 8_000)
            [expected] = predictor([io.BytesIO(content)], sliding=WindowConfig(window, hop))
            answer = post(client, content, window=window, hop=hop).json()
            assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)
            assert len(answer["windows"]) == len(expected.windows)


def test_one_predictor_in_two_services_answers_each_request_as_if_alone(predictor):
    """Threads that share a network must not mix the lengths of their recordings."""
    contents = [write_noise(0.4 + 0.3 * (seed % 7), seed=seed) for seed in range(24)]
    expected = [predictor([io.BytesIO(content)])[0].probabilities for content in contents]
    clients = [TestClient(create_app(predictor)) for _ in range(2)]
    with clients[0], clients[1], ThreadPoolExecutor(12) as threads:
        pairs = [(clients[index % 2], content) for index, content in enumerate(contents)]
        answers = list(threads.map(lambda pair: post(*pair).json(), pairs))
    for answer, alone in zip(answers, expected, strict=True):
        assert answer["probabilities"] == pytest.approx(alone, abs=1e-4)


def test_unknown_routes_and_methods_answer_in_json(client):
    assert client.get("/nothing").status_code == 404
    assert "/docs" in client.get("/nothing").json()["error"]
    assert message(client.get("/nothing"))
    answer = client.get("/predict")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_the_start_page_is_html_for_browsers_and_json_for_programs(client):
    plain = client.get("/").json()
    assert client.get(f"/{plain['model']}").status_code == 200
    assert "50(3)" in plain["notice"]
    page = client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert 'href="docs"' in page.text
    assert "50(3)" in page.text


def test_the_model_and_its_limits_are_described(client, predictor):
    info = client.get("/model").json()
    assert info["labels"] == list(predictor.labels)
    assert info["temperature"] == predictor.temperature
    assert info["max_megabytes"] == 1


@pytest.mark.parametrize("prefix", ["", "/proxy/ser"])
def test_the_documentation_needs_no_other_server(predictor, prefix):
    client = TestClient(create_app(predictor, root_path=prefix + "/"))
    page = client.get(f"{prefix}/docs").text
    assert "http" not in page.replace("http-equiv", "")
    assert f"'{prefix}/openapi.json'" in page
    assert client.get(f"{prefix}/static-offline-docs/swagger-ui-bundle.js").status_code == 200


@pytest.mark.parametrize("stripped", [True, False])
def test_a_proxy_may_strip_the_path_prefix_or_not(predictor, stripped):
    path = "" if stripped else "/user/me"
    app = create_app(predictor, access=Access(token="secret"), root_path="/user/me")
    client = TestClient(app)
    headers = {"Authorization": "Bearer secret"}
    assert client.get(f"{path}/health").status_code == 200
    assert client.get(f"{path}/model").status_code == 401
    assert client.get(f"{path}/model", headers=headers).status_code == 200
    schema = client.get(f"{path}/openapi.json").json()
    assert schema["servers"] == [{"url": "/user/me"}]


def test_the_prefix_alone_leads_to_the_start_page(predictor):
    client = TestClient(create_app(predictor, root_path="/user/me"))
    answer = client.get("/user/me", follow_redirects=False)
    assert answer.headers["location"] == "/user/me/"
    assert client.get("/user/me/").status_code == 200


def test_a_token_is_needed_except_for_probes_and_pages_without_data(predictor):
    app = create_app(predictor, access=Access(token="secret"))
    with TestClient(app) as client:
        for path in ("/", "/health", "/ready", "/docs", "/openapi.json"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert predictor.name not in answer.text
        for path in ("/model", "/metrics", "/nothing"):
            assert client.get(path).status_code == 401
        answer = client.post("/predict", files={"file": write_noise()})
        assert answer.status_code == 401
        assert "token" in message(answer)
        right = {"Authorization": "bearer secret"}
        answer = client.post("/predict", files={"file": write_noise()}, headers=right)
        assert answer.status_code == 200
        described = client.get("/openapi.json").json()
        assert described["paths"]["/predict"]["post"]["security"]
        assert "security" not in described["paths"]["/health"]["get"]


def test_foreign_host_names_are_refused_in_json_and_counted(predictor):
    app = create_app(predictor, access=Access(hosts=name_hosts("127.0.0.1")))
    with TestClient(app, base_url="http://localhost:8000") as client:
        assert client.get("/health").status_code == 200
        assert client.get("/health", headers={"host": "[::1]:8000"}).status_code == 200
        answer = client.get("/health", headers={"host": "evil.example"})
        assert answer.status_code == 400
        assert "--allowed-host" in message(answer)
        assert 'route="other",status="400"} 1.0' in client.get("/metrics").text


def test_pages_of_allowed_origins_may_read_answers(predictor):
    access = Access(token="secret", origins=("https://front.example",))
    client = TestClient(create_app(predictor, access=access))
    allowed = {"Origin": "https://front.example", "Access-Control-Request-Method": "POST"}
    preflight = client.options(
        "/predict", headers=allowed | {"Access-Control-Request-Headers": "authorization"}
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://front.example"
    refused = client.get("/model", headers={"Origin": "https://front.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://front.example"
    other = client.get("/health", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_requests_and_audio_are_counted(predictor):
    with TestClient(create_app(predictor)) as client:
        post(client, write_noise(2))
        post(client, b"no audio")
        client.get("/made/up")
        text = client.get("/metrics").text
    assert 'ser_requests_total{route="/predict",status="200"} 1.0' in text
    assert 'ser_requests_total{route="/predict",status="422"} 1.0' in text
    assert 'ser_requests_total{route="other",status="404"} 1.0' in text
    assert "ser_audio_seconds_total 2.0" in text
    assert "ser_requests_waiting 0.0" in text


def test_names_from_data_are_not_markup_in_pages(predictor, monkeypatch):
    from ser.serving.demo import create_demo
    from ser.serving.examples import Example

    markup = "</script><script>alert(1)</script>"
    monkeypatch.setattr(predictor, "labels", (markup, *predictor.labels[1:]))
    monkeypatch.setattr(predictor, "name", markup)
    with TestClient(create_demo(predictor, examples=[Example(markup, bytes)])) as client:
        assert markup not in client.get("/").text
        assert client.get("/").text.count("<script") == 2
        assert client.get("/model").json()["labels"][0] == markup


def send_at_once(app: Any, count: int) -> list[httpx.Response]:
    """So many recordings, all sent before the first is answered."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            one = [client.post("/predict", files={"file": write_noise(1)}) for _ in range(count)]
            return await asyncio.gather(*one)

    # In its own thread: after a browser test this one has an event loop already.
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, send()).result()


def test_more_than_may_wait_are_refused():
    answers = send_at_once(create_app(load_slow(), Limits(waiting=3)), 5)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 503, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert "3 recordings are waiting" in message(refused)


def test_requests_that_take_too_long_are_answered_and_not_evaluated():
    app = create_app(load_slow(), Limits(timeout=0.2), batch_size=1)
    answers = send_at_once(app, 3)
    assert [answer.status_code for answer in answers] == [504] * 3
    assert "longer than 0.2 s" in message(answers[0])
    app.state.service.batcher.close()
    batches = app.state.service.telemetry.registry.get_sample_value("ser_batch_windows_count")
    assert batches == 1  # the one that had begun


def test_waiting_requests_are_evaluated_together():
    app = create_app(load_slow(), batch_size=8)
    assert all(answer.status_code == 200 for answer in send_at_once(app, 9))
    value = app.state.service.telemetry.registry.get_sample_value
    assert value("ser_batch_windows_sum") == 9
    assert value("ser_batch_windows_count") <= 3


def test_a_failing_network_answers_500_and_the_next_request_succeeds():
    class Failing(Predictor):
        broken = False

        def probabilities(self, waveforms):
            if self.broken:
                raise RuntimeError("the device is gone")
            return super().probabilities(waveforms)

    predictor: Any = Failing.from_checkpoint(GOLDEN, device="cpu")
    with TestClient(create_app(predictor), raise_server_exceptions=False) as client:
        for content in (write_noise(), write_noise(100, 8_000)):
            predictor.broken = True
            answer = post(client, content)
            assert answer.status_code == 500
            assert "log" in message(answer)
            predictor.broken = False
            assert post(client, content).status_code == 200


def test_a_body_without_announced_length_is_counted(predictor):
    content = bytes(1_100_000)

    def chunks():
        yield from (content[start : start + 50_000] for start in range(0, len(content), 50_000))

    app = create_app(predictor, Limits(megabytes=1))
    with serving(app) as address, httpx.Client(base_url=address) as client:
        announced = client.post("/predict", files={"file": content})
        counted = client.post("/predict", content=chunks(), headers={"Content-Type": "audio/wav"})
        for answer in (announced, counted):
            assert answer.status_code == 413
            assert "larger than 1 MB" in message(answer)
