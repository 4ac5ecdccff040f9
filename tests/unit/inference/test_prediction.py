import json

import pytest

from ser.inference.prediction import Prediction, WindowPrediction, average, best, merge


def window(start: float, end: float, happy: float) -> WindowPrediction:
    probabilities = {"happy": happy, "sad": 1 - happy}
    return WindowPrediction(start, end, best(probabilities), probabilities)


def test_the_best_emotion_is_the_most_probable_and_the_first_of_equals():
    assert best({"happy": 0.2, "sad": 0.5, "angry": 0.3}) == "sad"
    assert best({"happy": 0.5, "sad": 0.5}) == "happy"


def test_probabilities_are_averaged_class_by_class():
    assert average([{"happy": 1.0, "sad": 0.0}, {"happy": 0.5, "sad": 0.5}]) == {
        "happy": 0.75,
        "sad": 0.25,
    }


def test_neighbours_of_one_emotion_become_one_segment():
    [first, second] = merge([window(0, 1, 0.9), window(1, 2, 0.7), window(2, 3, 0.2)])
    assert (first.start, first.end, first.emotion) == (0, 2, "happy")
    assert first.probability == pytest.approx(0.8)
    assert (second.start, second.end, second.emotion) == (2, 3, "sad")
    assert second.probability == pytest.approx(0.8)


def test_where_windows_overlap_their_mean_decides():
    # 0-1: 0.9; 1-2: (0.9 + 0.7) / 2; 2-3: (0.9 + 0.7 + 0.0) / 3; 3-4: 0.35; 4-5: 0.0
    segments = merge([window(0, 3, 0.9), window(1, 4, 0.7), window(2, 5, 0.0)])
    assert [(s.start, s.end, s.emotion) for s in segments] == [(0, 3, "happy"), (3, 5, "sad")]
    assert segments[0].probability == pytest.approx((0.9 + 0.8 + 1.6 / 3) / 3)
    assert segments[1].probability == pytest.approx((0.65 + 1.0) / 2)


def test_silence_between_windows_parts_segments():
    segments = merge([window(0, 1, 0.9), window(5, 6, 0.9)])
    assert [(s.start, s.end) for s in segments] == [(0, 1), (5, 6)]


def test_nothing_heard_is_no_segment():
    assert merge([]) == []


def test_a_prediction_is_plain_json_with_a_timeline_only_where_there_is_one():
    whole = Prediction("a.wav", "happy", {"happy": 0.6, "sad": 0.4}, 1.23456)
    assert json.loads(json.dumps(whole.as_plain())) == {
        "path": "a.wav",
        "emotion": "happy",
        "probabilities": {"happy": 0.6, "sad": 0.4},
        "seconds": 1.235,
    }
    pieces = Prediction("a.wav", "happy", {"happy": 0.6, "sad": 0.4}, 2.0, (window(0, 2, 0.6),))
    plain = json.loads(json.dumps(pieces.as_plain()))
    assert plain["windows"][0]["probabilities"] == {"happy": 0.6, "sad": 0.4}
    assert plain["segments"] == [{"start": 0, "end": 2, "emotion": "happy", "probability": 0.6}]
