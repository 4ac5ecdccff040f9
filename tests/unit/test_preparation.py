import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser.data_config import DataConfig, SplitConfig, SplitKind
from ser.preparation import prepare


def settings(synthetic: Path, cache_dir: Path, **more) -> DataConfig:
    return DataConfig(synthetic=str(synthetic), cache_dir=str(cache_dir), **more)


def test_any_drop_is_an_error_where_nothing_may_be_left_out(corpora, cache_dir):
    with pytest.raises(ValueError, match=r"data\.strict=true: 37 files .*32 mirror.* among them"):
        prepare(settings(corpora, cache_dir, strict=True), SplitConfig())
    clean = settings(corpora, cache_dir, strict=True, corpora=["savee"])
    assert len(prepare(clean, SplitConfig()).utterances) == 112


def test_the_corpora_are_written_down_with_their_origin(corpora, cache_dir, tmp_path):
    done = prepare(settings(corpora, cache_dir), SplitConfig())
    done.write(tmp_path)
    written = pd.read_csv(tmp_path / "corpora.csv")
    assert written["corpus"].tolist() == ["ravdess", "cremad", "tess", "savee"]
    assert set(written["origin"]) == {"synthetic"}


def test_a_trimmed_copy_under_another_speaker_fails_a_speaker_split(tmp_path, corpora):
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


def test_preparing_needs_no_torch(corpora, cache_dir):
    code = (
        "import sys; from ser.cli import app; app(sys.argv[1:], standalone_mode=False);"
        "print(sorted({'torch', 'lightning', 'transformers'} & set(sys.modules)))"
    )
    arguments = ["prepare", f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, f"output_dir={cache_dir}/card"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


SCALE = """
import json, re, sys, time
from pathlib import Path
from ser.data_config import DataConfig, SplitConfig, SplitKind
from ser.preparation import prepare

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
    """Few files, of which every row is another part; the time is printed, not judged."""
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
