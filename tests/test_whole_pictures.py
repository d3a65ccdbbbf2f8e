"""Pictures keep what their files hold: EXIF, colour profile, 16 bits, transparency."""

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.ExifTags import IFD

from background_blur.capture import open_source
from background_blur.frames import Frame
from background_blur.imaging import flatten_alpha
from background_blur.metadata import Metadata, kept_exif, read_metadata
from background_blur.rendering.backgrounds import StillBackground
from background_blur.settings import TRANSPARENT, Settings
from background_blur.sinks.encoding import encode_picture
from support.captures import is_recognisable
from support.program import run
from support.segmenters import FakeBlur, fails, left_half

SUFFIXES = (".jpg", ".png", ".webp", ".tif")
GPS_IFD, ORIENTATION, MAKER_NOTE, TAKEN = 34853, 274, 37500, 36867
SECRET = b"the room, unblurred"


@pytest.fixture(scope="module")
def profile() -> bytes:
    """An RGB profile as large as a scanner's: more than one segment of a JPEG can hold."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(200_000)
    return struct.pack(">I", len(data)) + data[4:]


def exif_of_a_camera() -> Image.Exif:
    exif = Image.Exif()
    exif.update({271: "Camera & Co", 272: "C-1", 306: "2024:05:06 07:08:09", 33432: "Ann"})
    exif[ORIENTATION] = 6  # lying on its side
    exif.get_ifd(IFD.Exif).update({TAKEN: "2024:05:06 07:08:09", MAKER_NOTE: SECRET, 34855: 400})
    exif.get_ifd(GPS_IFD).update({1: "N", 2: (52.0, 31.0, 12.0)})
    return exif


# --- EXIF and colour profile


@pytest.mark.slow
def test_exif_and_profile_are_kept_upright_and_without_what_shows_the_room(
    tmp_path, portrait, profile
):
    lying = Image.fromarray(np.rot90(portrait[..., ::-1]).copy())
    exif = exif_of_a_camera().tobytes()
    (tmp_path / "in").mkdir()
    for suffix in SUFFIXES:
        lying.save(tmp_path / "in" / f"a{suffix}", exif=exif, icc_profile=profile, quality=95)
    result = run("--source", tmp_path / "in", "--output", tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    described = {271: "Camera & Co", 272: "C-1", 306: "2024:05:06 07:08:09", 33432: "Ann"}
    for suffix in SUFFIXES:
        written = tmp_path / "out" / f"a{suffix}"
        with Image.open(written) as picture:
            kept = picture.getexif()
            assert picture.info["icc_profile"] == profile
            assert {tag: kept.get(tag) for tag in described} == described
            if suffix != ".tif":  # Pillow, which wrote the source, omits them from TIFFs
                assert dict(kept.get_ifd(IFD.Exif)) == {TAKEN: "2024:05:06 07:08:09", 34855: 400}
            assert kept.get(ORIENTATION, 1) == 1 and not kept.get_ifd(GPS_IFD)
            face = np.asarray(picture)[90:140, 200:240]
        assert np.abs(face.astype(int) - portrait[90:140, 200:240, ::-1]).mean() < 3
        assert SECRET not in written.read_bytes()


@pytest.mark.slow
def test_thumbnails_of_the_unblurred_picture_are_not_kept(tmp_path, portrait):
    thumbnail = cv2.imencode(".jpg", portrait[::4, ::4])[1].tobytes()
    first = struct.pack("<HHHI", 1, 271, 2, 4) + b"Cam\0" + struct.pack("<I", 26)
    entries = struct.pack("<HHIIHHIIHHII", 259, 3, 1, 6, 513, 4, 1, 68, 514, 4, 1, len(thumbnail))
    second = struct.pack("<H", 3) + entries + bytes(4)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + second + thumbnail
    Image.fromarray(portrait[..., ::-1]).save(tmp_path / "a.jpg", exif=exif)
    assert (tmp_path / "a.jpg").read_bytes().count(b"\xff\xd8\xff") == 2
    result = run("--source", tmp_path / "a.jpg", "--output", tmp_path / "out.jpg")
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "out.jpg") as picture:
        assert picture.getexif()[271] == "Cam"
    assert (tmp_path / "out.jpg").read_bytes().count(b"\xff\xd8\xff") == 1


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_profiles_of_other_than_rgb_are_left_out_with_the_pixels_they_belong_to(tmp_path, mode):
    profile = bytes(16) + {"L": b"GRAY", "CMYK": b"CMYK"}[mode] + bytes(500)
    path = tmp_path / "a.jpg"
    Image.new(mode, (64, 48), 100 if mode == "L" else (9, 9, 9, 9)).save(path, icc_profile=profile)
    with Image.open(path) as picture:
        assert picture.info["icc_profile"] and read_metadata(picture).icc == b""


words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
values = st.one_of(words, st.integers(0, 2**32 - 1), st.binary(max_size=40), st.floats(0, 1e6))


@given(st.dictionaries(st.integers(1, 65535), values, max_size=8))
def test_no_exif_keeps_a_picture_from_being_written(details):
    exif = Image.Exif()
    exif[271] = "Cam"
    exif.get_ifd(IFD.Exif).update(details)
    try:
        exif.tobytes()
    except Exception:
        return  # there can be no such file
    metadata = Metadata(exif=kept_exif(exif))
    for suffix in SUFFIXES:
        data = encode_picture(np.zeros((8, 9, 3), np.uint8), suffix, metadata)
        assert Image.open(io.BytesIO(data)).getexif()[271] == "Cam"


# --- 16 bits


@pytest.mark.slow
def test_sixteen_bits_stay_sixteen(tmp_path, portrait):
    fine = portrait.astype(np.uint16) * 257
    fine += np.random.default_rng(0).integers(0, 128, fine.shape, np.uint16)
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.tif"):
        cv2.imwrite(str(tmp_path / "in" / name), fine)
    assert run("--source", tmp_path / "in", "--output", tmp_path / "out").returncode == 0
    for name in ("a.png", "b.tif"):
        out = cv2.imread(str(tmp_path / "out" / name), cv2.IMREAD_UNCHANGED)
        assert (out.dtype, out.shape) == (np.uint16, fine.shape)
        face, wall = np.s_[90:140, 200:240], np.s_[0:250, 400:]
        assert np.array_equal(out[face], fine[face])
        assert len(np.unique(out[wall])) > 1000
    command = ["--source", tmp_path / "in" / "a.png", "--output", tmp_path / "out.jpg"]
    assert run(*command).returncode == 0
    eight = cv2.imread(str(tmp_path / "out.jpg"))
    assert np.abs(eight.astype(int) - out / 257).mean() < 2


def test_sixteen_bits_of_grey(tmp_path):
    grey = np.random.default_rng(0).integers(0, 65536, (48, 64), np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    with open_source(str(tmp_path / "a.png")) as source:
        (frame,) = source
    assert np.array_equal(frame.whole, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("view", ["result", "split", "alpha"])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(
    "background", [None, TRANSPARENT, StillBackground(np.uint8([[[9, 99, 200]]]))]
)
@pytest.mark.parametrize("mask", [left_half, fails])
def test_the_whole_picture_is_finished_as_the_one_of_8_bits_is(view, mirror, background, mask):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    settings = Settings(view, background=background, mirror=mirror)
    done = FakeBlur(mask, settings, is_sequence=False)(
        Frame(noise, 0.0, whole=noise.astype(np.uint16) * 257)
    )
    if view == "alpha":
        assert done.whole is None  # the mask has only 8 bits
        return
    assert done.whole.dtype == np.uint16 and done.whole.shape == done.image.shape
    assert np.abs(done.whole / 257 - done.image).max() <= 2  # four roundings of 8 bits
    if mask is fails:
        assert not is_recognisable(cv2.convertScaleAbs(done.whole[..., :3], alpha=1 / 257))


# --- Transparency


def stripes(portrait, depth) -> np.ndarray:
    """BGRA: the portrait, opaque in the middle, half so next to it, gone at the borders."""
    most = np.iinfo(depth).max
    image = np.full((*portrait.shape[:2], 4), most, depth)
    image[..., :3] = portrait.astype(depth) * (most // 255)
    image[:, :160, 3], image[:, 160:190, 3], image[:, 400:, 3] = 0, most // 2, 0
    return image


@pytest.mark.slow
@pytest.mark.parametrize(
    "depth, output, name", [(np.uint8, "out.png", ""), (np.uint16, "folder", "a.png")]
)
def test_what_is_transparent_stays_so_before_a_transparent_background(
    tmp_path, portrait, depth, output, name
):
    image, most = stripes(portrait, depth), np.iinfo(depth).max
    cv2.imwrite(str(tmp_path / "a.png"), image)
    command = ["--source", tmp_path / "a.png", "--background", "transparent", "--output"]
    assert run(*command, tmp_path / output).returncode == 0
    out = cv2.imread(str(tmp_path / output / name), cv2.IMREAD_UNCHANGED)
    assert out.dtype == depth
    assert not out[:, :160].any() and not out[:, 400:].any()
    face, hair = np.s_[90:140, 200:240], np.s_[70:110, 172:186]
    assert np.array_equal(out[face], image[face])
    off = np.abs(out[hair][..., :3] / most - image[hair][..., :3] / most)
    assert off.mean() < 0.03  # in the outline the room's share of the colour is removed
    assert 0.8 < out[hair][..., 3].mean() / image[hair][..., 3].mean() <= 1  # near the outline
    assert not out[:60, 330:380].any()  # the wall behind


@pytest.mark.slow
def test_before_any_other_background_it_is_white_and_hides_what_lies_under_it(tmp_path, portrait):
    image = stripes(portrait, np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    command = ["--source", tmp_path / "a.png", "--output", tmp_path / "out.png", "--strength", 0]
    assert run(*command).returncode == 0
    out = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert (out.dtype, out.shape[2]) == (np.uint16, 3)
    assert (out[:, :160] == 65535).all()
    assert np.array_equal(out, flatten_alpha(image))


def test_colours_under_what_is_transparent_get_nowhere(tmp_path):
    image = np.full((48, 64, 4), (10, 20, 30, 0), np.uint8)
    image[:, 32:, 3] = 255
    cv2.imwrite(str(tmp_path / "a.png"), image)
    with open_source(str(tmp_path / "a.png"), size=(32, 24)) as source:
        (frame,) = source
    assert frame.whole.shape == (24, 32, 4)
    assert not frame.whole[:, :15].any() and (frame.whole[:, 17:] == (10, 20, 30, 255)).all()
