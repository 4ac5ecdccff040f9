"""Locates a corpus: a copy of the user's, a finished download, or a new download from Kaggle.

kagglehub shows progress, resumes a broken download and checks its MD5. Added here: a copy on disk
is used without network access, failed attempts are repeated, one process at a time unpacks, and
the files are counted. Nothing is deleted except kagglehub's own marker of a finished download.
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

from ser.corpora.archive import is_archive, unpack
from ser.corpora.corpus import Corpus
from ser.errors import UserError, first_line

log = logging.getLogger(__name__)
ATTEMPTS = 6  # with growing pauses: half a minute in total
ATTEMPTS_TO_CONNECT = 2  # a machine without any network would wait in vain
UNPACKED = Path("~/.cache/ser/unpacked")


@dataclass(frozen=True)
class CorpusSource:
    """The folder of a corpus and its origin.

    `version` is that of a download from Kaggle; 0 for a folder that we cannot download again.
    """

    folder: Path
    origin: str
    handle: str = ""
    version: int = 0

    @property
    def marker(self) -> Path:
        """The file that kagglehub writes after unpacking everything."""
        return self.folder.parents[1] / f"{self.version}.complete"

    @property
    def counted(self) -> Path:
        """The file that we write beside it if a second download has brought no more files."""
        return self.folder.parents[1] / f"{self.version}.downloaded-twice"


def locate(
    corpus: Corpus, path: str | None, version: int | None = None, unpacked: Path = UNPACKED
) -> CorpusSource:
    """The folder of a corpus. With `path`, a local copy, the network is never used.

    A local ZIP file is unpacked below `unpacked`. Raises UserError if no copy is available; the
    message names both solutions.
    """
    if path is not None:
        local = Path(path).expanduser()
        if is_archive(local):
            return CorpusSource(unpack(local, unpacked), f"local copy, {local.name}")
        return CorpusSource(local, "local copy")
    corpus.check_available()
    for handle in corpus.handles:
        if source := find_finished(handle, version):
            return source
    failures, cause = [], None
    for handle in corpus.handles:
        try:
            return download(handle, version)
        except (OSError, UserError) as error:
            failures.append(f"{handle}: {type(error).__name__}")
            cause = error
    wanted = "" if version is None else f" version {version}"
    raise UserError(
        f"{corpus.title}{wanted} could not be downloaded from Kaggle ({'; '.join(failures)}), and"
        f" {cache_folder()} holds no finished download: connect to the network and try again, or"
        f" set data.paths.{corpus.name}=FOLDER to a local copy (a folder or a ZIP file)."
    ) from cause


def cache_folder() -> Path:
    return Path(os.environ.get("KAGGLEHUB_CACHE", "~/.cache/kagglehub")).expanduser()


def describe(handle: str, version: int) -> CorpusSource:
    folder = cache_folder() / "datasets" / handle / "versions" / str(version)
    return CorpusSource(folder, f"kaggle.com/datasets/{handle}, version {version}", handle, version)


def find_finished(handle: str, version: int | None = None) -> CorpusSource | None:
    """The newest finished download of a handle (or that version); uses no network.

    kagglehub 1.0 requests the current version even if a copy is cached, and so fails offline.
    A version counts only with the marker that kagglehub writes after unpacking everything.
    """
    markers = (cache_folder() / "datasets" / handle).glob("*.complete")
    versions = [int(marker.stem) for marker in markers if marker.stem.isdigit()]
    finished = [describe(handle, each) for each in versions if version in (None, each)]
    there = [source for source in finished if source.folder.is_dir()]
    return max(there, key=lambda source: source.version, default=None)


def download(handle: str, version: int | None = None) -> CorpusSource:
    """Download a Kaggle dataset and retry temporary failures; kagglehub shows progress.

    Raises UserError if the archive is damaged or Kaggle refuses it, OSError for network errors.
    """
    import kagglehub  # half a second, and most runs download nothing
    from kagglehub import exceptions as kaggle

    lock = cache_folder() / "datasets" / f"{handle.replace('/', '--')}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    log.info("Downloading %s from Kaggle", handle)
    wanted = handle if version is None else f"{handle}/versions/{version}"
    attempts = Retrying(
        retry=retry_if_exception(is_temporary),
        wait=wait_exponential_jitter(initial=1, max=16, jitter=0.5),
        stop=is_last,
        before_sleep=log_retry,
        reraise=True,
    )
    with FileLock(lock):  # kagglehub has none, and two runs would unpack over each other
        try:
            folder = Path(attempts(kagglehub.dataset_download, wanted))
        except kaggle.DataCorruptionError as error:
            raise UserError(f"{handle} was damaged {ATTEMPTS} times ({error})") from error
        except (
            kaggle.BackendError,
            kaggle.ColabEnvironmentError,
            kaggle.CredentialError,
            kaggle.KaggleEnvironmentError,
            kaggle.NotFoundError,
            kaggle.UnauthenticatedError,
        ) as error:
            raise UserError(f"Kaggle refuses {handle}: {first_line(error)}") from error
        except (ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"the archive of {handle} cannot be read: {error}") from error
    if not folder.name.isdigit():  # notebooks of Kaggle and Colab mount the dataset elsewhere
        return CorpusSource(folder, f"kaggle.com/datasets/{handle}", handle)
    return describe(handle, int(folder.name))


def is_temporary(error: BaseException) -> bool:
    """Whether a retry can help: not if Kaggle understood the request and refused it."""
    from kagglehub.exceptions import DataCorruptionError

    if isinstance(error, requests.HTTPError):
        status = error.response.status_code if error.response is not None else 500
        return status >= 500 or status == requests.codes.too_many_requests
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return False  # the answer is not Kaggle's
    return isinstance(error, requests.RequestException | DataCorruptionError)


def is_last(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return state.attempt_number >= (ATTEMPTS_TO_CONNECT if is_unreachable(error) else ATTEMPTS)


def is_unreachable(error: BaseException | None) -> bool:
    """Whether no connection was made at all; time-outs of reading have other types."""
    return isinstance(error, requests.ConnectionError)


def log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    reason = re.sub(r"\s+", " ", str(error))[:120]
    words = "cannot be reached" if is_unreachable(error) else reason
    log.warning("Kaggle: %s (%s); retrying in %.0f s", words, type(error).__name__, pause)


def download_again(corpus: Corpus, source: CorpusSource, found: int) -> CorpusSource:
    """Repeat, once, a download in which files are missing; existing files stay.

    Raises UserError if the second download fails.
    """
    if source.counted.exists():  # the dataset itself has no more files
        return source
    log.warning(
        "%s holds %d of the %d files of %s; downloading it again",
        *(source.folder, found, corpus.files, corpus.title),
    )
    source.marker.unlink(missing_ok=True)
    try:
        again = download(source.handle, source.version)
    except (OSError, UserError) as error:
        source.marker.touch()
        raise UserError(
            f"{source.folder} holds only {found:,} of the {corpus.files:,} files of {corpus.title},"
            f" and Kaggle cannot be reached ({type(error).__name__}): connect to the network, or"
            f" use the incomplete copy with data.paths.{corpus.name}={source.folder}"
        ) from error
    source.counted.touch()
    return again
