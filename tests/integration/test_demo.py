"""The demo page in a browser."""

import io
import json
import re
from contextlib import ExitStack

import httpx
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from served import load_predictor, serving
from starlette.responses import Response

from ser.serving.access import Access
from ser.serving.demo import create_demo
from ser.serving.examples import Example, synthetic_examples
from ser.serving.limits import Limits

REFUSED = ("status of 422", "status of 401")  # Chromium reports refused requests


@pytest.fixture(scope="module")
def predictor():
    return load_predictor()


@pytest.fixture(scope="module")
def address(predictor):
    limits = Limits(megabytes=2, audio_seconds=60)
    demo = create_demo(predictor, limits, examples=synthetic_examples(predictor.labels))
    with serving(demo) as address:
        yield address


@pytest.fixture
def open_page(browser):
    """Open a page; its console must stay empty but for refused requests."""
    with ExitStack() as stack:

        def open_page(url: str, **options):
            page = browser.new_page(**options)
            messages: list[str] = []
            page.on("console", lambda message: messages.append(message.text))
            page.on("pageerror", lambda error: messages.append(str(error)))
            page.goto(url)

            def close() -> None:
                page.close()
                assert [text for text in messages if not any(map(text.count, REFUSED))] == []

            stack.callback(close)
            return page

        yield open_page


@pytest.fixture
def page(open_page, address):
    return open_page(address)


def wait_for_answer(page) -> str:
    page.wait_for_selector("#result:not(.busy) #mel:not([hidden])")
    return page.inner_text("#answer").split()[0]


def shown_probabilities(page) -> dict[str, float]:
    rows = [row.split() for row in page.locator("#bars li").all_inner_texts()]
    return {name: float(share.rstrip("%")) / 100 for name, share in rows}


def test_a_file_is_predicted_shown_and_played(page, predictor, write_tone, tmp_path):
    path = write_tone(tmp_path / "tone.wav", seconds=1.5)
    [expected] = predictor([path])
    page.set_input_files("#file", path)
    assert wait_for_answer(page) == expected.emotion
    assert shown_probabilities(page) == pytest.approx(expected.probabilities, abs=0.006)
    assert page.inner_text("#name") == "tone.wav"
    assert page.evaluate("document.getElementById('mel').naturalWidth") > 100
    assert page.evaluate("document.getElementById('player').duration") == pytest.approx(1.5)
    painted = "document.getElementById('wave').getContext('2d').getImageData(0, 0, 300, 100).data"
    assert page.evaluate(f"{painted}.some((value) => value > 0)")
    assert page.is_hidden("#segments")


def test_a_long_recording_has_a_timeline_that_can_be_clicked(page, tmp_path):
    time = np.arange(14 * 16_000) / 16_000
    soundfile.write(tmp_path / "long.flac", 0.4 * np.sin(900 * time * (1 + 0.1 * time)), 16_000)
    page.set_input_files("#file", tmp_path / "long.flac")
    wait_for_answer(page)
    rows = page.locator("#rows tr").all_text_contents()
    assert rows
    assert page.locator("#segments span").count() == len(rows)
    assert "14.0 s" in page.inner_text("#axis")
    page.click("#stage", position={"x": 200, "y": 20})
    width = page.locator("#stage").bounding_box()["width"]
    page.wait_for_function("document.getElementById('player').currentTime > 1")
    began = page.evaluate("document.getElementById('player').currentTime")
    assert began == pytest.approx(14 * 200 / width, abs=1.5)


