"""What paths stand for."""

import os
from pathlib import Path


def is_folder(output: str) -> bool:
    """Whether an `--output` is a folder: it is one, ends in a separator, or has no suffix."""
    is_named_so = output.endswith(("/", os.sep)) or not Path(output).suffix
    return is_named_so or os.path.isdir(output)


def same_file(path: Path, other: Path | None) -> bool:
    if other is None or not (os.path.exists(path) and os.path.exists(other)):
        return False
    return os.path.samefile(path, other)


def is_within(path: Path, source: Path) -> bool:
    """Whether a file is `source` itself, or inside that folder."""
    path, source = path.resolve(), source.resolve()
    return path == source or source in path.parents
