"""Where finished frames go: files, a window, a virtual camera."""

import os
from pathlib import Path
from typing import Protocol

from background_blur.errors import SinkError
from background_blur.media import Demuxer
from background_blur.paths import is_folder, same_file
from background_blur.sinks.base import Sink
from background_blur.sinks.files import EXISTS, IMAGE_SUFFIXES, ImageFile, ImageFolder
from background_blur.sinks.video import ENCODERS, VideoFile


class Input(Protocol):
    """What an output needs to know about the source; see `capture.base.Source`."""

    count: int | None
    fps: float
    path: Path | None
    tracks: Demuxer | None


def open_output(
    path: Path | str,
    source: Input,
    *,
    force: bool = False,
    skip: bool = False,
    alpha: bool = False,
) -> Sink:
    """Opens the file sink that suits a path and a source.

    A folder (an existing one, or a path that ends in a separator or has no suffix) becomes an
    ImageFolder, a path with a picture's suffix an ImageFile, one with a video's a VideoFile. All
    three take `force`; `skip` is for folders, `alpha` for videos.

    Raises:
        SinkError: it exists, is the source itself, cannot hold the frames, or cannot be written.
    """
    if str(path) in ("", "-") or "://" in str(path):
        what = "cannot write to pipes or URLs" if path else "empty name"
        raise SinkError(f"--output {path}: {what}; give a file or folder, such as out.mp4")
    to_folder, path = is_folder(str(path)), Path(path)
    suffix = path.suffix.lower()
    if same_file(path, source.path):
        raise SinkError(f"{path}: this is the source itself; give another --output")
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise SinkError(f"{path}: neither a file nor a folder; give one, such as out.mp4")
    if to_folder:
        return ImageFolder(path, force=force, source=source.path, skip=skip)
    if suffix not in (*ENCODERS, *IMAGE_SUFFIXES):
        known = " ".join((*ENCODERS, *IMAGE_SUFFIXES))
        raise SinkError(f"{path}: cannot write {suffix} files; give a folder or one of {known}")
    if suffix in IMAGE_SUFFIXES and source.count != 1:
        hint = "give a folder or a video, such as out.mp4"
        raise SinkError(f"{path}: a picture holds only one frame; {hint}")
    if os.path.exists(path) and not force:
        raise SinkError(f"{path}: {EXISTS}")
    if suffix in IMAGE_SUFFIXES:
        return ImageFile(path, force)
    return VideoFile(path, source.fps or 30, tracks=source.tracks, force=force, alpha=alpha)
