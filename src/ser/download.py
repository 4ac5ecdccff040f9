"""Where a corpus lies: the user's own copy, a finished download, or a new one through kagglehub."""

import logging
import os
from pathlib import Path

import requests
from filelock import FileLock

from ser.corpora import Corpus

log = logging.getLogger(__name__)


def locate(corpus: Corpus, path: str | None) -> Path:
    """The folder of a corpus; `path` is a local copy, and then the network is never touched.

    Raises ConnectionError, naming both ways out, where no copy can be had.
    """
    if path is not None:
        return Path(path).expanduser()
    for handle in corpus.handles:
        if folder := newest_complete_version(handle):
            return folder
    tried, cause = [], None
    for handle in corpus.handles:
        try:
            return download(handle)
        except requests.RequestException as error:
            tried.append(f"{handle}: {type(error).__name__}")
            cause = error
    raise ConnectionError(
        f"{corpus.title} could not be downloaded from Kaggle ({'; '.join(tried)}) and no finished"
        f" download lies in {cache_folder()}: connect to the network and run this again, or name"
        f" a local copy with data.paths.{corpus.name}=FOLDER."
    ) from cause


def cache_folder() -> Path:
    return Path(os.environ.get("KAGGLEHUB_CACHE", "~/.cache/kagglehub")).expanduser()


def newest_complete_version(handle: str) -> Path | None:
    """The newest finished download of a handle, found without asking the network.

    kagglehub 1.0 asks for the current version even where a copy is cached, and so fails offline.
    A version counts only with the marker that kagglehub writes once it has unpacked everything.
    """
    versions = [
        int(marker.stem)
        for marker in (cache_folder() / "datasets" / handle).glob("*.complete")
        if marker.stem.isdigit() and (marker.parent / "versions" / marker.stem).is_dir()
    ]
    return (
        cache_folder() / "datasets" / handle / "versions" / str(max(versions)) if versions else None
    )


def download(handle: str) -> Path:
    """Fetch the current version of a Kaggle dataset; kagglehub shows progress and resumes."""
    import kagglehub

    lock = cache_folder() / "datasets" / f"{handle.replace('/', '--')}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    log.info("Downloading %s from Kaggle", handle)
    with FileLock(lock):  # kagglehub has none, and two runs would unpack over each other
        return Path(kagglehub.dataset_download(handle))
