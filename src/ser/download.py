"""Where a corpus lies: the user's own copy, a finished download, or a new one through kagglehub.

kagglehub shows progress, resumes a broken download and checks its MD5. Added here: a copy on disk
is used without asking the network, attempts are repeated, one process at a time unpacks, and what
arrived is counted. Nothing is ever deleted but kagglehub's own marker of a finished download.
"""

import logging
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import requests
from filelock import FileLock
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from ser.corpora import Corpus

log = logging.getLogger(__name__)
ATTEMPTS = 6  # with growing pauses: half a minute in all
ATTEMPTS_TO_CONNECT = 2  # without a network at all there is little to wait for


@dataclass(frozen=True)
class Origin:
    """The folder of a corpus and where it is from; `version` is that of a Kaggle dataset."""

    folder: Path
    origin: str
    handle: str = ""
    version: int = 0

    @property
    def marker(self) -> Path:
        """What kagglehub writes once it has unpacked everything."""
        return self.folder.parents[1] / f"{self.version}.complete"

    @property
    def counted(self) -> Path:
        """What we write beside it once a second download has brought no more files."""
        return self.folder.parents[1] / f"{self.version}.downloaded-twice"


def locate(corpus: Corpus, path: str | None, version: int | None = None) -> Origin:
    """The folder of a corpus; `path` is a local copy, and then the network is never touched.

    Raises ConnectionError, naming both ways out, where no copy can be had.
    """
    if path is not None:
        return Origin(Path(path).expanduser(), "local copy")
    for handle in corpus.handles:
        if source := find_finished(handle, version):
            return source
    failures, cause = [], None
    for handle in corpus.handles:
        try:
            return download(handle, version)
        except OSError as error:  # all that requests and we ourselves raise
            failures.append(f"{handle}: {type(error).__name__}")
            cause = error
    wanted = "" if version is None else f" version {version}"
    raise ConnectionError(
        f"{corpus.title}{wanted} could not be downloaded from Kaggle ({'; '.join(failures)}) and no"
        f" finished download lies in {cache_folder()}: connect to the network and run this again,"
        f" or name a local copy with data.paths.{corpus.name}=FOLDER."
    ) from cause


def cache_folder() -> Path:
    return Path(os.environ.get("KAGGLEHUB_CACHE", "~/.cache/kagglehub")).expanduser()


def describe(handle: str, version: int) -> Origin:
    folder = cache_folder() / "datasets" / handle / "versions" / str(version)
    return Origin(folder, f"kaggle.com/datasets/{handle}, version {version}", handle, version)


def find_finished(handle: str, version: int | None = None) -> Origin | None:
    """The newest finished download of a handle (or that version), without asking the network.

    kagglehub 1.0 asks for the current version even where a copy is cached, and so fails offline.
    A version counts only with the marker that kagglehub writes once it has unpacked everything.
    """
    markers = (cache_folder() / "datasets" / handle).glob("*.complete")
    versions = [int(marker.stem) for marker in markers if marker.stem.isdigit()]
    finished = [describe(handle, each) for each in versions if version in (None, each)]
    there = [source for source in finished if source.folder.is_dir()]
    return max(there, key=lambda source: source.version, default=None)


def download(handle: str, version: int | None = None) -> Origin:
    """Fetch a Kaggle dataset, trying again after what may pass; kagglehub shows progress.

    Raises OSError where it cannot be had.
    """
    import kagglehub  # half a second, and most runs download nothing
    from kagglehub.exceptions import DataCorruptionError

    lock = cache_folder() / "datasets" / f"{handle.replace('/', '--')}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    log.info("Downloading %s from Kaggle", handle)
    wanted = handle if version is None else f"{handle}/versions/{version}"
    attempts = Retrying(
        retry=retry_if_exception(may_pass),
        wait=wait_exponential_jitter(initial=1, max=16, jitter=0.5),
        stop=is_over,
        before_sleep=announce,
        reraise=True,
    )
    with FileLock(lock):  # kagglehub has none, and two runs would unpack over each other
        try:
            folder = Path(attempts(kagglehub.dataset_download, wanted))
        except DataCorruptionError as error:
            raise OSError(f"{handle} arrived damaged {ATTEMPTS} times ({error})") from error
        except (ValueError, zipfile.BadZipFile) as error:
            raise OSError(f"{handle} arrived as an archive that cannot be read: {error}") from error
    return describe(handle, int(folder.name))


def may_pass(error: BaseException) -> bool:
    """Whether trying again can help: not where Kaggle has understood, and said no."""
    from kagglehub.exceptions import DataCorruptionError

    if isinstance(error, requests.HTTPError):
        status = error.response.status_code if error.response is not None else 500
        return status >= 500 or status == requests.codes.too_many_requests
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return False  # something else than Kaggle has answered
    return isinstance(error, requests.RequestException | DataCorruptionError)


def is_over(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    # A broken connection is one that was there; ConnectionError alone is one that never was.
    refused = isinstance(error, requests.ConnectionError)
    return state.attempt_number >= (ATTEMPTS_TO_CONNECT if refused else ATTEMPTS)


def announce(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    reason = re.sub(r"\s+", " ", str(error))[:120]
    log.warning("Kaggle: %s (%s); again in %.0f s", type(error).__name__, reason, pause)


def download_again(corpus: Corpus, source: Origin, found: int) -> Origin:
    """Fetch a download anew in which files are missing, once; what is there stays there.

    Raises ConnectionError where it cannot be had.
    """
    if source.counted.exists():  # the dataset itself has no more
        return source
    log.warning(
        "%s holds %d of the %d files of %s: downloading it again",
        *(source.folder, found, corpus.files, corpus.title),
    )
    source.marker.unlink(missing_ok=True)
    try:
        again = download(source.handle, source.version)
    except OSError as error:
        source.marker.touch()
        raise ConnectionError(
            f"{source.folder} holds only {found:,} of the {corpus.files:,} files of {corpus.title},"
            f" and Kaggle cannot be reached ({type(error).__name__}): connect to the network, or"
            f" use it as it is with data.paths.{corpus.name}={source.folder}"
        ) from error
    source.counted.touch()
    return again
