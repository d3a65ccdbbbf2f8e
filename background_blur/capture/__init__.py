"""Frames in: cameras, videos, streams, pictures and a demo, all read the same way."""

import os
import re
from pathlib import Path

from background_blur.capture.animation import ANIMATED, Animation
from background_blur.capture.base import CAMERA_SIZE, LIMIT, RATE, WAIT, Source, check_file
from background_blur.capture.demo import Demo
from background_blur.capture.pictures import PICTURES, Pictures, open_folder
from background_blur.capture.video import Decoder, Video
from background_blur.frames import Size
from background_blur.metadata import read_metadata


def open_source(
    text: str,
    size: Size | None = None,
    fps: float | None = None,
    limit: float = LIMIT,
    wait: float = WAIT,
) -> Source:
    """Opens what the user named, checked and with the first frame decoded.

    Args:
        text: a camera's number, the path of a video, a picture or a folder, a URL, or "demo".
        size: (width, height) asked of a camera and given to a demo; all else is scaled to cover
            it and cropped at the centre. None for the source's own.
        fps: the highest rate, in frames per second; None for the source's own.
        limit: seconds a camera, a file or a URL may take to answer.
        wait: seconds to wait for a camera that stopped sending frames.

    Raises:
        SourceError: nothing there, or nothing that can be read.
    """
    from background_blur.capture.camera import Camera
    from background_blur.capture.live import Stream

    if text == "demo":
        return Demo(size or CAMERA_SIZE, fps or RATE)
    if text.isascii() and text.isdigit():
        return Camera(int(text), size, fps, limit=limit, wait=wait)
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        decoder = Decoder(text, size, fps, limit, remote=True)
        return Stream(decoder, limit) if decoder.live else Video(decoder)
    if text and os.path.isdir(text):
        return open_folder(Path(text), size, fps)
    return open_file(text, size, fps, limit)


def open_file(
    text: str, size: Size | None = None, fps: float | None = None, limit: float = LIMIT
) -> Source:
    """Opens a video or a picture; the arguments and errors are those of `open_source`."""
    check_file(text)
    if Path(text).suffix.lower() in ANIMATED and read_metadata(Path(text)).frames > 1:
        return Animation(Path(text), size, fps)
    if Path(text).suffix.lower() in PICTURES:
        return Pictures(Path(text), [Path(text)], size, fps or RATE)
    return Video(Decoder(text, size, fps, limit))
