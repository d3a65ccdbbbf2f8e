"""What a picture file says beside its pixels: kept in results, but for what could show the room."""

import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

log = logging.getLogger(__name__)

# Tags of EXIF 2.32. Those left out say how the pixels are stored, which is no longer so, or may
# hold a picture of its own (thumbnails, previews, XMP, Photoshop's blocks).
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
        exif: EXIF as a small TIFF, without orientation, location, and pictures of its own.
        icc: the colour profile of RGB pixels.
        frames: how many frames or pages the file holds.
    """

    exif: bytes = b""
    icc: bytes = b""
    frames: int = 1


def read_metadata(path: Path) -> Metadata:
    """Of a picture file; empty where Pillow makes nothing of it."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            icc = image.info.get("icc_profile") or b""
            return Metadata(
                exif=kept_exif(image.getexif()),
                icc=icc if icc[16:20] == b"RGB " else b"",  # grey and CMYK become RGB here
                frames=1 if image.format == "MPO" else getattr(image, "n_frames", 1),
            )
    except Exception:  # damaged ones make Pillow raise all sorts of them
        log.debug("%s: no metadata can be read", path, exc_info=True)
        return Metadata()


def kept_exif(exif) -> bytes:
    """What is kept of a `PIL.Image.Exif`."""
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
    """Encodes a picture with its metadata, where files of its kind hold any.

    Args:
        image: uint8 [H,W,3 or 4] BGR(A), or uint16 for what holds it.
        suffix: of the file's name, in lower case, such as ".png".
        metadata: of the picture it was made of.

    Returns:
        The file, or None if OpenCV refuses.

    Raises:
        cv2.error: too large for its kind.
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
    """Adds metadata to the TIFF of a picture: new tags, before what else there was."""
    from PIL import Image
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    header, rest = tiff[:8], tiff[8:]
    tags, old = ImageFileDirectory_v2(header), io.BytesIO(tiff)
    old.seek(tags.next)
    tags.load(old)
    dict(tags)  # only what was looked at gets saved
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
