"""What every source promises, and what each kind does with odd input."""

import gc
import itertools
import os
import socket
import struct
import threading
import time
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_blur.capture import open_source
from background_blur.capture.base import rate_limiter
from background_blur.capture.camera import Camera
from background_blur.capture.demo import Demo
from background_blur.capture.held import HeldPictures
from background_blur.capture.live import Stream
from background_blur.capture.orientation import display_matrix, turn_upright
from background_blur.capture.video import Decoder
from background_blur.errors import SourceError
from background_blur.frames import Frame
from background_blur.imaging import crop_to_fill
from support.captures import FakeCapture, numbered, picture, threads
from support.videos import encode

# --- Things to read


def quadrant(width=64, height=48) -> np.ndarray:
    """Red at the top left and black elsewhere, to show how a picture is rotated."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = 0, 0, 255
    return image


def red_corner(image: np.ndarray) -> str:
    height, width = image.shape[:2]
    spots = {
        f"{v} {h}": image[height * y // 4, width * x // 4, 2]
        for v, y in (("top", 1), ("bottom", 3))
        for h, x in (("left", 1), ("right", 3))
    }
    return max(spots, key=spots.get)


def write_picture(path: Path, image: np.ndarray) -> Path:
    cv2.imencode(path.suffix, image)[1].tofile(path)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    """Makes a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_sound(path: Path) -> Path:
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = np.zeros((1, 8000), np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# --- The contract


def a_camera(tmp_path):
    return Camera(0, (64, 48), open=FakeCapture(after=picture()))


def a_video(tmp_path):
    return open_source(str(encode(tmp_path / "a.mp4", [picture(seed=i) for i in range(5)])))


def a_stream(tmp_path):
    path = encode(tmp_path / "s.mp4", [picture(seed=i) for i in range(5)])
    return Stream(Decoder(str(path)))


def an_image(tmp_path):
    return open_source(str(write_picture(tmp_path / "a.png", picture())))


def a_folder(tmp_path):
    for index in range(3):
        write_picture(tmp_path / f"{index}.png", picture(seed=index))
    return open_source(str(tmp_path))


def held_pictures(tmp_path):
    return HeldPictures(a_folder(tmp_path))


def a_demo(tmp_path):
    return Demo((64, 48), paced=False)


def a_paced_demo(tmp_path):
    return Demo((64, 48), 200, paced=True)


KINDS = [a_camera, a_video, a_stream, an_image, a_folder, held_pictures, a_demo, a_paced_demo]


@pytest.fixture(params=KINDS)
def opened(request, tmp_path):
    before = threads()
    made = request.param(tmp_path)
    yield made
    made.close()
    assert threads() <= before


def test_frames_are_colour_pictures_of_the_size_told(opened):
    assert opened.size == (64, 48)
    for frame in itertools.islice(opened, 4):
        assert isinstance(frame, Frame)
        assert frame.image.dtype == np.uint8
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.flags.c_contiguous
        frame.image[0, 0] = 1  # the caller may change it


def test_times_start_at_the_first_frame_and_never_fall(opened):
    times = [frame.time for frame in itertools.islice(opened, 4)]
    assert times == sorted(times)
    assert times[0] >= 0
    if not opened.live:
        assert times[0] == 0


def test_the_nature_of_the_source_is_told(opened):
    assert opened.fps > 0
    assert opened.dropped == 0
    assert opened.warning is None
    assert not (opened.live and not opened.is_sequence)
    if opened.count is not None:
        assert opened.count == len(list(opened))


def test_works_as_context_and_closes_twice(opened):
    with opened as same:
        assert same is opened
        next(iter(opened))
    opened.close()
    opened.close()


def test_closing_ends_the_iteration(opened):
    frames = iter(opened)
    next(frames)
    opened.close()
    assert len(list(itertools.islice(frames, 10))) < 10


# --- Videos


QUARTERS_AND_FLIPS = {  # display matrix (a, b, c, d): x' = a·x + c·y, y' = b·x + d·y
    (1, 0, 0, 1): "top left",
    (-1, 0, 0, 1): "top right",
    (1, 0, 0, -1): "bottom left",
    (-1, 0, 0, -1): "bottom right",
    (0, 1, 1, 0): "top left",
    (0, 1, -1, 0): "top right",
    (0, -1, 1, 0): "bottom left",
    (0, -1, -1, 0): "bottom right",
}


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Writes a matrix into the track header of an MP4."""

    def pack(*rows):
        ones = struct.pack(">i", 2**30)
        return b"".join(struct.pack(">iii", x << 16, y << 16, 0) for x, y in rows) + bytes(8) + ones

    plain, data = pack((1, 0), (0, 1)), bytearray(path.read_bytes())
    at = data.index(plain, data.index(b"tkhd"))
    data[at : at + 36] = pack((a, b), (c, d))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("matrix", QUARTERS_AND_FLIPS)
def test_a_display_matrix_turns_and_flips(tmp_path, matrix):
    path = set_display_matrix(encode(tmp_path / "v.mp4", [quadrant()] * 2), *matrix)
    for size in (None, (40, 40)):
        with open_source(str(path), size=size) as video:
            assert video.size == (size or ((64, 48) if matrix[0] else (48, 64)))
            for frame in video:
                assert red_corner(frame.image) == QUARTERS_AND_FLIPS[matrix]
                assert frame.image.flags.c_contiguous


def test_a_display_matrix_with_the_diagonal_flips_keeps_the_order_of_rows_and_columns(tmp_path):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:16], image[:, :16, 2] = 120, 255  # grey at the top, red at the left
    path = set_display_matrix(encode(tmp_path / "v.mp4", [image]), 0, 1, 1, 0)
    with open_source(str(path)) as video:
        shown = next(iter(video)).image  # mirrored at the diagonal: the left is now at the top
    assert shown[4, 40, 2] > 200 > 60 > shown[4, 40, 0]
    assert shown[40, 4].min() > 90


@pytest.mark.parametrize(
    "turn, corner",
    [(0, "top left"), (90, "bottom left"), (-180, "bottom right"), (-90, "top right")],
)
def test_side_data_that_pyav_has_no_name_for_leaves_the_rotation(turn, corner):
    class Raw:
        rotation = turn

        @property
        def side_data(self):
            raise ValueError("31 is not a valid Type")

    assert red_corner(turn_upright(quadrant(), display_matrix(Raw()))) == corner


def test_no_decoded_frame_waits_for_the_garbage_collection(tmp_path):
    path = encode(tmp_path / "v.mp4", numbered(30), range(0, 3000, 100))
    gc.collect()
    gc.disable()
    try:
        with open_source(str(path)) as video:
            for _ in video:
                pass
            held = sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects())
    finally:
        gc.enable()
    assert held < 5


def test_a_variable_rate_survives(tmp_path):
    times = [0, 33, 100, 400, 2000]
    path = encode(tmp_path / "v.mp4", numbered(5), times)
    with open_source(str(path)) as video:
        assert [round(1000 * frame.time) for frame in video] == times
        assert video.warning is None


def test_times_count_from_the_first_frame(tmp_path):
    path = encode(tmp_path / "late.mkv", numbered(3), [5000, 5033, 5067])
    with open_source(str(path)) as video:
        assert [round(1000 * frame.time) for frame in video] == [0, 33, 67]


def test_fps_skips_frames_in_between(tmp_path):
    path = encode(tmp_path / "v.mp4", numbered(30))
    with open_source(str(path), fps=10) as video:
        assert (video.fps, video.count) == (10, 10)
        times = [frame.time for frame in video]
    assert np.allclose(np.diff(times), 0.1, atol=0.034)
    assert len(times) == 10
    with open_source(str(path), fps=60) as video:
        assert (video.fps, video.count, len(list(video))) == (30, 30, 30)


def test_a_video_is_never_dropped_however_slow_its_taker(tmp_path):
    path = encode(tmp_path / "v.mp4", numbered(20))
    with open_source(str(path)) as video:
        for _ in video:
            time.sleep(0.005)
        assert video.dropped == 0
        assert (video.live, video.is_sequence, video.count) == (False, True, 20)
        assert video.path == path


@pytest.mark.parametrize(
    "name, codec, pixels",
    [
        ("grey.mkv", "ffv1", "gray"),
        ("ten_bit.mkv", "ffv1", "yuv420p10le"),
        ("sixteen_bit_grey.mkv", "ffv1", "gray16le"),
        ("alpha.mov", "png", "rgba"),
        ("full_chroma.mp4", "libx264", "yuv444p"),
        ("full_range.avi", "mjpeg", "yuvj420p"),
    ],
)
def test_all_pixel_formats_become_bgr(tmp_path, name, codec, pixels):
    image = np.full((48, 64, 3), 150, np.uint8)
    path = encode(tmp_path / name, [image] * 3, codec=codec, pixels=pixels)
    with open_source(str(path)) as video:
        frames = list(video)
    assert len(frames) == 3
    assert frames[0].image.shape == (48, 64, 3)
    assert abs(int(frames[0].image.mean()) - 150) < 5


def test_the_unused_fourth_byte_of_uncompressed_video_hides_nothing(tmp_path):
    unused = np.full((48, 64, 4), (90, 90, 90, 0), np.uint8)
    with av.open(tmp_path / "a.avi", "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgra"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(unused, format="bgra")))
    with open_source(str(tmp_path / "a.avi")) as video:
        (frame,) = video
    assert (frame.image == 90).all()


@pytest.mark.parametrize("size", [(17, 19), (1279, 721)])
def test_videos_of_any_size(tmp_path, size):
    path = encode(tmp_path / "v.mkv", [picture(*size)] * 2, codec="mjpeg", pixels="yuvj444p")
    with open_source(str(path)) as video:
        frames = list(video)
    assert video.size == size
    assert [frame.image.shape for frame in frames] == [(size[1], size[0], 3)] * 2
    assert all(frame.image.flags.c_contiguous for frame in frames)


def test_size_covers_and_crops_at_the_centre(tmp_path):
    image = np.zeros((48, 96, 3), np.uint8)
    image[:, 24:72] = 200  # the square in the middle
    path = encode(tmp_path / "v.mkv", [image], codec="ffv1", pixels="bgr0")
    with open_source(str(path), size=(24, 24)) as video:
        assert video.size == (24, 24)
        assert (next(iter(video)).image == 200).all()


def test_a_truncated_video_gives_what_it_holds_and_a_warning(tmp_path):
    images = [picture(320, 240, seed) for seed in range(60)]
    whole = encode(tmp_path / "whole.mp4", images, movflags="faststart").read_bytes()
    path = tmp_path / "clip.mp4"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with open_source(str(path)) as video:
        count = len(list(video))
        assert 10 < count < 59
        assert "clip.mp4: ends after" in video.warning
        assert "2.0 s" in video.warning
        assert "\n" not in video.warning


def test_a_video_damaged_in_the_middle_goes_on_after_it(tmp_path):
    images = [picture(320, 240, seed) for seed in range(40)]
    path = encode(tmp_path / "clip.mkv", images, codec="ffv1", pixels="bgr0", slicecrc="1")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    with open_source(str(path)) as video:
        frames = list(video)
    times = [frame.time for frame in frames]
    assert 20 <= len(frames) <= 40
    assert times == sorted(times)
    assert times[-1] > 1.2


def test_a_damaged_title_does_no_harm(tmp_path):
    path = encode(tmp_path / "v.mp4", numbered(5))
    path.write_bytes(path.read_bytes().replace(b"VideoHandler", b"Video\xff\xfendler"))
    with open_source(str(path)) as video:
        assert len(list(video)) == 5


# --- What cannot be opened


def complaint(*args, **kwargs) -> str:
    """The one-line error with which opening fails, which must leave no thread behind."""
    before = threads()
    with pytest.raises(SourceError) as caught:
        open_source(*args, **kwargs).close()
    assert threads() <= before
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    "name, content",
    [
        ("text.mp4", b"These are words.\n" * 50),
        ("text.jpg", b"These are words.\n" * 50),
        ("notes", b"These are words.\n" * 50),
        ("zeros.png", bytes(5000)),
        ("header.mp4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    line = complaint(str(tmp_path / name))
    assert name in line
    assert "damaged" in line


@pytest.mark.parametrize("name", ["empty.mp4", "empty.png"])
def test_empty_files_are_refused(tmp_path, name):
    (tmp_path / name).touch()
    assert "empty" in complaint(str(tmp_path / name))


@pytest.mark.parametrize("text", ["", "nothing.mp4", "no/where", "a\0b", "x" * 5000, "http:/x"])
def test_missing_paths_are_refused(text):
    assert "no such file or folder" in complaint(text)


def test_sound_without_picture_is_refused(tmp_path):
    assert "only sound" in complaint(str(write_sound(tmp_path / "voice.wav")))


def test_a_video_without_a_decodable_frame_is_refused(tmp_path):
    images = [picture(320, 240, seed) for seed in range(10)]
    path = encode(tmp_path / "clip.mp4", images, movflags="faststart")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    path.write_bytes(data)
    line = complaint(str(path))
    assert "clip.mp4: damaged" in line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_what_is_neither_file_nor_folder_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "neither a file nor a folder" in complaint(str(tmp_path / "pipe.mp4"))


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may read anything")
def test_a_forbidden_file_is_refused(tmp_path):
    path = write_picture(tmp_path / "a.png", picture())
    path.chmod(0)
    assert "Permission denied" in complaint(str(path))


@pytest.mark.parametrize("name", ["äö 日本.mp4", "-v.mp4", "a:b.mp4", "100%.mp4", "a b.mp4", "x"])
def test_videos_of_any_name(tmp_path, monkeypatch, name):
    encode(tmp_path / "made.mp4", numbered(3)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with open_source(name) as video:
        assert len(list(video)) == 3


@pytest.mark.skipif(Path("/dev/video63").exists(), reason="there is a camera 63")
@pytest.mark.parametrize("number", ["63", "99999999999999999999"])
def test_the_real_driver_without_a_camera_says_one_line(number, capfd):
    assert "camera" in complaint(number)
    assert capfd.readouterr().err == ""


# --- Pictures


@pytest.mark.parametrize("dtype, value", [(np.uint8, 150), (np.uint16, 150 * 257)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_depth_grey_and_alpha_become_8_bit_bgr(tmp_path, dtype, value, channels):
    image = np.full((9, 11, channels), value, dtype)
    image[..., 3:] = np.iinfo(dtype).max  # opaque
    path = write_picture(tmp_path / "a.png", image)
    with open_source(str(path)) as opened:
        (frame,) = opened
    assert frame.image.shape == (9, 11, 3)
    assert frame.image.dtype == np.uint8
    assert (frame.image == 150).all()


@pytest.mark.parametrize(
    "suffix, dtype", [(".png", np.uint8), (".png", np.uint16), (".webp", np.uint8)]
)
def test_what_is_transparent_becomes_white_and_shows_nothing_of_what_lies_under_it(
    tmp_path, suffix, dtype
):
    most = np.iinfo(dtype).max
    image = np.zeros((8, 12, 4), dtype)
    image[:, 4:8, 3], image[:, 8:, 3] = most, most // 2
    encoded = cv2.imencode(suffix, image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1]  # lossless
    (tmp_path / f"a{suffix}").write_bytes(encoded.tobytes())
    with open_source(str(tmp_path / f"a{suffix}")) as opened:
        (frame,) = opened
    shown = frame.image.reshape(8, 3, 4, 3)
    assert [int(part) for part in shown.mean((0, 2, 3))] == [255, 0, 128]


@pytest.mark.parametrize(
    "name, codec, pixels", [("a.mov", "qtrle", "argb"), ("a.mkv", "ffv1", "yuva444p")]
)
def test_what_is_transparent_in_a_video_becomes_white_too(tmp_path, name, codec, pixels):
    image = np.zeros((48, 64, 4), np.uint8)
    image[:, 32:, 3] = 255
    path = encode(tmp_path / name, [image] * 2, codec=codec, pixels=pixels)
    with open_source(str(path)) as opened:
        for frame in opened:
            assert frame.image[:, :30].min() > 250 and frame.image[:, 34:].max() < 5


@pytest.mark.parametrize(
    "orientation, corner",
    [(1, "top left"), (2, "top right"), (3, "bottom right"), (6, "top right"), (8, "bottom left")],
)
def test_exif_orientation_is_honoured(tmp_path, orientation, corner):
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    jpeg = cv2.imencode(".jpg", quadrant())[1].tobytes()
    marked = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    (tmp_path / "a.jpg").write_bytes(marked)
    transparent = cv2.cvtColor(quadrant(), cv2.COLOR_BGR2BGRA)
    transparent[transparent[..., 2] == 0] = 0
    png = cv2.imencode(".png", transparent)[1].tobytes()
    (tmp_path / "a.png").write_bytes(png[:33] + chunk(b"eXIf", tiff) + png[33:])  # after IHDR
    for name in ("a.jpg", "a.png"):
        with open_source(str(tmp_path / name)) as opened:
            assert opened.size == ((48, 64) if orientation >= 5 else (64, 48))
            image = next(iter(opened)).image
        assert red_corner(255 - image[..., ::-1] if name == "a.png" else image) == corner


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tiff"])
def test_a_truncated_picture_is_refused_in_one_line(tmp_path, suffix, capfd):
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    path = write_picture(tmp_path / f"a{suffix}", image)
    path.write_bytes(path.read_bytes()[:-20000])
    assert "damaged" in complaint(str(path))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("missing", [2, 20000])
def test_a_jpeg_without_its_end_is_shown_and_that_is_told(tmp_path, missing):
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8), (9, 9), 2
    )
    path = write_picture(tmp_path / "a.jpg", cv2.resize(image, (800, 800)))
    path.write_bytes(path.read_bytes()[:-missing])
    with open_source(str(path)) as source:
        (frame,) = source
        assert "a.jpg: the end of the file is missing" in source.warning
    top = np.s_[:300]
    assert np.abs(frame.image[top].astype(int) - cv2.resize(image, (800, 800))[top]).mean() < 3


def test_a_decompression_bomb_is_refused(tmp_path):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "bomb.png").write_bytes(png + chunk(b"IEND", b""))
    assert "bomb.png: too large" in complaint(str(tmp_path / "bomb.png"))


def test_a_png_chunk_longer_than_its_file_is_refused(tmp_path, monkeypatch):
    path = write_picture(tmp_path / "a.png", picture().astype(np.uint16))
    data = bytearray(path.read_bytes())
    data[33:37] = b"\x7f\xff\xff\xff"  # the length of the chunk after the header
    path.write_bytes(data)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("OpenCV was asked"))
    assert "damaged" in complaint(str(path))


def test_a_folder_is_read_in_order_with_its_subfolders(tmp_path):
    sizes = {"a.png": (20, 30), "b/c.JPG": (40, 16), "b/d.bmp": (16, 16), "e.webp": (33, 17)}
    (tmp_path / "b").mkdir()
    for name in reversed(sizes):
        write_picture(tmp_path / name, picture(*sizes[name]))
    (tmp_path / "readme.txt").write_text("not a picture")
    with open_source(str(tmp_path)) as folder:
        assert folder.count == 4
        assert folder.size == (20, 30)
        assert folder.path == tmp_path
        frames = list(folder)
    assert [frame.path.as_posix() for frame in frames] == list(sizes)
    assert [frame.image.shape[1::-1] for frame in frames] == list(sizes.values())


def test_a_folder_of_damaged_pictures_is_refused_and_names_them_all(tmp_path):
    names = [f"{index}.png" for index in range(7)]
    for name in names:
        (tmp_path / name).write_bytes(b"not a picture")
    line = complaint(str(tmp_path))
    assert all(f"{name}: damaged" in line for name in names)


def test_a_run_that_ends_early_tells_how_many_pictures_were_left_out_so_far(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not a picture")
    for name in ("b.png", "c.png"):
        write_picture(tmp_path / name, picture())
    with open_source(str(tmp_path)) as folder:
        next(iter(folder))
        assert "1 of 3 pictures left out so far" in folder.warning
        assert "a.png: damaged" in folder.warning


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("not a picture")
    assert "no picture in this folder" in complaint(str(tmp_path))


# --- URLs


@pytest.fixture
def server():
    """A listening socket; yields (port, accept)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_url_that_answers_nothing_is_given_up(server, scheme):
    asked = time.monotonic()
    line = complaint(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/live", limit=0.2)
    assert time.monotonic() - asked < 8
    assert "no answer within 0.2 s" in line


def test_a_url_nobody_listens_at_is_refused(server):
    port = server.getsockname()[1]
    server.close()
    assert "Connection refused" in complaint(f"http://127.0.0.1:{port}/live", limit=2)


def serve(listener, data: bytes, header: bytes, hold: threading.Event):
    """Answers one request, then keeps the connection open until `hold` is set."""

    def run():
        with listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(header + data)
            hold.wait(20)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_stream_is_live_and_its_silence_is_told(server, tmp_path):
    images = [picture(seed=seed) for seed in range(200)]
    path = encode(tmp_path / "v.ts", images, codec="mpeg2video")
    hold = threading.Event()
    header = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n"
    thread = serve(server, path.read_bytes(), header, hold)
    url = f"http://127.0.0.1:{server.getsockname()[1]}/live.ts"
    try:
        with open_source(url, size=(32, 24), limit=2) as stream:
            assert stream.live
            assert stream.size == (32, 24)
            assert stream.count is None
            with pytest.raises(SourceError, match="live.ts stopped sending frames"):
                for frame in stream:
                    assert frame.image.shape == (24, 32, 3)
    finally:
        hold.set()
        thread.join(5)


def test_a_file_cannot_send_us_into_the_network(server, tmp_path):
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:{}/a.ts\n"
    (tmp_path / "list.m3u8").write_text(playlist.format(server.getsockname()[1]))
    complaint(str(tmp_path / "list.m3u8"), limit=0.5)
    server.settimeout(0.1)
    with pytest.raises(TimeoutError):
        server.accept()


# --- Demo


def test_the_demo_is_the_same_in_every_run():
    one, two = Demo((160, 90), paced=False), Demo((160, 90), paced=False)
    for a, b in zip(itertools.islice(one, 3), two, strict=False):
        assert (a.image == b.image).all()
    assert (one.picture(2) == a.image).all()


def test_a_paced_demo_drops_what_comes_too_late():
    with open_source("demo", size=(32, 32), fps=100) as demo:
        assert demo.live
        frames = []
        for frame in itertools.islice(demo, 3):
            frames.append(frame)
            time.sleep(0.1)
        assert demo.dropped >= 15
    assert frames[1].time - frames[0].time > 0.09


# --- The two rules


sides = st.integers(1, 300)


@given(sides, sides, sides, sides)
def test_cover_gives_exactly_the_size(width, height, wide, high):
    image = np.zeros((height, width, 3), np.uint8)
    covered = crop_to_fill(image, (wide, high))
    assert covered.shape == (high, wide, 3)
    assert covered.flags.c_contiguous


rates = st.integers(1, 60)


@given(rates, rates, st.floats(-0.2, 0.2))
def test_at_most_passes_an_even_share(own, asked, jitter):
    due = rate_limiter(asked)
    times = [(index + jitter * (index % 2)) / own for index in range(200)]
    passed = [moment for moment in times if due(moment)]
    assert passed[0] == 0
    if asked >= own:
        assert passed == times
    else:
        assert abs(len(passed) - 200 * asked / own) <= 2
        assert np.diff(passed).max() <= 1 / asked + 1.5 / own
