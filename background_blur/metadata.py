"""Metadata of pictures: kept in results, except for what could show the room."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL.ExifTags import IFD, Base

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

# The EXIF 2.32 tags to keep. The others describe how the original pixels were stored, or may
# contain another picture (thumbnails, previews, XMP, Photoshop's blocks).
DESCRIPTIVE = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.XResolution,
    Base.YResolution,
    Base.ResolutionUnit,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.Copyright,
)
LEFT_OUT = Base.MakerNote, Base.ExifImageWidth, Base.ExifImageHeight, IFD.Interop  # of IFD.Exif
LONGEST = 65000  # bytes of EXIF that fit into a JPEG
LARGEST_DPI = 30000


@dataclass(frozen=True)
class Metadata:
    """The metadata of one picture.

    Attributes:
        exif: EXIF as a small TIFF, without orientation, location and embedded pictures.
        icc: the colour profile of RGB pixels.
        dpi: the resolution to print at, (horizontal, vertical), pixels per inch; None if not given.
    """

    exif: bytes = b""
    icc: bytes = b""
    dpi: tuple[float, float] | None = None


def read_metadata(picture: "Image.Image") -> Metadata:
    """Reads the metadata of an open picture, without whatever is damaged."""
    icc = picture.info.get("icc_profile") or b""
    dpi = picture.info.get("dpi")
    try:
        exif = kept_exif(picture.getexif())
    except Exception:  # Pillow raises many kinds of errors for damaged files
        log.debug("%s: no EXIF can be read", picture, exc_info=True)
        exif = b""
    return Metadata(
        exif=exif,
        icc=icc if icc[16:20] == b"RGB " else b"",  # grey and CMYK become RGB here
        dpi=dpi if dpi and all(0 < it < LARGEST_DPI for it in dpi) else None,
    )


def kept_exif(exif: "Image.Exif") -> bytes:
    """Returns the descriptive part of a picture's EXIF as a small TIFF; empty if there is none."""
    from PIL import Image

    kept = Image.Exif()
    kept.update({int(tag): exif[tag] for tag in DESCRIPTIVE if tag in exif})
    details = {tag: it for tag, it in exif.get_ifd(IFD.Exif).items() if tag not in LEFT_OUT}
    if details:
        kept.get_ifd(IFD.Exif).update(details)
    data = kept.tobytes().removeprefix(b"Exif\0\0") if len(kept) or details else b""
    return data if len(data) <= LONGEST else b""
