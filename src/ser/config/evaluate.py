"""All settings of an evaluation."""

from dataclasses import dataclass
from typing import Any

from ser.config.data import check_corpora, require_copy
from ser.config.fields import group, require_speeds, setting
from ser.config.hub import require_model
from ser.config.mapping import as_mapping
from ser.config.precision import Precision, parse_precision
from ser.config.split import Part
from ser.config.trainer import ACCELERATORS
from ser.corpora import CORPORA
from ser.errors import require


@dataclass
class EvaluateDataConfig:
    corpora: list[str] = setting(
        [], "evaluate these corpora only, also corpora new to the model; []: as in training"
    )
    paths: dict[str, str | None] = setting(
        dict.fromkeys(CORPORA),
        "folder or ZIP file of a corpus, if it has moved; null: as in training",
    )
    table: str | None = setting(
        None, "a table new to the model, or the new place of the training table"
    )
    label_map: Any = setting(
        {}, "maps emotions of a new table to the classes; a mapping or a YAML file"
    )
    votes: dict[str, str | None] = setting(
        {"cremad": None}, "file of listeners' votes, if it has moved; null: as in training"
    )
    demographics: dict[str, str | None] = setting(
        {"cremad": None},
        "file of the speakers' age and race, if it has moved; null: as in training",
    )
    synthetic: str | None = setting(None, "folder of the synthetic corpora, if it has moved")
    cache_dir: str | None = setting(None, "folder of decoded audio; null: as in training")
    batch_size: int | None = setting(None, "utterances per batch; null: as in training")

    def __post_init__(self) -> None:
        self.label_map = as_mapping("data.label_map", self.label_map)
        check_corpora("data.corpora", self.corpora)
        check_corpora("data.paths", self.paths)
        size = self.batch_size
        require(size is None or size >= 1, "data.batch_size", size, "at least 1")

    def check_files(self) -> None:
        for name, path in self.paths.items():
            if path is not None:
                require_copy(name, path)


@dataclass
class EvaluateConfig:
    ckpt: str = setting("???", "run folder or checkpoint; a run folder means its best checkpoint")
    part: Part = setting(Part.test, "train, val or test")
    data_from: str | None = setting(
        None, "run whose data and split are used, for an exported model or one on the hub"
    )
    label_map: Any = setting(
        {}, "with data_from: maps labels of the model to those of the run; null leaves one out"
    )
    output_dir: str | None = setting(
        None, "folder of the report; null: report/ in the run folder, or report-.../ beside it"
    )
    accelerator: str = setting("auto", "|".join(ACCELERATORS))
    command: list[str] = setting([], "overrides as typed; filled in automatically")
    precision: str = setting(
        "fp32", "|".join(Precision) + "; auto: as `ser predict`; reports name what was used"
    )
    speeds: list[float] = setting(
        [1.0],
        "average the logits of each utterance over these speeds; three take three times as long",
    )
    robustness: bool = setting(False, "also measure noise, band limits, reverberation, gain, cuts")
    restricted_audio: bool = setting(False, "put clips into the report whose licence forbids it")
    data: EvaluateDataConfig = group(EvaluateDataConfig)

    def __post_init__(self) -> None:
        self.label_map = as_mapping("label_map", self.label_map)
        rule = f"choose one of {', '.join(ACCELERATORS)}"
        require(self.accelerator in ACCELERATORS, "accelerator", self.accelerator, rule)
        self.precision = str(parse_precision(self.precision, "precision"))
        mapped = bool(self.label_map) and self.data_from is None
        require(not mapped, "label_map", self.label_map, "needs data_from=RUN")
        rule = "is not measured for models with data_from"
        require(self.data_from is None or not self.robustness, "robustness", True, rule)
        require_speeds("speeds", self.speeds)

    def check_files(self) -> None:
        self.data.check_files()
        require_model("ckpt", self.ckpt)
