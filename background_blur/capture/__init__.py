"""Frames in: cameras, videos, streams, pictures and a demo, all read the same way."""

import os
import re
from collections.abc import Collection
from pathlib import Path

from background_blur.capture.animation import Animation
from background_blur.capture.base import CAMERA_SIZE, KINDS, LIMIT, RATE, WAIT, Source, check_file
from background_blur.capture.demo import Demo
from background_blur.capture.kinds import is_still
from background_blur.capture.pictures import (
    AnimationError,
    NoPictureError,
    Pictures,
    open_folder,
)
from background_blur.capture.video import Decoder, Video
from background_blur.errors import SourceError
from background_blur.frames import Size


def open_source(
    text: str,
    size: Size | None = None,
    fps: float | None = None,
    *,
    limit: float = LIMIT,
    wait: float = WAIT,
    without: Collection[Path] = (),
) -> Source:
    """Opens the source that the user named, checks it, and decodes its first frame.

    Args:
        text: a camera's number or device, the path of a video, a picture or a folder, a URL, or
            "demo". A number other than 0 means the file or folder of that name if one exists.
        size: (width, height) to request from a camera or a demo; anything else is scaled to cover
            it and cropped at the centre. None for the source's own.
        fps: the highest rate, in frames per second; None for the source's own.
        limit: seconds a camera, a file or a URL may take to answer.
        wait: seconds to wait for a camera that stopped sending frames.
        without: files to skip when reading a folder.

    Raises:
        SourceError: the source does not exist or cannot be read.
    """
    from background_blur.capture.camera import Camera
    from background_blur.capture.live import Stream

    if text == "demo":
        return Demo(size or CAMERA_SIZE, fps or RATE)
    if (number := camera_number(text)) is not None:
        return Camera(number, size, fps, limit=limit, wait=wait)
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        decoder = Decoder(text, size, fps, limit=limit, remote=True)
        return Stream(decoder, limit) if decoder.live else Video(decoder)
    if text == "-":
        raise SourceError("--source -: cannot read from a pipe", KINDS)
    if text and os.path.isdir(text):
        return open_folder(Path(text), size, fps, without)
    return open_file(text, size, fps, limit=limit)


def camera_number(text: str) -> int | None:
    """The number of the camera that --source names by number or device; None if it names none."""
    if text.startswith("/dev/"):
        device = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(text))
        return int(device[1]) if device else None
    is_number = text.isascii() and text.isdigit() and (text == "0" or not os.path.exists(text))
    return int(text) if is_number else None


def open_file(
    text: str, size: Size | None = None, fps: float | None = None, *, limit: float = LIMIT
) -> Source:
    """Opens a video or a picture; the arguments and errors are those of `open_source`."""
    check_file(text)
    path = Path(text)
    try:
        return Pictures(path, [path], size, fps or RATE)
    except AnimationError:
        return Animation(path, size, fps)
    except NoPictureError:
        decoder = Decoder(text, size, fps, limit=limit)
        video = Video(decoder)
        if is_still(decoder):
            video.count = 1
        return video
