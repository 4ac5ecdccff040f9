import json
import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser.audio.cache import AudioCache
from ser.config.data import DataConfig
from ser.config.split import SplitConfig, SplitKind
from ser.corpora import CORPORA, Corpus, Utterance, register
from ser.corpora.ravdess import Channel
from ser.errors import UserError
from ser.preparation.manifest import PreparationError
from ser.preparation.prepare import check, prepare


def settings(synthetic: Path, cache_dir: Path, **more) -> DataConfig:
    return DataConfig(synthetic=str(synthetic), cache_dir=str(cache_dir), **more)


def test_strict_refuses_any_dropped_file(corpora, cache_dir):
    with pytest.raises(PreparationError, match=r"data\.strict=true: 37 files") as caught:
        prepare(settings(corpora, cache_dir, strict=True), SplitConfig())
    assert len(caught.value.manifest.dropped) == 37
    clean = settings(corpora, cache_dir, strict=True, corpora=["savee"])
    assert len(prepare(clean, SplitConfig()).utterances) == 112


def test_corpora_are_recorded_with_their_origin(corpora, cache_dir, tmp_path, caplog):
    done = prepare(settings(corpora, cache_dir), SplitConfig())
    assert "sentence" not in caplog.text  # tones have no words
    done.write(tmp_path)
    written = pd.read_csv(tmp_path / "corpora.csv")
    assert written["corpus"].tolist() == ["ravdess", "cremad", "tess", "savee"]
    assert set(written["origin"]) == {"synthetic"}


