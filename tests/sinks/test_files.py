"""Frames written to files: the contract common to all sinks, then what each one adds."""

import errno
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_blur.errors import SinkError
from background_blur.frames import Frame
from background_blur.imaging import letterbox
from background_blur.sinks import open_output
from background_blur.sinks.files import ImageFile, ImageFolder
from background_blur.sinks.video import VideoFile
from support import ROOT

COLOURS = [(200, 30, 40), (40, 180, 60), (30, 50, 210), (128, 128, 128), (20, 200, 200)]
COLOURS += [(235, 235, 235), (16, 16, 16), (255, 255, 255), (0, 0, 0), (90, 60, 140)]


def bars(size=(320, 180)) -> np.ndarray:
    """uint8 [H,W,3] BGR: vertical bars in COLOURS."""
    row = np.array(COLOURS, np.uint8)[np.arange(size[0]) * len(COLOURS) // size[0]]
    return np.repeat(row[None], size[1], axis=0)


def frames(count=5, fps=25, size=(64, 48), names=None):
    """Grey frames, each lighter than the last."""
    for i in range(count):
        image = np.full((size[1], size[0], 3), 20 + i * 200 // count, np.uint8)
        yield Frame(image, float(i / Fraction(fps)), Path(names[i]) if names else None)


def source(count=5, fps=25, is_sequence=True, path=None):
    return SimpleNamespace(count=count, fps=fps, is_sequence=is_sequence, tracks=None, path=path)


def decode(path: Path):
    """(the video stream, its frames), decoded by PyAV."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream, list(container.decode(stream))


def count_pictures(path: Path) -> int:
    """How many complete pictures there are at a path: a video, a picture or a folder."""
    if path.is_dir():
        return sum(cv2.imread(str(file)) is not None for file in path.iterdir())
    if path.suffix in (".png", ".jpg"):
        return int(cv2.imread(str(path)) is not None)
    return len(decode(path)[1])


# --- The contract: (name of the output, kind of source, how many pictures 3 frames become)

SINKS = {
    "video": ("out.mp4", source(), 3),
    "webm": ("out.webm", source(), 3),
    "picture": ("out.jpg", source(count=1), 1),
    "folder": ("out", source(), 3),
}


@pytest.fixture(params=SINKS)
def kind(request):
    return SINKS[request.param]


def test_what_was_written_is_there_after_a_normal_end(kind, tmp_path):
    name, of, pictures = kind
    with open_output(tmp_path / name, of) as sink:
        for frame in frames(3):
            sink.write(frame)
    sink.close()
    assert count_pictures(tmp_path / name) == pictures
    assert os.listdir(tmp_path) == [name]


def test_nothing_is_under_the_name_before_it_is_complete(tmp_path):
    for name, of, *_ in (SINKS["video"], SINKS["picture"]):
        with open_output(tmp_path / name, of) as sink:
            for frame in frames(3):
                sink.write(frame)
            assert not (tmp_path / name).exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_whatever_ends_the_run_what_was_written_is_complete(kind, tmp_path, error):
    name, of, pictures = kind
    with pytest.raises(error), open_output(tmp_path / name, of) as sink:
        for frame in frames(3):
            sink.write(frame)
        raise error
    sink.close()
    assert count_pictures(tmp_path / name) == pictures
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_without_a_frame_nothing_stays(kind, tmp_path, error):
    name, of, *_ = kind
    try:
        with open_output(tmp_path / name, of):
            if error:
                raise error
    except (KeyboardInterrupt, ValueError):
        pass
    assert os.listdir(tmp_path) == []


def test_a_run_that_fails_replaces_nothing_even_by_force(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")
    output = open_output(path, source(), force=True)
    with pytest.raises(ZeroDivisionError) as caught, output as sink:
        sink.write(next(frames()))
        raise ZeroDivisionError
    assert "saved as" in caught.value.__notes__[0] and "out_1.mp4" in caught.value.__notes__[0]
    assert path.read_bytes() == b"precious"
    assert count_pictures(tmp_path / "out_1.mp4") == 1
    assert len(os.listdir(tmp_path)) == 2


def test_frames_are_neither_kept_nor_changed(kind, tmp_path):
    name, of, *_ = kind
    image = np.full((48, 64, 3), 100, np.uint8)
    with open_output(tmp_path / name, of) as sink:
        sink.write(Frame(image, 0.0))
        assert (image == 100).all()
        image[:] = 250
    written = tmp_path / name / "frame_000001.png" if name == "out" else tmp_path / name
    capture = cv2.VideoCapture(str(written))
    shown, picture = capture.read()
    assert shown and abs(float(picture.mean()) - 100) < 4


# --- Which sink is opened, and what is rejected before the first frame


@pytest.mark.parametrize(
    "name, of, sort",
    [
        ("out.mp4", source(), VideoFile),
        ("OUT.MKV", source(), VideoFile),
        ("out.mov", source(count=7, is_sequence=False), VideoFile),
        ("out.webm", source(count=None), VideoFile),
        ("out.PNG", source(count=1, is_sequence=False), ImageFile),
        ("out", source(), ImageFolder),
        ("out.d/", source(), ImageFolder),
        ("there.d", source(count=1), ImageFolder),
    ],
)
def test_the_path_and_the_source_choose(tmp_path, name, of, sort):
    (tmp_path / "there.d").mkdir()
    with open_output(f"{tmp_path}/{name}", of) as sink:
        assert type(sink) is sort


@pytest.mark.parametrize(
    "name, of, words",
    [
        ("out.avi", source(), "cannot write .avi files"),
        ("out.xyz", source(), ".mp4"),
        ("out.png", source(), "holds only one frame"),
        ("out.png", source(count=None), "give a folder or a video"),
        ("missing/out.mp4", source(), "create it first"),
        ("missing/out.png", source(count=1), "create it first"),
        ("missing/out", source(), "No such file or directory"),
        ("there.mp4", source(), "exists; add --force"),
        ("there.png", source(count=1), "exists; add --force"),
        ("there", source(), "File exists"),
        ("there.mp4/out.mp4", source(), "create it first"),
        ("x" * 300 + ".mp4", source(), "File name too long"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(tmp_path, name, of, words):
    for there in ("there", "there.mp4", "there.png"):
        (tmp_path / there).write_bytes(b"precious")
    with pytest.raises(SinkError) as caught:
        open_output(tmp_path / name, of)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["there", "there.mp4", "there.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such things on this system")
@pytest.mark.parametrize("name", ["pipe.mp4", "pipe"])
def test_what_is_no_file_is_never_replaced(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for path in (tmp_path / name, Path(os.devnull)):
        with pytest.raises(SinkError, match="neither a file nor a folder"):
            open_output(path, source(), force=True)
    assert (tmp_path / name).is_fifo()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anything")
@pytest.mark.parametrize("name, count", [("out.mp4", 5), ("out.png", 1), ("out", 5)])
def test_a_folder_without_permission(tmp_path, name, count):
    tmp_path.chmod(0o500)
    with pytest.raises(SinkError, match="Permission denied"):
        open_output(tmp_path / name, source(count=count))


# --- Videos


@pytest.mark.parametrize(
    "suffix, fps",
    [(".mp4", 30), (".mp4", 12.5)]
    + [(suffix, Fraction(30000, 1001)) for suffix in (".mp4", ".mov", ".mkv", ".webm")],
)
def test_an_even_video_keeps_its_count_size_and_rate(tmp_path, suffix, fps):
    path = tmp_path / f"out{suffix}"
    with VideoFile(path, float(fps)) as sink:
        for frame in frames(31, fps):
            sink.write(frame)
    stream, pictures = decode(path)
    assert len(pictures) == 31
    assert (stream.width, stream.height) == (64, 48)
    assert stream.average_rate == Fraction(fps)
    with av.open(str(path)) as container:
        assert container.duration / 1e6 == pytest.approx(31 / float(fps), abs=0.002)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(float(fps))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 31


@settings(max_examples=8, deadline=None)
@given(steps=st.lists(st.floats(0.002, 3.0), min_size=0, max_size=12), start=st.floats(0, 1000))
def test_uneven_times_survive(tmp_path_factory, steps, start):
    path = tmp_path_factory.mktemp("uneven") / "out.mp4"
    times = start + np.cumsum([0.0, *steps])
    image = np.zeros((48, 64, 3), np.uint8)
    with VideoFile(path, 30) as sink:
        for time in times:
            sink.write(Frame(image, float(time)))
    stream, pictures = decode(path)
    assert [picture.time for picture in pictures] == pytest.approx(times - start, abs=2e-5)
    length = float(times[-1] - start) + 1 / 30
    assert float(stream.duration * stream.time_base) == pytest.approx(length, abs=1e-4)


def test_a_clock_that_stands_still_loses_no_frame(tmp_path):
    with VideoFile(tmp_path / "out.mp4", 30) as sink:
        for time in (0.0, 0.5, 0.5, 0.5, 0.4, 1.0):
            sink.write(Frame(np.zeros((48, 64, 3), np.uint8), time))
    times = [picture.time for picture in decode(tmp_path / "out.mp4")[1]]
    assert times == pytest.approx([0, 0.5, 0.5, 0.5, 0.5, 1.0], abs=1e-4)
    assert times == sorted(set(times))


@pytest.mark.parametrize("size", [(320, 180), (1280, 720), (1, 1)])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_size_and_colours_come_back(tmp_path, size, suffix):
    path = tmp_path / f"out{suffix}"
    image = bars(size)
    with VideoFile(path, 30) as sink:
        sink.write(Frame(image, 0.0))
    stream, pictures = decode(path)
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert (stream.width, stream.height) == (size if suffix == ".webm" else even)
    hd = size[1] >= 720
    assert pictures[0].colorspace == (1 if hd else 5) or pictures[0].colorspace == (1 if hd else 6)
    assert pictures[0].color_range == 1
    if size[0] < 320:
        return  # the bars are as narrow as chroma pixels
    middles = [(2 * i + 1) * size[0] // 20 for i in range(10)]
    shown, by_opencv = cv2.VideoCapture(str(path)).read()
    assert shown
    for picture in (pictures[0].to_ndarray(format="bgr24"), by_opencv):
        difference = np.abs(picture[size[1] // 2, middles].astype(int) - np.array(COLOURS))
        assert difference.max() <= 6


@pytest.mark.parametrize("size", [(640, 481), (641, 480)])
def test_odd_sizes_become_even_ones_that_every_player_takes_and_that_is_told(tmp_path, size):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[-8:, :, 1] = image[:, -8:, 1] = 200  # green up to the border
    with VideoFile(tmp_path / "out.mp4", 30) as sink:
        for time in (0.0, 0.1):
            sink.write(Frame(image, time))
    stream, pictures = decode(tmp_path / "out.mp4")
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert (stream.width, stream.height, stream.format.name) == (*even, "yuv420p")
    assert stream.codec_context.profile in ("High", "Main", "Constrained Baseline")
    shown = pictures[0].to_ndarray(format="bgr24")
    assert shown[-6:, 20:, 1].min() > 170 and shown[20:, -6:, 1].min() > 170
    assert "{}x{} became {}x{}".format(*size, *even) in sink.warning


def test_frames_of_other_sizes_are_fitted_without_distortion(tmp_path):
    with VideoFile(tmp_path / "out.mp4", 30) as sink:
        sink.write(Frame(np.full((90, 160, 3), 200, np.uint8), 0.0))
        sink.write(Frame(np.full((320, 180, 3), 200, np.uint8), 1.0))
        sink.write(Frame(np.full((3, 400, 3), 200, np.uint8), 2.0))
    stream, pictures = decode(tmp_path / "out.mp4")
    assert (stream.width, stream.height) == (160, 90)
    light = [picture.to_ndarray(format="gray") > 100 for picture in pictures]
    assert light[0].all()
    assert light[1].any(axis=1).all() and abs(light[1].any(axis=0).sum() - 50.6) < 4
    assert light[2].any(axis=0).all() and light[2].any(axis=1).sum() <= 4


sides = st.integers(1, 60)


@settings(deadline=None)
@given(sides, sides, sides, sides)
def test_fit_fills_one_side_and_keeps_the_middle(width, height, wide, high):
    image = np.full((height, width, 3), 255, np.uint8)
    fitted = letterbox(image, (wide, high))
    assert fitted.shape == (high, wide, 3)
    rows, columns = fitted[..., 0].max(axis=1) > 0, fitted[..., 0].max(axis=0) > 0
    assert rows.all() or columns.all()
    for filled in (rows, columns):
        assert abs(int(np.argmax(filled)) - int(np.argmax(filled[::-1]))) <= 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("number, lost", [(errno.EIO, True), (errno.EINVAL, False)])
def test_a_disk_that_fails_late_is_told_and_costs_no_frame(
    tmp_path, monkeypatch, suffix, number, lost
):
    """Data reaches the disk only when synced; not all disks can be synced."""

    def fail(handle):
        raise OSError(number, os.strerror(number))

    path = tmp_path / f"out{suffix}"
    sink = VideoFile(path, 25)
    for frame in frames(100):
        sink.write(frame)
    monkeypatch.setattr(os, "fsync", fail)
    if lost:
        with pytest.raises(SinkError, match="Input/output error.*; kept what there is in .*part"):
            sink.close()
    else:
        sink.close()
    (kept,) = tmp_path.iterdir()
    assert count_pictures(kept) >= (80 if lost else 100)


def test_a_target_that_became_a_folder_meanwhile(tmp_path):
    sink = open_output(tmp_path / "out.mp4", source(), force=True)
    sink.write(next(frames()))
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(SinkError, match="Is a directory.*; kept all of it in .*part.mp4") as caught:
        sink.close()
    kept = Path(str(caught.value).rpartition(" in ")[2])
    assert sorted(tmp_path.iterdir()) == sorted([kept, tmp_path / "out.mp4"])
    assert count_pictures(kept) == 1


GUARDED = """
import ctypes, mmap, sys
import av, numpy as np
from background_blur.sinks.video import VideoEncoder

width, height = map(int, sys.argv[1:])
size, page = 3 * width * height, mmap.PAGESIZE
pages = -(-size // page)
memory = mmap.mmap(-1, (pages + 1) * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + pages * page), page, 0) == 0
image = np.frombuffer(memory, np.uint8, size, pages * page - size).reshape(height, width, 3)
stream = av.open("/dev/null", "w", format="webm").add_stream("libvpx-vp9")
VideoEncoder(stream, (width, height), 30).frame(image)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects memory as Linux does")
def test_nothing_is_read_beyond_a_picture_handed_to_the_encoder():
    command = [sys.executable, "-c", GUARDED, "641", "480"]
    assert subprocess.run(command, cwd=ROOT).returncode == 0


def test_names_with_odd_characters(tmp_path):
    for name in ("-v.mp4", "a:b.mp4", "ünï 中 %03d.mp4", "a b'c.webm", "x" * 240 + ".mp4"):
        with VideoFile(tmp_path / name, 30) as sink:
            sink.write(next(frames()))
        assert count_pictures(tmp_path / name) == 1


# --- Pictures


@pytest.mark.parametrize(
    "suffix", [".png", ".PNG", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"]
)
def test_pictures_of_every_kind_under_any_name(tmp_path, suffix):
    path = tmp_path / f"ünï 中{suffix}"
    with ImageFile(path) as sink:
        sink.write(Frame(bars(), 0.0))
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR).astype(int)
    middles = [(2 * i + 1) * 16 for i in range(10)]
    lossless = suffix.lower() in (".png", ".bmp", ".tif", ".tiff")
    assert picture.shape == (180, 320, 3)
    assert np.abs(picture[90, middles] - np.array(COLOURS)).max() <= (0 if lossless else 6)


def test_a_picture_too_large_for_its_kind(tmp_path):
    with pytest.raises(SinkError) as caught, ImageFile(tmp_path / "out.webp") as sink:
        sink.write(Frame(np.zeros((8, 20000, 3), np.uint8), 0.0))
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_folder_keeps_names_suffixes_and_sub_folders(tmp_path):
    names = ["a.jpg", "sub/deep/a.PNG", "b.gif", "b.png", "c"]
    with ImageFolder(tmp_path / "out") as sink:
        for frame in frames(5, names=names):
            sink.write(frame)
    found = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in tmp_path.rglob("*") if p.is_file()
    )
    assert found == ["a.jpg", "b.png", "b_.png", "c.png", "sub/deep/a.PNG"]
    assert (cv2.imread(str(tmp_path / "out/b.png")) == 20 + 2 * 40).all()
    assert (cv2.imread(str(tmp_path / "out/b_.png")) == 20 + 3 * 40).all()


def test_a_folders_pictures_are_overwritten_only_by_force(tmp_path):
    (tmp_path / "a.png").write_bytes(b"precious")
    (tmp_path / "other.txt").write_bytes(b"precious")
    with (
        pytest.raises(SinkError, match="a.png: exists; add --force"),
        open_output(tmp_path, source(is_sequence=False)) as sink,
    ):
        sink.write(next(frames(1, names=["a.png"])))
    assert (tmp_path / "a.png").read_bytes() == b"precious"
    with open_output(tmp_path, source(is_sequence=False), force=True) as sink:
        sink.write(next(frames(1, names=["a.png"])))
    assert cv2.imread(str(tmp_path / "a.png")) is not None
    assert sorted(os.listdir(tmp_path)) == ["a.png", "other.txt"]
