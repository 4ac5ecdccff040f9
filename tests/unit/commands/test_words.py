import pytest
from typer.main import get_command

from ser.commands.main import app
from ser.commands.words import check_words
from ser.errors import UserError


def check(line: str) -> None:
    name, *words = line.split()
    check_words(get_command(app).commands[name].params, words)  # pyright: ignore


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("predict a.wav ckpt=runs/a", "--ckpt runs/a"),
        ("predict a.wav --raw batch_size=4", "--batch-size 4"),
        ("serve runs/a", "--ckpt runs/a"),
        ("serve --port 80 runs/a", "--ckpt runs/a"),
        ("export --ckpt runs/a --to hf", "runs/a"),
        ("prepare --data ravdess", "data=ravdess"),
        ("prepare data=ravdess output=x", "--output x"),
        ("tune --model.lr=3", "model.lr=3"),
    ],
)
def test_a_word_of_another_form_is_refused_with_the_right_one(line, advice):
    with pytest.raises(UserError) as raised:
        check(line)
    assert advice in str(raised.value)


@pytest.mark.parametrize(
    "line",
    [
        "predict a=b.wav --ckpt runs/a --adapt window=3",
        "prepare data=ravdess --output x seed=1",
        "serve --ckpt runs/a --port 80",
        "predict --ckpt runs/a -- ckpt=a.wav",
        "predict --help",
        "enroll",
    ],
)
def test_words_of_the_right_form_pass(line):
    check(line)


def test_a_file_whose_name_looks_like_an_option_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ckpt=a.wav").touch()
    check("predict ckpt=a.wav --ckpt runs/a")
