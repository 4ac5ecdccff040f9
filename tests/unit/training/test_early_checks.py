"""What is checked before anything slow."""

import pytest

from ser.errors import UserError
from ser.training import train as training


def test_a_wrong_folder_is_named_before_the_hub_is_asked(compose_config, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "holiday.wav").touch()
    monkeypatch.setattr(training, "describe_network", lambda *_: pytest.fail("asked the hub"))
    folder = f"data.paths.ravdess={tmp_path / 'data'}"
    config = compose_config(
        "data=ravdess", "data.synthetic=null", folder, f"output_dir={tmp_path / 'run'}"
    )
    with pytest.raises(UserError, match=r"data\.paths\.ravdess"):
        training.train(config)
    assert (tmp_path / "run" / "dropped.csv").is_file()
