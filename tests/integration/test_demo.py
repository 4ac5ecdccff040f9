"""The page of `ser demo` in a browser: a clip goes in, a prediction comes out."""

import io
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import uvicorn
from fastapi.testclient import TestClient
from matplotlib import image

from ser.demo import COLUMNS, create_demo, draw_log_mel
from ser.gate import Limits
from ser.predict import Predictor
from ser.server import listen, name_address


@pytest.fixture(scope="module")
def predictor(trained: Path) -> Predictor:
    return Predictor.from_checkpoint(trained, device="cpu")


@pytest.fixture(scope="module")
def address(predictor: Predictor) -> Iterator[str]:
    """Of a demonstration that runs in a thread."""
    limits = Limits(megabytes=2, audio_seconds=60)
    listening = listen("127.0.0.1", 0)
    address = name_address(listening)
    server = uvicorn.Server(uvicorn.Config(create_demo(predictor, limits), log_config=None))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield address
    server.should_exit = True
    thread.join()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page as opened; what it complains of to the console must be nothing."""
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    yield page
    page.close()
    assert [text for text in complaints if "status of 422" not in text] == []


def wait_for_answer(page: Any) -> str:
    page.wait_for_selector("#result:not(.busy) #mel:not([hidden])")
    return page.inner_text("#answer").split()[0]


def shares(page: Any) -> dict[str, float]:
    rows = [row.split() for row in page.locator("#bars li").all_inner_texts()]
    return {name: float(share) / 100 for name, share, _ in rows}


def test_a_file_is_judged_shown_and_heard(page, predictor, write_tone, tmp_path):
    path = write_tone(tmp_path / "tone.wav", seconds=1.5)
    [expected] = predictor([path])
    page.set_input_files("#file", path)
    assert wait_for_answer(page) == expected.emotion
    assert shares(page) == pytest.approx(expected.probabilities, abs=0.006)
    assert page.inner_text("#name") == "tone.wav"
    assert page.evaluate("document.getElementById('mel').naturalWidth") > 100
    assert page.evaluate("document.getElementById('player').duration") == pytest.approx(1.5)
    painted = "document.getElementById('wave').getContext('2d').getImageData(0, 0, 300, 100).data"
    assert page.evaluate(f"{painted}.some((value) => value > 0)")
    assert page.is_hidden("#segments")


def test_a_long_recording_has_a_timeline_that_can_be_clicked(page, predictor, tmp_path):
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


def test_a_file_can_be_dropped(page, write_tone, tmp_path):
    content = list(write_tone(tmp_path / "dropped.wav").read_bytes())
    transfer = page.evaluate_handle(
        """(bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.wav"));
            return transfer;
        }""",
        content,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    wait_for_answer(page)
    assert page.inner_text("#name") == "dropped.wav"


def test_the_microphone_is_recorded_and_judged(page):
    page.click("#record")
    page.wait_for_selector("text=Stop (2 s)")
    page.click("#record")
    wait_for_answer(page)
    assert page.inner_text("#name") == "Your recording"
    assert page.inner_text("#record") == "Record"
    assert page.evaluate("document.getElementById('player').duration") > 1


def test_an_example_is_synthetic_and_says_so(page):
    assert "nobody spoke" in page.inner_text(".examples")
    page.click("button[data-emotion=sad]")
    wait_for_answer(page)
    assert "Synthetic" in page.inner_text("#name")


def test_a_bad_file_gives_a_sentence_and_the_next_one_works(page, write_tone, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    page.set_input_files("#file", tmp_path / "bad.wav")
    page.wait_for_selector("#problem:not([hidden])")
    assert "no audio that libsndfile reads" in page.inner_text("#problem")
    assert page.is_hidden("#result")
    page.set_input_files("#file", write_tone(tmp_path / "good.wav"))
    wait_for_answer(page)
    assert page.is_hidden("#problem")


def test_a_large_file_is_not_even_sent(page, tmp_path):
    (tmp_path / "large.wav").write_bytes(bytes(2_100_000))
    page.set_input_files("#file", tmp_path / "large.wav")
    page.wait_for_selector("#problem:not([hidden])")
    assert "larger than 2 MB" in page.inner_text("#problem")


def test_a_name_is_text_whatever_it_holds(page, write_tone, tmp_path):
    name = "<img src=x onerror=alert(1)>.wav"
    page.set_input_files("#file", write_tone(tmp_path / name))
    wait_for_answer(page)
    assert page.inner_text("#name") == name


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1100)])
def test_nothing_is_wider_than_the_screen(browser, address, write_tone, tmp_path, scheme, width):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(address)
    page.set_input_files("#file", write_tone(tmp_path / "long.wav", seconds=8))
    wait_for_answer(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()


def test_a_model_of_short_clips_is_asked_for_windows_it_hears(predictor, tmp_path, monkeypatch):
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
        assert "knows nothing about speech" in " ".join(text.split())  # it is one of tones


def test_the_page_allows_no_script_but_its_own_and_names_model_and_limits(predictor):
    with TestClient(create_demo(predictor, Limits(megabytes=3, audio_seconds=120))) as client:
        answer = client.get("/")
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert predictor.name in answer.text
        assert "3 MB" in answer.text
        assert "2 minutes" in " ".join(answer.text.split())
        assert client.get("/examples/joyful.wav").status_code == 404
        bad = client.post("/log-mel", files={"file": b"no audio"})
        assert bad.status_code == 422
        assert set(bad.json()) == {"error"}


def test_the_log_mel_picture_has_low_sounds_at_its_foot_and_never_grows_too_wide(tmp_path):
    time = np.arange(40 * 16_000) / 16_000
    soundfile.write(tmp_path / "low.wav", 0.5 * np.sin(2 * np.pi * 200 * time), 16_000)
    content = draw_log_mel(tmp_path / "low.wav", Limits())
    pixels = image.imread(io.BytesIO(content))[..., :3].sum(axis=2)
    assert pixels.shape[0] == 64
    assert COLUMNS / 2 < pixels.shape[1] <= COLUMNS
    assert pixels[32:].mean() > 2 * pixels[:32].mean()
    with pytest.raises(ValueError, match="longer than 30 s"):
        draw_log_mel(tmp_path / "low.wav", Limits(audio_seconds=30))


def test_two_clicks_on_record_are_one_recording(page):
    # At once: a second click after the microphone has opened would end the recording.
    page.evaluate("for (const _ of [1, 2]) document.getElementById('record').click()")
    page.wait_for_selector(".recording")
    page.wait_for_timeout(700)
    page.click("#record")
    wait_for_answer(page)
    assert page.inner_text("#record-words") == "Record"
    assert page.locator(".recording").count() == 0


def test_a_file_too_large_does_not_hold_up_the_one_before(page, write_tone, tmp_path):
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(2_100_000))
    page.set_input_files("#file", write_tone(tmp_path / "tone.wav", seconds=1.5))
    page.set_input_files("#file", large)
    assert wait_for_answer(page)
    assert "larger than 2 MB" in page.inner_text("#problem")
