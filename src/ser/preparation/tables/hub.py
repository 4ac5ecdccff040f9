"""Data sets of the Hugging Face hub, downloaded as Parquet without the `datasets` library."""

import re
from pathlib import Path
from typing import cast

from ser.errors import HUB_HELP, UserError

REVISION = r"refs/convert/[\w.-]+|refs/pr/\d+|[\w.-]+"
NAME = re.compile(rf"hf:/{{1,2}}(?:datasets/)?([\w.-]+/[\w.-]+)(?:@({REVISION}))?(?:/([\w./-]+))?")
CONVERTED = "refs/convert/parquet"  # the hub's own conversion of public data sets


def parse(source: str) -> tuple[str, str | None, str | None]:
    """OWNER/NAME, revision and folder of a data set; raises UserError for another form."""
    match = NAME.fullmatch(source)
    if match is None:
        raise UserError(
            f"data.table={source}: write hf://OWNER/NAME, hf://OWNER/NAME@REVISION or"
            " hf://OWNER/NAME/FOLDER"
        )
    return match[1], match[2], match[3]


def download(source: str) -> Path:
    """The folder with the Parquet files of `hf://OWNER/NAME[@REVISION][/FOLDER]`.

    Without Parquet files of its own, the hub's conversion is used. Raises UserError if the data set
    cannot be downloaded.
    """
    name, revision, folder = parse(source)
    revisions = [revision] if revision else [None, CONVERTED]
    for each in revisions:
        path = fetch(name, each, folder)
        if path is not None and any(path.rglob("*.parquet")):
            return path / folder if folder else path
    raise UserError(f"data.table={source} has no Parquet files{f' in {folder}' if folder else ''}")


def fetch(name: str, revision: str | None, folder: str | None) -> Path | None:
    """A snapshot of the Parquet files of a data set; complete files are not downloaded again.

    None if the hub has not converted the data set.
    """
    from huggingface_hub import snapshot_download  # slow to import, and seldom used
    from huggingface_hub.errors import (
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # The errors of its HTTP library, which is another one in each major version, and OSError.
    network_errors = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    pattern = f"{folder}/**.parquet" if folder else "**.parquet"
    try:
        found = snapshot_download(
            name, repo_type="dataset", revision=revision, allow_patterns=[pattern]
        )
    except RepositoryNotFoundError as error:
        raise UserError(
            f"the hub has no data set {name}, or it is private: check the name, or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        if revision == CONVERTED:
            return None
        raise UserError(f"the data set {name} has no revision {revision}") from error
    except network_errors as error:
        raise UserError(
            f"the data set {name} cannot be downloaded ({type(error).__name__}): {HUB_HELP}, or"
            " download it yourself and set data.table=FOLDER"
        ) from error
    return Path(found)
