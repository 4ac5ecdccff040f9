"""Settings that a command has no use for."""

import pytest

from ser.commands.main import main


@pytest.mark.parametrize("command", ["prepare", "tune", "probe", "baseline"])
def test_a_folder_is_named_by_the_option_of_the_command(command, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ser", command, "data=synthetic", "output_dir=here"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "output_dir=here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
