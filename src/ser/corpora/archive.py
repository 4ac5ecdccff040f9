"""Corpora as ZIP files: unpacked once, within bounds, into a folder of our own."""

import hashlib
import logging
import shutil
import stat
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath

from ser.errors import UserError
from ser.system.atomic import locked, writing_folder
from ser.system.files import identify, reporting_damage

log = logging.getLogger(__name__)
MOST_FILES = 500_000
MOST_BYTES = 200 * 2**30
MOST_TIMES_LARGER = 200  # than the archive; audio and text stay far below


def is_archive(path: Path) -> bool:
    return path.is_file() and zipfile.is_zipfile(path)


def unpack(archive: Path, folder: Path) -> Path:
    """The folder with the content of a ZIP file, below `folder`; unpacked if it is not there yet.

    Raises UserError for an archive that is damaged, too large, or names files outside itself.
    """
    size, changed = identify(archive)
    digest = hashlib.sha256(f"{archive.absolute()} {size} {changed}".encode()).hexdigest()[:12]
    target = folder.expanduser() / f"{archive.stem}-{digest}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target):
        if not target.is_dir():
            log.info("Unpacking %s into %s", archive, target)
            unpack_new(archive, target)
    return target


def unpack_new(archive: Path, target: Path) -> None:
    """Unpack into a new folder, which is complete or not there; call under the lock."""
    advice = "copy or download it again, or unpack it yourself and name the folder"
    with (
        writing_folder(target) as draft,
        reporting_damage(f"{archive} cannot be unpacked", advice),
        zipfile.ZipFile(archive) as opened,
    ):
        members = [check_member(archive, member) for member in opened.infolist()]
        check_names(archive, members)
        check_size(archive, members, target.parent)
        for member in members:
            opened.extract(member, draft)  # never more than the size that was checked


def check_member(archive: Path, member: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The member; raises UserError if it is a link or lies outside the archive's own folder."""
    name = member.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    absolute = name.startswith(("/", "\\")) or bool(PureWindowsPath(name).drive)
    if absolute or ".." in parts or stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{archive} is not safe to unpack: {name!r} points outside its folder")
    return member


def check_names(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise UserError for two files of one name, of which the second would replace the first."""
    counts = Counter(member.filename for member in members if not member.is_dir())
    for name, count in counts.most_common(1):
        if count > 1:
            raise UserError(f"{archive} holds {count:,} files named {name!r}; rename them")


def check_size(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    """Raise UserError for an archive that expands beyond reason, or beyond the free space."""
    total, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
    larger = total > max(2**20, MOST_TIMES_LARGER * archive.stat().st_size)
    if len(members) > MOST_FILES or total > MOST_BYTES or larger:
        raise UserError(
            f"{archive} is not safe to unpack: {len(members):,} files, {total / 2**30:,.1f} GiB"
        )
    if total > free:
        raise UserError(
            f"{archive} needs {total / 2**30:.1f} GiB, but {folder} has {free / 2**30:.1f} GiB"
            " free; unpack it elsewhere and name that folder"
        )
