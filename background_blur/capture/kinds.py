"""Tells what a file holds by its content, whatever its suffix."""

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from background_blur.capture.video import Decoder, Video
from background_blur.errors import SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["picture", "animation", "video"]

# The Pillow formats that photos come in; every decoder not listed is one fewer to attack.
# JPEG includes MPO.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
ANIMATED = "AVIF", "GIF", "PNG", "WEBP"  # formats that can be animations
# Files and folders that systems put among photos, in lower case
SYSTEM = {"@eadir", "@__thumb", "#recycle", "$recycle.bin", "__macosx", "thumbs.db", "desktop.ini"}


def open_picture(path: Path) -> "Image":
    """Opens a picture with Pillow, which reads little more than its header.

    Raises many types of exceptions if the file is damaged or not a picture.
    """
    from PIL import Image
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return Image.open(path, formats=FORMATS)


def is_animation(picture: "Image") -> bool:
    return picture.format in ANIMATED and getattr(picture, "n_frames", 1) > 1


def kind_of(path: Path) -> Kind | None:
    """What a file holds, judged by little more than its header; None if unknown."""
    from pillow_heif import is_supported

    try:
        with path.open("rb") as file:
            if is_supported(file):  # HEIC, of which Pillow would read the whole file
                return "picture"
        with open_picture(path) as picture:
            return "animation" if is_animation(picture) else "picture"
    except Exception:  # Pillow raises many exception types
        pass
    try:
        decoder = Decoder(str(path))
        Video(decoder).close()  # raises unless a frame can be decoded
        return None if is_still(decoder) else "video"
    except SourceError:
        return None


def is_still(decoder: Decoder) -> bool:
    """Whether FFmpeg opened a picture, of a format that Pillow does not know."""
    name = decoder.demuxer.container.format.name
    return name == "image2" or name.endswith("_pipe")


def is_foreign(path: Path) -> bool:
    """Whether a file neither is nor claims to be a picture or video: notes, sound, sidecars."""
    kind, _ = mimetypes.guess_type(path.name)
    if kind.startswith(("image/", "video/")) if kind else not is_text(path):
        return False
    return kind_of(path) is None


def is_text(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"\0" not in file.read(4096)
    except OSError:
        return False


def files_in(folder: Path) -> list[Path]:
    """The files in a folder and its subfolders, sorted, without hidden and system files."""
    from imutils.paths import list_files

    def is_shown(path: Path) -> bool:
        parts = path.relative_to(folder).parts
        return not any(part.startswith(".") or part.lower() in SYSTEM for part in parts)

    return sorted(filter(is_shown, map(Path, list_files(str(folder)))))
