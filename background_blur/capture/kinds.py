"""What files hold, by their content, whatever their suffix."""

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from background_blur.capture.video import Decoder, Video
from background_blur.errors import SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["picture", "animation", "video"]

# Those of Pillow's formats that photos come in: every decoder left out is one fewer to attack.
# JPEG includes MPO.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
ANIMATED = "AVIF", "GIF", "PNG", "WEBP"  # those whose pictures follow each other in time
# What systems put beside photos, in lower case
SYSTEM = {"@eadir", "@__thumb", "#recycle", "$recycle.bin", "__macosx", "thumbs.db", "desktop.ini"}


def open_picture(path: Path) -> "Image":
    """Opens a picture with Pillow, which reads little more than its header.

    Raises many kinds of exceptions if it is damaged or not a picture.
    """
    from PIL import Image
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return Image.open(path, formats=FORMATS)


def is_animation(picture: "Image") -> bool:
    return picture.format in ANIMATED and getattr(picture, "n_frames", 1) > 1


def kind_of(path: Path) -> Kind | None:
    """What a file holds; None if that cannot be told. Little more than its header is read."""
    from pillow_heif import is_supported

    try:
        with path.open("rb") as file:
            if is_supported(file):  # HEIC, which Pillow would read as a whole
                return "picture"
        with open_picture(path) as picture:
            return "animation" if is_animation(picture) else "picture"
    except Exception:  # Pillow raises many kinds
        pass
    try:
        decoder = Decoder(str(path))
        Video(decoder).close()  # which needs a frame
        return None if is_still(decoder) else "video"
    except SourceError:
        return None


def is_still(decoder: Decoder) -> bool:
    """Whether what FFmpeg opened is a picture, of a kind that Pillow does not know."""
    name = decoder.demuxer.container.format.name
    return name == "image2" or name.endswith("_pipe")


def is_foreign(path: Path) -> bool:
    """Whether a file neither is a picture or video nor claims to be: notes, sound, sidecars."""
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
    """The files in a folder and the folders in it, sorted; none that is hidden or a system's."""
    from imutils.paths import list_files

    def is_shown(path: Path) -> bool:
        parts = path.relative_to(folder).parts
        return not any(part.startswith(".") or part.lower() in SYSTEM for part in parts)

    return sorted(filter(is_shown, map(Path, list_files(str(folder)))))