def drop(page, name: str, content: bytes) -> None:
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name));
            return transfer;
        }""",
        [name, list(content)],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def test_a_file_can_be_dropped(page, write_tone, tmp_path):
    drop(page, "dropped.wav", write_tone(tmp_path / "dropped.wav").read_bytes())
    wait_for_answer(page)
    assert page.inner_text("#name") == "dropped.wav"


def test_the_microphone_is_recorded_and_predicted(page):
    page.click("#record")
    page.wait_for_selector("text=Stop (2 s)")
    page.click("#record")
    wait_for_answer(page)
    assert page.inner_text("#name") == "Your recording"
    assert page.inner_text("#record") == "Record"
    assert page.evaluate("document.getElementById('player').duration") > 1


def test_two_clicks_on_record_are_one_recording(page):
    # At once: a second click after the microphone has opened would end the recording.
    page.evaluate("for (const _ of [1, 2]) document.getElementById('record').click()")
    page.wait_for_selector("#record.active")
    page.wait_for_timeout(700)
    page.click("#record")
    wait_for_answer(page)
    assert page.inner_text("#record-label") == "Record"
    assert page.locator(".active").count() == 0


def test_a_live_session_shows_the_emotion_while_one_speaks(page, predictor, write_tone, tmp_path):
    page.click("#live")
    page.wait_for_selector("#history li:nth-child(3)", timeout=20_000)
    assert page.is_disabled("#record")
    assert page.is_hidden("#player")
    assert page.inner_text("#answer").split()[0] in (*predictor.labels, "Silence")
    assert re.search(r"answered after \d+ ms", page.inner_text("#latency"))
    assert page.inner_text("#live").startswith("Stop")
    page.click("#live")
    assert page.inner_text("#live") == "Live"
    assert page.is_enabled("#record")
    page.set_input_files("#file", write_tone(tmp_path / "after.wav"))
    wait_for_answer(page)
    assert page.is_hidden("#timeline")
    assert page.is_visible("#player")


def test_a_file_ends_a_live_session(page, write_tone, tmp_path):
    page.click("#live")
    page.wait_for_selector("#live.active")
    page.set_input_files("#file", write_tone(tmp_path / "tone.wav"))
    wait_for_answer(page)
    assert page.inner_text("#live") == "Live"
    assert page.inner_text("#name") == "tone.wav"


def test_a_file_replaces_a_recording_in_progress(page, write_tone, tmp_path):
    page.click("#record")
    page.wait_for_selector("text=Stop (1 s)")
    page.set_input_files("#file", write_tone(tmp_path / "tone.wav"))
    wait_for_answer(page)
    page.wait_for_timeout(500)  # for what was recorded, if it were sent
    wait_for_answer(page)
    assert page.inner_text("#name") == "tone.wav"
    assert page.inner_text("#record") == "Record"


def test_a_file_replaces_an_example_that_has_not_arrived(page, write_tone, tmp_path):
    def wait(route) -> None:
        page.set_input_files("#file", write_tone(tmp_path / "tone.wav"))
        wait_for_answer(page)
        route.continue_()

    page.route("**/examples/*", wait)
    with page.expect_response("**/examples/*"):
        page.click(".example")
    page.wait_for_timeout(500)  # for the example, if it were shown
    wait_for_answer(page)
    assert page.inner_text("#name") == "tone.wav"


def test_a_file_ends_a_live_session_that_has_not_begun(page, write_tone, tmp_path):
    page.evaluate("""() => {
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
        navigator.mediaDevices.getUserMedia = async (options) => {
            await wait(0.5);
            window.stream = await ask(options);
            return window.stream;
        };
    }""")
    page.click("#live")
    page.set_input_files("#file", write_tone(tmp_path / "tone.wav"))
    page.wait_for_function(
        "() => window.stream?.getTracks().every((each) => each.readyState === 'ended')"
    )
    wait_for_answer(page)
    assert page.inner_text("#name") == "tone.wav"
    assert page.locator(".active").count() == 0


@pytest.mark.slow
def test_playing_draws_the_position_once_per_frame(page, write_tone, tmp_path):
    page.set_input_files("#file", write_tone(tmp_path / "tone.wav", seconds=5))
    wait_for_answer(page)
    page.evaluate("document.getElementById('player').play()")
    page.wait_for_timeout(2000)
    requested = """() => new Promise((resolve) => {
        const request = window.requestAnimationFrame.bind(window);
        let count = 0;
        window.requestAnimationFrame = (work) => { count += 1; return request(work); };
        request(() => request(() => resolve(count)));
    })"""
    assert page.evaluate(requested) <= 4  # two frames, and an event in between


@pytest.mark.slow
def test_a_live_session_that_the_service_ends_says_why(open_page, predictor):
    with serving(create_demo(predictor, Limits(audio_seconds=2))) as address:
        page = open_page(address)
        page.click("#live")
        page.wait_for_selector("#problem:not([hidden])")
        assert "2 s" in page.inner_text("#problem")
        assert page.inner_text("#live") == "Live"


def test_an_example_is_synthetic_and_says_so(page):
    assert "not speech" in page.inner_text(".examples")
    page.click("text=sad (tones)")
    wait_for_answer(page)
    assert "tones" in page.inner_text("#name")


def test_a_bad_file_is_explained_and_the_next_one_works(page, write_tone, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    page.set_input_files("#file", tmp_path / "bad.wav")
    page.wait_for_selector("#problem:not([hidden])")
    assert "recording" in page.inner_text("#problem")
    assert page.is_hidden("#result")
    page.set_input_files("#file", write_tone(tmp_path / "good.wav"))
    wait_for_answer(page)
    assert page.is_hidden("#problem")


def test_warnings_are_shown_until_the_next_file(page, write_tone, tmp_path):
    voice = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(tmp_path / "call.wav", np.column_stack([voice, -voice]), 16_000)
    page.set_input_files("#file", tmp_path / "call.wav")
    wait_for_answer(page)
    assert "phase" in page.inner_text("#warnings")
    page.set_input_files("#file", write_tone(tmp_path / "good.wav"))
    wait_for_answer(page)
    assert page.is_hidden("#warnings")


def test_a_refused_file_that_the_browser_decodes_is_predicted_with_the_reason(page, tmp_path):
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(tmp_path / "whole.wav", samples, 16_000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:-2000])
    page.set_input_files("#file", tmp_path / "cut.wav")
    wait_for_answer(page)
    assert "shorter than its header" in page.inner_text("#warnings")


def test_a_file_that_only_the_browser_reads_is_sent_as_samples(page, predictor, tmp_path):
    """WebM, whatever its suffix says: the service refuses it, and the page decodes it."""
    script = """async () => {
        const context = new AudioContext();
        const target = context.createMediaStreamDestination();
        const tone = new OscillatorNode(context, { frequency: 300 });
        tone.connect(target);
        tone.start();
        const recorder = new MediaRecorder(target.stream);
        const parts = [];
        recorder.ondataavailable = (event) => parts.push(event.data);
        const ended = new Promise((resolve) => (recorder.onstop = resolve));
        recorder.start();
        setTimeout(() => recorder.stop(), 1200);
        await ended;
        context.close();
        return [...new Uint8Array(await new Blob(parts).arrayBuffer())];
    }"""
    content = bytes(page.evaluate(script))
    refused = httpx.post(f"{page.url}predict", files={"file": content})
    for name in ("speech.webm", "speech.wav"):
        sent: list[int] = []
        page.on("response", lambda answer, sent=sent: sent.append(answer.status))
        drop(page, name, content)
        wait_for_answer(page)
        assert page.inner_text("#name") == name
        if refused.status_code == 422:  # as long as libsndfile reads no WebM
            assert (422 in sent) is (name == "speech.wav")


def test_a_large_file_is_not_sent(page, tmp_path):
    (tmp_path / "large.wav").write_bytes(bytes(2_100_000))
    page.set_input_files("#file", tmp_path / "large.wav")
    page.wait_for_selector("#problem:not([hidden])")
    assert "larger than 2 MB" in page.inner_text("#problem")


def test_a_file_too_large_leaves_the_previous_one(page, write_tone, tmp_path):
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(2_100_000))
    page.set_input_files("#file", write_tone(tmp_path / "tone.wav", seconds=1.5))
    page.set_input_files("#file", large)
    assert wait_for_answer(page)
    assert "larger than 2 MB" in page.inner_text("#problem")


def test_a_name_is_text_whatever_it_holds(page, write_tone, tmp_path):
    name = "<img src=x onerror=alert(1)>.wav"
    page.set_input_files("#file", write_tone(tmp_path / name))
    wait_for_answer(page)
    assert page.inner_text("#name") == name


def test_emotions_and_examples_are_text_whatever_they_hold(
    open_page, predictor, write_tone, tmp_path, monkeypatch
):
    markup = "<img src=x onerror=alert(1)>"
    labels = tuple(f"{markup}{number}" for number in range(len(predictor.labels)))
    monkeypatch.setattr(predictor, "labels", labels)
    content = write_tone(tmp_path / "tone.wav", seconds=8).read_bytes()
    with serving(create_demo(predictor, examples=[Example(markup, lambda: content)])) as address:
        page = open_page(address)
        page.click(".example")
        page.wait_for_selector("#result:not(.busy) #mel:not([hidden])")
        assert page.inner_text("#name") == markup
        assert page.inner_text("#answer").startswith(markup)
        assert page.locator("img").count() == 1  # the spectrogram


@pytest.mark.slow
def test_a_protected_demo_asks_for_the_token(open_page, predictor, write_tone, tmp_path):
    path = write_tone(tmp_path / "tone.wav")
    examples = synthetic_examples(predictor.labels)
    demo = create_demo(predictor, access=Access(token="s e&c#ret"), examples=examples)
    with serving(demo) as address:
        page = open_page(address)
        assert predictor.name not in page.content()
        page.fill("#token", "wrong")
        page.click("text=Use token")
        page.set_input_files("#file", path)
        page.wait_for_selector("#problem:not([hidden])")
        assert "token" in page.inner_text("#problem")
        page.fill("#token", "s e&c#ret")
        page.click("text=Use token")
        page.set_input_files("#file", path)
        wait_for_answer(page)
        assert page.is_hidden("#login")
        page.click(".example")
        wait_for_answer(page)
        page.click("#live")
        page.wait_for_selector("#history li", timeout=20_000)
        page.click("#live")


def test_the_address_may_hold_the_token_and_then_forgets_it(
    open_page, predictor, write_tone, tmp_path
):
    demo = create_demo(predictor, access=Access(token="s e&c#ret"))
    with serving(demo) as address:
        page = open_page(f"{address}/#token=s%20e%26c%23ret")
        assert page.url == f"{address}/"
        assert page.is_hidden("#login")
        page.set_input_files("#file", write_tone(tmp_path / "tone.wav"))
        wait_for_answer(page)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_the_page_works_behind_a_path_prefix(open_page, predictor, write_tone, tmp_path, known):
    """As behind JupyterHub: the proxy strips the prefix, and the demo may not know it."""
    examples = synthetic_examples(predictor.labels)
    root_path = "/user/me/proxy/7860" if known else ""
    demo = create_demo(predictor, examples=examples, root_path=root_path)

    async def strip(scope, receive, send):
        prefix = "/user/me/proxy/7860"
        if scope["type"] == "lifespan":
            await demo(scope, receive, send)
        elif scope["path"].startswith(f"{prefix}/"):
            scope["path"] = scope["path"].removeprefix(prefix)
            await demo(scope, receive, send)
        else:
            await Response(status_code=404)(scope, receive, send)

    with serving(strip) as address:
        page = open_page(f"{address}/user/me/proxy/7860/")
        page.set_input_files("#file", write_tone(tmp_path / "tone.wav"))
        wait_for_answer(page)
        page.click(".example")
        wait_for_answer(page)
        page.click("#live")
        page.wait_for_selector("#history li", timeout=20_000)
        page.click("#live")
        if known:
            page.goto(f"{address}/user/me/proxy/7860/docs")
            page.wait_for_selector("text=/predict")


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_nothing_is_wider_than_the_screen(open_page, address, write_tone, tmp_path, scheme, width):
    page = open_page(address, viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.set_input_files("#file", write_tone(tmp_path / "long.wav", seconds=8))
    wait_for_answer(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow
def test_the_documentation_sends_the_token_of_the_user(open_page, predictor):
    with serving(create_demo(predictor, access=Access(token="secret"))) as address:
        page = open_page(f"{address}/docs")
        page.click("button.authorize")
        page.fill(".auth-container input", "secret")
        page.click(".auth-btn-wrapper button.authorize")
        page.click(".auth-btn-wrapper button.btn-done")
        page.click("text=/model")
        page.click("text=Try it out")
        page.click("text=Execute")
        page.wait_for_selector(".live-responses-table .response-col_status")
        assert "200" in page.inner_text(".live-responses-table .response .response-col_status")


def test_a_model_of_short_clips_gets_short_windows(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(predictor, "max_seconds", 1.5)
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 10 * 16_000), 16_000)
    with TestClient(create_demo(predictor)) as client:
        text = client.get("/").text
        settings = json.loads(re.findall(r'id="settings">(.*?)</script>', text)[0])
        assert (settings["window"], settings["hop"]) == (1.5, 0.5)
        query = {name: settings[name] for name in ("window", "hop")}
        files = {"file": path.read_bytes()}
        assert client.post("/predict", params=query, files=files).status_code == 200
        assert "synthetic tones" in " ".join(text.split())


def test_the_page_allows_no_script_but_its_own_and_names_model_limits_and_law(predictor):
    gone = Example("gone", (lambda: (_ for _ in ()).throw(FileNotFoundError("gone"))))
    demo = create_demo(predictor, Limits(megabytes=3, audio_seconds=120), examples=[gone])
    with TestClient(demo) as client:
        answer = client.get("/")
        text = " ".join(answer.text.split())
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert predictor.name in text
        assert "3 MB" in text
        assert "2 minutes" in text
        assert "Article 50(3)" in text
        for path in ("/examples/0", "/examples/1", "/examples/-1", "/web/missing.js"):
            assert client.get(path).status_code == 404
        bad = client.post("/log-mel", files={"file": b"no audio"})
        assert bad.status_code == 422
        assert set(bad.json()) == {"error"}


def test_the_picture_of_a_long_recording_is_an_image(predictor):
    buffer = io.BytesIO()
    soundfile.write(
        buffer, np.random.default_rng(0).normal(0, 0.1, 90 * 8_000), 8_000, format="FLAC"
    )
    with TestClient(create_demo(predictor)) as client:
        answer = client.post("/log-mel", files={"file": buffer.getvalue()})
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
