"""The utterances of a table as training reads them."""

from pathlib import Path

import pandas as pd

from ser.config.data import DataConfig
from ser.preparation.table import scan_table


def scan(path: Path | str, cache: Path, **settings) -> pd.DataFrame:
    data = DataConfig(corpora=[], table=str(path), cache_dir=str(cache), **settings)
    return scan_table(path, data).utterances
