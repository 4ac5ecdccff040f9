"""Hostile content for the tests of checkpoints."""

import os
from pathlib import Path


class Attack:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)
