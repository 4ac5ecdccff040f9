"""Real RAVDESS and TESS files, where SER_REAL_AUDIO says they lie."""

import pytest

from ser.commands.evaluate import run as evaluate
from ser.config.evaluate import EvaluateConfig
from ser.training.train import train


@pytest.fixture
def real_config(compose_config, real_audio, cache_dir, tmp_path):
    def real_config(*overrides: str):
        return compose_config(
            "data.corpora=[ravdess,tess]",
            f"data.paths.ravdess={real_audio / 'ravdess'}",
            f"data.paths.tess={real_audio / 'tess'}",
            f"data.cache_dir={cache_dir}",
            f"output_dir={tmp_path}",
            "callbacks=quiet",
            *overrides,
        )

    return real_config


@pytest.mark.slow
def test_a_tiny_network_learns_from_real_speech_and_is_evaluated(real_config):
    recipe = ["backbone=tiny", "trainer=cpu", "model.lr=1e-3", "model.freeze_feature_encoder=false"]
    run = train(
        real_config(*recipe, "trainer.max_epochs=6", "data.batch_size=8", "data.max_seconds=3")
    )
    scores = evaluate(EvaluateConfig(ckpt=str(run.checkpoint)))
    assert scores.utterances == 78
    assert scores.uar > 0.2  # guessing gives 0.125


@pytest.mark.slow
def test_the_full_architecture_takes_steps_and_is_evaluated_on_a_cpu(real_config):
    """xlsr-53 with random weights, 315 M parameters, within 20 GiB."""
    import resource

    train(
        real_config(
            "model.backbone.pretrained=false",
            "trainer=cpu",
            "data.batch_size=2",
            "trainer.fast_dev_run=2",  # two steps, two validation batches, no 4 GB checkpoint
        )
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert peak < 20