def test_trimmed_copies_of_another_speaker_fail_a_speaker_split(tmp_path, corpora):
    """The same recording twice, once re-encoded, trimmed and under another name."""
    source = next((corpora / "savee").rglob("DC_a01.wav"))
    folder = tmp_path / "savee"
    for path in (corpora / "savee").rglob("*.wav"):
        (folder / path.name).parent.mkdir(exist_ok=True)
        (folder / path.name).symlink_to(path)
    samples, rate = soundfile.read(source)
    (folder / "JE_a01.wav").unlink()
    soundfile.write(folder / "JE_a01.wav", samples[rate // 10 :] * 0.8, rate)
    data = DataConfig(
        corpora=["savee"], paths={"savee": str(folder)}, cache_dir=str(tmp_path / "c")
    )
    problems = []
    for fold in (1, 2, 3, 4):
        split = SplitConfig(kind=SplitKind.folds, scheme="emobox", fold=fold)
        try:
            prepare(data, split)
        except ValueError as error:
            problems.append(str(error))
    assert problems
    assert all("DC_a01.wav ~ " in problem and "JE_a01.wav" in problem for problem in problems)
    table = prepare(data, SplitConfig()).utterances
    assert table["recording"].nunique() == len(table) - 1
    data.near_duplicates = False
    assert prepare(data, split).utterances["recording"].nunique() == len(table)


@pytest.mark.slow
def test_preparation_does_not_import_torch(corpora, cache_dir):
    code = (
        "import sys; from ser.commands.main import app; app(sys.argv[1:], standalone_mode=False);"
        "print(sorted({'torch', 'lightning', 'transformers'} & set(sys.modules)))"
    )
    arguments = ["prepare", f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--output", str(cache_dir / "card")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def write_corpus(folder: Path, write_tone, speakers: int = 4) -> dict[str, Any]:
    """A small SAVEE copy and settings to prepare it."""
    for row, speaker in enumerate(("DC", "JE", "JK", "KL")[:speakers]):
        for number, code in enumerate(("a", "h", "sa"), 1):
            for take in range(1, 4):
                pitch = 100 + 17 * (9 * row + 3 * number + take)
                write_tone(folder / f"savee/ALL/{speaker}_{code}{take:02}.wav", pitch=pitch)
    return {
        "corpora": ["savee"], "paths": {"savee": str(folder / "savee")},
        "cache_dir": str(folder / "cache"), "labels": ["angry", "happy", "sad"],
    }  # fmt: skip


def is_decoded(folder: Path) -> bool:
    return bool(list((folder / "cache").glob("*/*.csv")))


@pytest.mark.parametrize(
    "split",
    [
        {"kind": SplitKind.corpus, "held_out": ["tess"]},
        {"kind": SplitKind.folds, "scheme": "luna_jimenez"},
        {"kind": SplitKind.folds, "scheme": "emobox", "fold": 5},
        {"kind": SplitKind.folds, "folds": 5, "fold": 5},  # there are four speakers
        {"kind": SplitKind.cross_speaker, "test_speakers": ["YAF"]},
        {"kind": SplitKind.speaker, "val": 0.5, "test": 0.4},
        {"kind": SplitKind.table},
        {"manifest": "nothing.csv"},
    ],
)
def test_impossible_splits_are_refused_before_decoding(tmp_path, write_tone, split):
    data = DataConfig(**write_corpus(tmp_path, write_tone))
    with pytest.raises((UserError, FileNotFoundError)):
        prepare(data, SplitConfig(**split))
    assert not is_decoded(tmp_path)


def test_a_check_decodes_nothing_and_a_cache_is_used_as_given(tmp_path, write_tone):
    data = DataConfig(**write_corpus(tmp_path, write_tone))
    split = SplitConfig(kind=SplitKind.speaker)
    assert len(check(data, split).utterances) == 36
    assert not is_decoded(tmp_path)
    cache = AudioCache(tmp_path / "other")
    assert len(prepare(data, split, cache).utterances) == 36
    assert not is_decoded(tmp_path)
    assert list((tmp_path / "other").glob("*/*.csv"))


def test_losses_are_explained_before_the_split_fails(tmp_path, write_tone):
    data = DataConfig(**write_corpus(tmp_path, write_tone))
    for path in (tmp_path / "savee/ALL").glob("*_sa*.wav"):
        path.write_bytes(b"")
    with pytest.raises(
        PreparationError, match=r"12 of 36 files were left out: 12 empty \(.*sa01"
    ) as caught:
        prepare(data, SplitConfig(kind=SplitKind.speaker))
    assert len(caught.value.manifest.dropped) == 12


def test_a_folder_of_another_corpus_is_described(tmp_path, write_tone):
    write_tone(tmp_path / "t/OAF_back_sad.wav")
    data = DataConfig(corpora=["ravdess"], paths={"ravdess": str(tmp_path / "t")})
    with pytest.raises(PreparationError) as caught:
        prepare(data, SplitConfig())
    message = str(caught.value)
    assert "03-01-06-01-02-01-12.wav" in message  # what was expected
    assert "OAF_back_sad.wav" in message  # what was found
    assert "data.corpora=[tess]" in message  # what it probably is
    assert len(caught.value.manifest.dropped) == 1


def test_a_folder_of_archives_is_described(tmp_path):
    (tmp_path / "song.zip").write_bytes(b"PK")
    data = DataConfig(corpora=["tess"], paths={"tess": str(tmp_path)})
    with pytest.raises(PreparationError, match=r"1 \.zip"):
        prepare(data, SplitConfig())


def test_synthetic_corpora_have_no_stand_in_for_others(tmp_path):
    data = DataConfig(corpora=["emodb"], synthetic=str(tmp_path / "s"))
    with pytest.raises(UserError, match=r"data\.corpora=emodb"):
        prepare(data, SplitConfig())
    assert not (tmp_path / "s").exists()


def test_a_corpus_in_a_zip_file_is_prepared(tmp_path, write_tone):
    settings = write_corpus(tmp_path, write_tone)
    archive = shutil.make_archive(str(tmp_path / "savee-copy"), "zip", tmp_path / "savee")
    split = SplitConfig(kind=SplitKind.speaker)
    folder = prepare(DataConfig(**settings), split)
    settings["paths"] = {"savee": archive}
    zipped = prepare(DataConfig(**settings), split)
    assert zipped.fingerprint == folder.fingerprint
    assert zipped.corpora["origin"].tolist() == ["local copy, savee-copy.zip"]


def test_ravdess_song_is_left_out_by_default(tmp_path, write_tone):
    for number, channel in enumerate(("01", "02")):
        for actor in (1, 2, 3, 4, 5):
            for code in ("03", "04"):
                name = f"03-{channel}-{code}-01-01-01-{actor:02}.wav"
                write_tone(tmp_path / "r" / name, pitch=100 + 40 * actor + 10 * number + int(code))
    counts = {}
    for channel in Channel:
        data = DataConfig(
            corpora=["ravdess"], paths={"ravdess": str(tmp_path / "r")}, labels=["happy", "sad"],
            ravdess_channel=channel, cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
        done = prepare(data, SplitConfig(kind=SplitKind.speaker))
        counts[str(channel)] = (len(done.utterances), len(done.dropped))
    assert counts == {"speech": (10, 10), "song": (10, 10), "both": (20, 0)}


def test_a_registered_corpus_is_prepared_like_a_built_in_one(tmp_path, write_tone):
    def parse(path: PurePath) -> Utterance:
        speaker, emotion, take = path.stem.split("-")
        return Utterance(path.stem, speaker, "", emotion, take)

    register(Corpus(name="birds", title="Birds", licence="", citation="", parse=parse))
    for speaker in "abcd":
        for number, emotion in enumerate(("happy", "sad", "boredom")):
            for take in "12":
                pitch = 100 + 10 * ord(speaker) + 130 * number + 3 * int(take)
                write_tone(tmp_path / f"birds/{speaker}-{emotion}-{take}.wav", pitch=pitch)
    data = DataConfig(
        corpora=["birds"], paths={"birds": str(tmp_path / "birds")},
        labels=["happy", "sad", "boredom"], cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    data.check_files()
    done = prepare(data, SplitConfig(kind=SplitKind.speaker)).utterances
    assert set(done["corpus"]) == {"birds"}
    assert set(done["emotion"]) == {"happy", "sad", "boredom"}
    CORPORA.pop("birds")


PLUGIN = """
from ser.corpora import Corpus, Utterance

def parse(path):
    speaker, emotion, take = path.stem.split("-")
    return Utterance(path.stem, speaker, "", emotion, take)

CORPUS = Corpus(name="birds", title="Birds", licence="", citation="", parse=parse)
"""


@pytest.mark.slow
def test_a_corpus_of_an_installed_package_is_prepared_by_its_name(tmp_path, write_tone):
    """As the guide in CONTRIBUTING.md says: an entry point, and no change to this package."""
    installed = tmp_path / "site/birds-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Name: birds\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[ser.corpora]\nbirds = birds_plugin:CORPUS\n")
    (tmp_path / "site/birds_plugin.py").write_text(PLUGIN)
    for row, speaker in enumerate("abcd"):
        for column, emotion in enumerate(("happy", "sad")):
            pitch = 100 + 90 * row + 40 * column
            write_tone(tmp_path / f"birds/{speaker}-{emotion}-1.wav", pitch=pitch)
    code = "import sys; from ser.commands.main import app; app(sys.argv[1:])"
    settings = ["data.corpora=[birds]", f"data.paths.birds={tmp_path / 'birds'}", "split=speaker",
                "data.labels=[happy,sad]", f"data.cache_dir={tmp_path / 'cache'}"]  # fmt: skip
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code, "prepare", *settings, "--output", str(tmp_path / "card")],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(tmp_path / "card/manifest.csv")["corpus"]) == {"birds"}


SCALE = """
import json, re, sys, time
from pathlib import Path
from ser.config.data import DataConfig
from ser.config.split import SplitConfig, SplitKind
from ser.preparation.prepare import prepare

data = DataConfig(corpora=[], table=sys.argv[1], cache_dir=sys.argv[2])
start = time.perf_counter()
done = prepare(data, SplitConfig(kind=SplitKind(sys.argv[3])))
seconds = time.perf_counter() - start
# Of this program alone: ru_maxrss also counts the process that started it, before its exec.
peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 2**20
print(json.dumps({"seconds": seconds, "gib": peak, "rows": len(done.utterances)}))
"""


@pytest.mark.slow
def test_200_000_rows_need_less_than_a_gibibyte(tmp_path):
    """Each row is another part of a few files. The time is printed, not asserted."""
    generator, rows = np.random.default_rng(0), []
    for number in range(20):
        noise = generator.normal(0, 0.1, 16_000 * 110).astype(np.float32)
        soundfile.write(tmp_path / f"{number}.wav", noise, 16_000)
        for part in range(10_000):
            emotion = ("happy", "sad", "angry")[part % 3]
            rows.append(f"{number}.wav,{emotion},s{part % 100},{part / 100},{part / 100 + 0.3}")
    table = tmp_path / "big.csv"
    table.write_text("\n".join(["path,emotion,speaker,start,end", *rows]))
    for kind in ("stratified", "speaker"):
        arguments = [str(table), str(tmp_path / "cache"), kind]
        done = subprocess.run(
            [sys.executable, "-c", SCALE, *arguments], capture_output=True, text=True, check=True
        )
        measured = json.loads(done.stdout.splitlines()[-1])
        print(kind, measured)
        assert measured["rows"] == 200_000
        assert measured["gib"] < 1


def test_a_folder_of_several_corpora_is_named(compose_config, corpora, caplog):
    """The files of the other corpora are dropped, and more of them than are kept."""
    paths = ["data=savee", f"data.paths.savee={corpora}", "output_dir=x"]
    config = compose_config("data.synthetic=null", *paths)
    assert set(check(config.data, config.split).utterances["corpus"]) == {"savee"}
    assert "data.paths.savee" in caplog.text
    caplog.clear()
    config = compose_config("data.synthetic=null", *paths, f"data.paths.savee={corpora / 'savee'}")
    check(config.data, config.split)
    assert not caplog.text
