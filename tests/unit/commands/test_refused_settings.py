"""Settings that a command has no use for."""

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
