"""Pictures, encoded with the metadata of their source."""

import errno
import io
import struct
import zlib

import cv2
import numpy as np
from PIL.ExifTags import IFD, Base

from background_blur.metadata import Metadata
from background_blur.system import suppress_stderr

QUALITY = 95  # of JPEGs, out of 100
HEADER = 33  # bytes of a PNG before its other chunks


def encode_picture(image: np.ndarray, suffix: str, metadata: Metadata) -> bytes:
    """Encodes a picture with as much of its metadata as the format can hold.

    Args:
        image: uint8 [H,W,3] BGR; for PNG and TIFF also [H,W,4] BGRA and uint16.
        suffix: of the file's name, in lower case, such as ".png".
        metadata: of the source picture.

    Raises:
        OSError: too large for the format.
    """
    if suffix in (".png", ".tif", ".tiff"):  # Pillow writes only 8 bits per colour
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
    """Adds metadata to a TIFF, as new tags before the rest of the file.

    Pillow itself writes EXIF data only to uncompressed TIFFs.
    """
    from PIL import Image
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    header, rest = tiff[:8], tiff[8:]
    tags, old = ImageFileDirectory_v2(header), io.BytesIO(tiff)
    old.seek(tags.next)
    tags.load(old)
    dict(tags)  # reads all tags; only those that have been read are saved
    tags[Base.StripOffsets] = tuple(at - len(header) for at in tags[Base.StripOffsets])
    exif = Image.Exif()
    exif.load(metadata.exif)
    for tag, value in exif.items():
        tags[tag] = value
    if details := exif.get_ifd(IFD.Exif):
        tags[IFD.Exif] = dict(details)
    if metadata.dpi:
        tags[Base.XResolution], tags[Base.YResolution] = metadata.dpi
        tags[Base.ResolutionUnit] = 2  # inches
    if metadata.icc:
        tags.tagtype[Base.InterColorProfile] = 7  # bytes
        tags[Base.InterColorProfile] = metadata.icc
    new = io.BytesIO()
    tags.save(new)  # corrects the strips' offsets, since they now follow these tags
    new.write(rest)
    return new.getvalue()
