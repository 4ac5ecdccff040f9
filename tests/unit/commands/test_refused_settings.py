"""Settings that a command has no use for."""

import subprocess
import sys

import pytest

from ser.commands.main import main


@pytest.mark.parametrize("setting", ["output_dir=here", "ckpt=here"])
@pytest.mark.parametrize("command", ["prepare", "tune", "probe", "baseline"])
def test_settings_of_training_alone_are_refused(command, setting, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ser", command, "data=synthetic", setting])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert setting in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("backbone=wavlm-large", "wavlm_large"),
        ("split=Speakers", "speaker"),
        ("data=3", "ravdess"),
        ("data=true", "ravdess"),
        ("data=null", "ravdess"),
        ("data=tess,savee", "data.corpora=[tess,savee]"),
        ("model.join_layers=1,2", "model.join_layers=[1,2]"),
        ("data.labels=sad", "data.labels=["),
        ("=3", "KEY=VALUE"),
        ("ckpt=runs/svee", "runs/savee"),
        ("data.paths.tess=runs/svee", "runs/savee"),
    ],
)
def test_a_slip_is_one_line_with_what_to_type(setting, advice, monkeypatch, capsys, tmp_path):
    (tmp_path / "runs" / "savee").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ser", "train", setting])
    with pytest.raises(SystemExit) as stopped:
        main()
    [line] = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert advice in line


@pytest.mark.slow
def test_a_reader_that_closes_the_pipe_ends_a_prediction_quietly(trained, write_tone, tmp_path):
    """As `head` does; the exit code tells that the output is not whole."""
    for number in range(40):
        write_tone(tmp_path / "in" / f"{number}.wav", pitch=200 + number)
    command = [sys.executable, "-m", "ser", "predict", str(tmp_path / "in"), "--ckpt", str(trained)]
    process = subprocess.Popen(
        [*command, "--format", "jsonl", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("{")
    process.stdout.close()
    assert process.wait() == 1
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_a_list_is_advised_only_where_one_is_possible(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["ser", "train", "model.lr=1e-4,1e-5"])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().err
    assert "-m" in printed
    assert "[" not in printed


@pytest.mark.parametrize("command", [[], ["predict"], ["train"]])
def test_help_has_a_short_form(command, monkeypatch, capsys):
    texts = []
    for option in ("--help", "-h"):
        monkeypatch.setattr("sys.argv", ["ser", *command, option])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        texts.append(capsys.readouterr().out)
    assert texts[0]
    assert texts[0] == texts[1]


def test_several_timelines_need_a_folder_before_the_model_is_loaded(
    monkeypatch, capsys, write_tone, tmp_path
):
    for name in ("a.wav", "b.wav"):
        write_tone(tmp_path / name)
    (tmp_path / "model").mkdir()  # loading it would be another error
    arguments = ["predict", str(tmp_path), "--ckpt", str(tmp_path / "model"), "--format", "vtt"]
    monkeypatch.setattr("sys.argv", ["ser", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "--output" in capsys.readouterr().err
