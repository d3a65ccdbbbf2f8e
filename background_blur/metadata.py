"""Metadata of pictures: kept in results, except for what could show the room."""

import errno
import io
import logging
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from background_blur.system import suppress_stderr

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

# Tags of EXIF 2.32. Those left out describe how the original pixels were stored, or may hold
# another picture (thumbnails, previews, XMP, Photoshop's blocks).
DESCRIPTIVE = {
    270: "ImageDescription",
    271: "Make",
    272: "Model",
    282: "XResolution",
    283: "YResolution",
    296: "ResolutionUnit",
    305: "Software",
    306: "DateTime",
    315: "Artist",
    33432: "Copyright",
}
STRIP_OFFSETS, EXIF_IFD, ICC = 273, 34665, 34675
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
MAKER_NOTE, WIDTH, HEIGHT, INTEROP = 37500, 40962, 40963, 40965  # in the EXIF IFD, not kept
QUALITY = 95  # of JPEGs, of 100
LONGEST = 65000  # bytes of EXIF that fit into a JPEG
LARGEST_DPI = 30000
HEADER = 33  # bytes of a PNG, before its other chunks


@dataclass(frozen=True)
class Metadata:
    """Of one picture.

    Attributes:
        exif: EXIF as a small TIFF, without orientation, location and embedded pictures.
        icc: the colour profile of RGB pixels.
        dpi: the resolution to print at, (horizontal, vertical), pixels per inch; None if not told.
    """

    exif: bytes = b""
    icc: bytes = b""
    dpi: tuple[float, float] | None = None


def read_metadata(picture: "Image.Image") -> Metadata:
    """Of an open picture; what is damaged of it is left out."""
    icc = picture.info.get("icc_profile") or b""
    dpi = picture.info.get("dpi")
    try:
        exif = kept_exif(picture.getexif())
    except Exception:  # Pillow raises many kinds for damaged files
        log.debug("%s: no EXIF can be read", picture, exc_info=True)
        exif = b""
    return Metadata(
        exif=exif,
        icc=icc if icc[16:20] == b"RGB " else b"",  # grey and CMYK become RGB here
        dpi=dpi if dpi and all(0 < it < LARGEST_DPI for it in dpi) else None,
    )


def kept_exif(exif: "Image.Exif") -> bytes:
    """The descriptive part of a picture's EXIF, as a small TIFF; empty if there is none."""
    from PIL import Image

    kept = Image.Exif()
    kept.update({tag: exif[tag] for tag in DESCRIPTIVE if tag in exif})
    left_out = MAKER_NOTE, WIDTH, HEIGHT, INTEROP
    details = {tag: it for tag, it in exif.get_ifd(EXIF_IFD).items() if tag not in left_out}
    if details:
        kept.get_ifd(EXIF_IFD).update(details)
    data = kept.tobytes().removeprefix(b"Exif\0\0") if len(kept) or details else b""
    return data if len(data) <= LONGEST else b""


def encode_picture(image: np.ndarray, suffix: str, metadata: Metadata) -> bytes:
    """Encodes a picture with its metadata, as far as its format holds any.

    Args:
        image: uint8 [H,W,3] BGR; in PNG and TIFF [H,W,4] BGRA and uint16, too.
        suffix: of the file's name, in lower case, such as ".png".
        metadata: of the source picture.

    Raises:
        OSError: too large for the format.
    """
    if suffix in (".png", ".tif", ".tiff"):  # of which Pillow writes 8 bits a colour only
        data = cv2.imencode(suffix, image)[1].tobytes()
        add = with_chunks if suffix == ".png" else with_tags
        return data if metadata == Metadata() else add(data, metadata)
    from PIL import Image

    file, picture = io.BytesIO(), Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    options = {"quality": QUALITY} if suffix != ".webp" else {"lossless": True}
    options |= {"exif": b"Exif\0\0" + metadata.exif} if metadata.exif else {}
    options |= {"dpi": metadata.dpi} if metadata.dpi else {}
    try:
        with suppress_stderr():
            kind = Image.registered_extensions()[suffix]
            picture.save(file, kind, icc_profile=metadata.icc, **options)
    except (OSError, ValueError) as error:
        raise OSError(errno.EFBIG, f"too large for {suffix}") from error
    return file.getvalue()


def with_chunks(png: bytes, metadata: Metadata) -> bytes:
    """Adds metadata to a PNG, after its header."""
    from PIL.PngImagePlugin import putchunk

    new = io.BytesIO(png[:HEADER])
    new.seek(HEADER)
    if metadata.icc:
        putchunk(new, b"iCCP", b"ICC Profile\0\0", zlib.compress(metadata.icc))
    if metadata.dpi:
        per_metre = (round(dpi / 0.0254) for dpi in metadata.dpi)
        putchunk(new, b"pHYs", struct.pack(">IIB", *per_metre, 1))
    if metadata.exif:
        putchunk(new, b"eXIf", metadata.exif)
    return new.getvalue() + png[HEADER:]


def with_tags(tiff: bytes, metadata: Metadata) -> bytes:
    """Adds metadata to a TIFF, as new tags put before the rest.

    Pillow itself writes the EXIF data only of TIFFs that are not compressed.
    """
    from PIL import Image
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    header, rest = tiff[:8], tiff[8:]
    tags, old = ImageFileDirectory_v2(header), io.BytesIO(tiff)
    old.seek(tags.next)
    tags.load(old)
    dict(tags)  # only tags that were read get saved
    tags[STRIP_OFFSETS] = tuple(at - len(header) for at in tags[STRIP_OFFSETS])
    exif = Image.Exif()
    exif.load(metadata.exif)
    for tag, value in exif.items():
        tags[tag] = value
    if details := exif.get_ifd(EXIF_IFD):
        tags[EXIF_IFD] = dict(details)
    if metadata.dpi:
        tags[X_RESOLUTION], tags[Y_RESOLUTION] = metadata.dpi
        tags[RESOLUTION_UNIT] = 2  # inches
    if metadata.icc:
        tags.tagtype[ICC] = 7  # bytes
        tags[ICC] = metadata.icc
    new = io.BytesIO()
    tags.save(new)  # moves the strips behind itself
    new.write(rest)
    return new.getvalue()
