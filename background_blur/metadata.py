"""Metadata of pictures: kept in results, except for what could show the room."""

import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

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
MAKER_NOTE, WIDTH, HEIGHT, INTEROP = 37500, 40962, 40963, 40965  # in the EXIF IFD, not kept
QUALITY = 95  # of JPEGs, of 100
LONGEST = 65000  # bytes of EXIF that fit into a JPEG


@dataclass(frozen=True)
class Metadata:
    """Of one picture.

    Attributes:
        exif: EXIF as a small TIFF, without orientation, location and embedded pictures.
        icc: the colour profile of RGB pixels.
        frames: how many frames or pages the file holds.
    """

    exif: bytes = b""
    icc: bytes = b""
    frames: int = 1


def read_metadata(path: Path) -> Metadata:
    """Of a picture file; empty if Pillow cannot read it."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            icc = image.info.get("icc_profile") or b""
            return Metadata(
                exif=kept_exif(image.getexif()),
                icc=icc if icc[16:20] == b"RGB " else b"",  # grey and CMYK become RGB here
                frames=1 if image.format == "MPO" else getattr(image, "n_frames", 1),
            )
    except Exception:  # Pillow raises many kinds for damaged files
        log.debug("%s: no metadata can be read", path, exc_info=True)
        return Metadata()


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


def encode_picture(image: np.ndarray, suffix: str, metadata: Metadata) -> bytes | None:
    """Encodes a picture with its metadata, if its format holds any.

    Args:
        image: uint8 [H,W,3 or 4] BGR(A), or uint16 for formats with 16 bits.
        suffix: of the file's name, in lower case, such as ".png".
        metadata: of the source picture.

    Returns:
        The file, or None if OpenCV refuses.

    Raises:
        cv2.error: too large for the format.
    """
    is_jpeg = suffix in (".jpg", ".jpeg")
    parts = {cv2.IMAGE_METADATA_EXIF: metadata.exif, cv2.IMAGE_METADATA_ICCP: metadata.icc}
    parts = {kind: np.frombuffer(data, np.uint8) for kind, data in parts.items() if data}
    if parts and is_jpeg:
        return encode_jpeg(image, metadata)
    if parts and suffix in (".png", ".webp"):
        encoded, data = cv2.imencodeWithMetadata(suffix, image, list(parts), list(parts.values()))
    else:
        options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if is_jpeg else []
        encoded, data = cv2.imencode(suffix, image, options)
    if not encoded:
        return None
    tagged = parts and suffix in (".tif", ".tiff")
    return with_tags(data.tobytes(), metadata) if tagged else data.tobytes()


def encode_jpeg(image: np.ndarray, metadata: Metadata) -> bytes:
    """By Pillow: OpenCV takes no profile of more than 64 kB."""
    from PIL import Image

    file = io.BytesIO()
    picture = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    picture.save(
        file, "JPEG", quality=QUALITY, exif=b"Exif\0\0" + metadata.exif, icc_profile=metadata.icc
    )
    return file.getvalue()


def with_tags(tiff: bytes, metadata: Metadata) -> bytes:
    """Adds metadata to the TIFF of a picture, as new tags put before the rest."""
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
    if metadata.icc:
        tags.tagtype[ICC] = 7  # bytes
        tags[ICC] = metadata.icc
    new = io.BytesIO()
    tags.save(new)  # moves the strips behind itself
    new.write(rest)
    return new.getvalue()
