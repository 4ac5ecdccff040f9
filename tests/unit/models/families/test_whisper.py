"""The Whisper family: log-mel spectrogram, padding, silence, truncation and published weights."""

import copy
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import (
    AutoModelForAudioClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from ser.audio.decode import decode
from ser.audio.resample import resample
from ser.config.backbone import BackboneConfig
from ser.config.model import ModelConfig
from ser.corpora.emotions import LABELS
from ser.data.dataset import collate
from ser.errors import UserError
from ser.inference.load import TrainedModel
from ser.inference.predictor import Predictor
from ser.inference.settings import WindowConfig
from ser.models.build import build_network, check_duration
from ser.models.families.base import PADDING, SILENCE, SPEECH
from ser.models.families.whisper import WhisperFamily, count_mel_frames, log_mel

SIZES = {"d_model": 32, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
WHISPER = {"model_type": "whisper", "encoder_layers": 3, "classifier_proj_size": 24} | SIZES
EXACT: Any = {"atol": 1e-4, "rtol": 0}


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(0, 0.1, round(16_000 * seconds)).astype(np.float32)


def extract(clip: np.ndarray, mels: int) -> torch.Tensor:
    """The frames (frames, mels) of a clip by transformers, which extends it with zeros to 30 s."""
    extractor = WhisperFeatureExtractor(feature_size=mels)
    values = extractor(clip, sampling_rate=16_000, return_tensors="np").input_features[0]
    return torch.from_numpy(values).T[: count_mel_frames(len(clip))]


def check_log_mel(clips: list[np.ndarray], mels: int) -> None:
    lengths = torch.tensor([len(clip) for clip in clips])
    waveforms = torch.zeros(len(clips), int(lengths.max()))
    for row, clip in zip(waveforms, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    found = log_mel(waveforms, lengths, mels)
    for row, clip in zip(found, clips, strict=True):
        expected = extract(clip, mels)
        torch.testing.assert_close(row[: len(expected)], expected, **EXACT)


@pytest.mark.parametrize("mels", [80, 128])
def test_the_spectrogram_is_that_of_the_feature_extractor(mels):
    quiet = 1e-4 * noise(1.3, 2)
    tone = np.sin(np.arange(20_001) / 7).astype(np.float32)
    check_log_mel([noise(0.4), quiet, tone, np.zeros(8_000, np.float32)], mels)


def test_the_spectrogram_of_real_clips_is_that_of_the_feature_extractor(real_audio):
    files = sorted(real_audio.rglob("*.wav"))[::40]
    recordings = [decode(file) for file in files]
    clips = [np.asarray(resample(each.waveform, each.sample_rate)) for each in recordings]
    check_log_mel(clips, 80)


def run_rows(network: Any, batch: Any) -> torch.Tensor:
    return network(batch["input_values"], attention_mask=batch["attention_mask"]).logits


@pytest.mark.parametrize("min_seconds", [0.0, 10.0, 30.0])
def test_a_clip_alone_and_in_a_padded_batch_gives_the_same_logits_and_gradients(
    make_network, clip, min_seconds
):
    alone = make_network(WHISPER | {"min_seconds": min_seconds}).eval()
    for parameter in alone.parameters():
        parameter.requires_grad_(True)
    batched = copy.deepcopy(alone)
    expected = run_rows(alone, collate([clip(0.5, 1)]))[0]
    found = run_rows(batched, collate([clip(0.5, 1), clip(1.7, 2)]))[0]
    torch.testing.assert_close(found, expected, **EXACT)
    expected.square().sum().backward()
    found.square().sum().backward()
    for one, other in zip(batched.parameters(), alone.parameters(), strict=True):
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, **EXACT)


def test_what_padding_holds_changes_nothing(make_network):
    network = make_network(WHISPER).eval()
    waveforms, mask = torch.randn(2, 16_000), torch.ones(2, 16_000, dtype=torch.long)
    mask[1, 7_000:] = 0
    other = waveforms.clone()
    other[1, 7_000:] = 5.0
    torch.testing.assert_close(network(other, mask).logits, network(waveforms, mask).logits)


@pytest.mark.parametrize("mels", [80, 128])
def test_with_30_s_the_hidden_states_are_those_of_transformers(make_network, mels, tmp_path):
    """Of a short clip with silence behind it, which transformers also attends to."""
    architecture = WHISPER | {"num_mel_bins": mels, "min_seconds": 30.0}
    network = make_network(architecture).eval()
    network.save_pretrained(tmp_path)
    theirs = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    clip = noise(1.5)
    features = WhisperFeatureExtractor(feature_size=mels)(
        clip, sampling_rate=16_000, return_tensors="pt"
    ).input_features
    waveform = torch.from_numpy(clip)[None]
    with torch.no_grad():
        ours = network(waveform, output_hidden_states=True).hidden_states
        expected = theirs.encoder(features, output_hidden_states=True).hidden_states
    for one, other in zip(ours, expected[:-1], strict=False):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_the_logits_of_30_s_are_those_of_transformers(make_network, tmp_path):
    network = make_network(WHISPER).eval()
    network.save_pretrained(tmp_path)
    theirs = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    clip = noise(30.0)
    features = WhisperFeatureExtractor()(clip, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        found = network(torch.from_numpy(clip)[None]).logits
        torch.testing.assert_close(found, theirs(**features).logits, **EXACT)


def test_silence_is_attended_to_but_not_pooled(make_network, clip):
    network = make_network(WHISPER | {"min_seconds": 1.0}).eval()
    batch = collate([clip(0.5, 1), clip(1.5, 2)])
    lengths = batch["attention_mask"].sum(1)
    hidden, mask = WhisperFamily().embed(network, batch["input_values"], lengths)
    assert hidden.shape[1] == 75
    assert mask is not None
    assert [int((mask[0] == kind).sum()) for kind in (SPEECH, SILENCE, PADDING)] == [25, 25, 25]
    assert bool((mask[1] == SPEECH).all())


def test_positions_end_with_the_longest_clip(make_network, clip):
    network = make_network(WHISPER)
    network.encoder.embed_positions.requires_grad_(True)
    run_rows(network, collate([clip(0.5, 1), clip(1.0, 2)])).sum().backward()
    used = network.encoder.embed_positions.weight.grad.abs().sum(1) > 0
    assert used[:50].all()
    assert not used[50:].any()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like those of the hub: encoder and decoder in half precision."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    decoder: dict[str, Any] = {
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 64,
    }
    config = WhisperConfig(encoder_layers=3, vocab_size=100, **SIZES, **decoder)
    for name in ("pad", "bos", "eos", "decoder_start"):
        setattr(config, f"{name}_token_id", 1)
    WhisperModel(config).half().save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def load(folder: Path, **options: Any) -> Any:
    return build_network(ModelConfig(backbone=BackboneConfig(str(folder)), **options), LABELS)


def test_the_decoder_is_neither_kept_nor_reported(published, caplog, capfd):
    with caplog.at_level(logging.WARNING):
        network = load(published)
    assert not any("decoder" in name for name in network.state_dict())
    assert caplog.records == []
    assert "decoder" not in "".join(capfd.readouterr())


def test_published_weights_in_half_precision_are_trained_in_full_precision(published):
    network, theirs = load(published), WhisperModel.from_pretrained(published)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    for name, value in theirs.encoder.state_dict().items():
        assert torch.equal(network.encoder.state_dict()[name], value.float()), name


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_network_that_ends_early_neither_computes_nor_stores_what_is_above(published, layer):
    shorter, whole = load(published, layer=layer).eval(), load(published).eval()
    layers = {int(n.split(".")[2]) for n in shorter.state_dict() if n.startswith("encoder.layers.")}
    assert layers == set(range(layer))
    assert not any(name.startswith("encoder.layer_norm") for name in shorter.state_dict())
    called: list[int] = []
    for number, each in enumerate(shorter.encoder.layers):
        each.register_forward_hook(lambda *_, number=number: called.append(number))
    waveform = torch.from_numpy(noise(0.8))[None]
    with torch.no_grad():
        states, _ = shorter.run(waveform, None)
        expected = whole(waveform, output_hidden_states=True).hidden_states[layer]
    assert called == list(range(layer))
    torch.testing.assert_close(states[-1], expected)


def test_a_layer_that_does_not_exist_is_an_error(published):
    with pytest.raises(UserError, match=r"model\.layer=4"):
        load(published, layer=4)


def test_a_folder_without_weights_of_the_encoder_is_an_error(published, tmp_path):
    other = WhisperConfig.from_pretrained(published)
    other.encoder_layers = other.num_hidden_layers = 4
    for file in published.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    other.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"encoder\.layers\.3"):
        load(tmp_path)


def test_clips_longer_than_30_s_are_refused(make_network):
    network = make_network(WHISPER)
    check_duration(network.family, network.config, 30.0)
    with pytest.raises(UserError, match=r"data\.max_seconds"):
        check_duration(network.family, network.config, 30.1)
    with pytest.raises(ValueError, match="30 s"):
        network(torch.zeros(1, 16_000 * 31))


def test_silence_is_refused_for_families_that_ignore_it(make_network, kinds):
    with pytest.raises(UserError, match=r"model\.backbone\.min_seconds"):
        make_network(kinds["wav2vec2-layer"] | {"min_seconds": 10.0})
    with pytest.raises(UserError, match=r"model\.backbone\.min_seconds"):
        make_network(WHISPER | {"max_source_positions": 100, "min_seconds": 3.0})


def test_longer_recordings_are_predicted_by_windows_of_at_most_30_s(make_network, tmp_path):
    network = make_network(WHISPER).eval()
    model = TrainedModel("tiny", network, False, LABELS, None, 30.0)
    predictor = Predictor(model, "cpu")
    path = tmp_path / "long.wav"
    soundfile.write(path, noise(70.0), 16_000)
    [prediction] = predictor([path])
    assert prediction.seconds == pytest.approx(70.0)
    assert [(each.start, each.end) for each in prediction.windows] == [(0, 30), (30, 60), (40, 70)]
    with pytest.raises(UserError, match="window"):
        predictor([path], sliding=WindowConfig(31.0, 31.0))


def test_the_spectrogram_compiles_for_all_lengths():
    """With sizes that change from batch to batch, as in training with model.compile=true."""

    def run(waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return log_mel(waveforms, lengths, 80)

    compiled = torch.compile(run, backend="aot_eager", dynamic=True)
    generator = torch.Generator().manual_seed(0)
    for batch, samples in ((2, 8_000), (3, 12_345)):
        waveforms = torch.randn(batch, samples, generator=generator)
        lengths = torch.tensor([samples - 1_000 * row for row in range(batch)])
        torch.testing.assert_close(
            compiled(waveforms, lengths), run(waveforms, lengths), atol=1e-4, rtol=1e-4
        )
