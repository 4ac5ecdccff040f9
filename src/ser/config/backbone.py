"""Settings of the pretrained backbone and of its low-rank adapters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.config.fields import require_shares, setting
from ser.config.hub import has_hub_form, without_address
from ser.errors import require


@dataclass
class BackboneConfig:
    name: str = setting("facebook/wav2vec2-large-xlsr-53", "Hugging Face hub name or local folder")
    revision: str | None = setting(None, "branch, tag or commit on the hub")
    pretrained: bool = setting(True, "false: random weights of the same architecture, offline")
    layerdrop: float = setting(0.0, "probability of skipping a transformer layer in training")
    mask_time_prob: float = setting(0.05, "SpecAugment: share of time steps masked in training")
    mask_feature_prob: float = setting(0.0, "SpecAugment: share of features masked in training")
    min_seconds: float = setting(
        0.0, "Whisper: add silence to shorter clips, which is attended to but not pooled; up to 30"
    )
    architecture: dict[str, Any] = setting(
        {}, "configuration if pretrained=false; name_or_path is the model it describes"
    )

    def __post_init__(self) -> None:
        self.name = without_address(self.name)
        names = ("layerdrop", "mask_time_prob", "mask_feature_prob")
        require_shares("model.backbone", self, *names)
        least = self.min_seconds
        require(0 <= least <= 30, "model.backbone.min_seconds", least, "from 0 to 30 s")

    def check_files(self) -> None:
        """Raise UserError for a name that cannot be loaded, or that the network would not have."""
        local = Path(self.name).expanduser().is_dir()
        unnamed = None if local and self.architecture else self.name
        described = self.architecture.get("name_or_path", unnamed)
        known = local or has_hub_form(self.name) or (described == self.name and not self.pretrained)
        rule = "neither an existing folder nor OWNER/NAME on the hub"
        base, _, revision = self.name.replace("/tree/", "@").partition("@")
        if revision and has_hub_form(without_address(base)):
            rule = f"set the revision with model.backbone.revision={revision}"
        require(known, "model.backbone.name", self.name, rule)
        rule = (
            "with pretrained=false, random weights of another architecture would be trained under"
            " this name; add model.backbone.pretrained=true, or keep the name of the backbone"
        )
        same = self.pretrained or described == self.name
        require(same, "model.backbone.name", self.name, rule)


@dataclass
class AdapterConfig:
    rank: int = setting(8, "LoRA rank")
    alpha: float = setting(16.0, "LoRA scaling: the update is multiplied by alpha / rank")
    dropout: float = setting(0.0, "dropout probability of the LoRA input")

    def __post_init__(self) -> None:
        require(self.rank >= 1, "model.lora.rank", self.rank, "at least 1")
        require(0 < self.alpha < 1e3, "model.lora.alpha", self.alpha, "above 0 and below 1000")
        require_shares("model.lora", self, "dropout")
