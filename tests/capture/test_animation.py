"""Animated pictures are videos; of several pages the first is used, and a warning says so."""

import cv2
import numpy as np
import pytest
from PIL import Image

from background_blur.capture import open_source
from background_blur.errors import SourceError
from support.program import run

LASTING = [100, 50, 200, 100]  # ms that each frame stays
TIMES = [0, 100, 150, 350]


def write_animation(path, images, **options):
    first, *others = [Image.fromarray(image) for image in images]
    options = {"duration": LASTING[: len(images)], "lossless": True, **options}
    first.save(path, save_all=True, append_images=others, **options)
    return path


def greys(count=4) -> list[np.ndarray]:
    """RGB, with a colour to tell it from BGR."""
    return [np.full((48, 64, 3), (200, 30, 60 * index), np.uint8) for index in range(count)]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif"])
def test_every_frame_comes_at_its_time(tmp_path, suffix):
    path = write_animation(tmp_path / f"a{suffix}", greys())
    with open_source(str(path)) as source:
        assert (source.size, source.is_sequence, source.live) == ((64, 48), True, False)
        assert (source.path, source.warning) == (path, None)
        frames = list(source)
    assert [round(1000 * frame.time) for frame in frames] == TIMES
    for index, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - (60 * index, 30, 200)).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_size_and_rate_hold_for_animations(tmp_path, suffix):
    images = greys(4) * 5
    path = write_animation(tmp_path / f"a{suffix}", images, duration=50)
    with open_source(str(path), size=(24, 24), fps=10) as source:
        assert (source.size, source.fps, source.count) == ((24, 24), 10, 10)
        frames = list(source)
    assert {frame.image.shape for frame in frames} == {(24, 24, 3)}
    assert len(frames) == 10


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_what_is_transparent_in_an_animation_becomes_white(tmp_path, suffix):
    images = []
    for index in range(3):
        image = np.full((48, 64, 4), (90, 90, 90, 0), np.uint8)
        image[:, 20 * index : 20 * index + 20] = 0, 0, 0, 255
        images.append(image)
    path = write_animation(tmp_path / f"a{suffix}", images, duration=100, disposal=1, exact=True)
    with open_source(str(path)) as source:
        for index, frame in enumerate(source):
            dark = (frame.image == 0).all(axis=(0, 2))
            assert np.flatnonzero(dark).tolist() == list(range(20 * index, 20 * index + 20))
            assert (frame.image[:, ~dark] == 255).all()


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_truncated_animation_gives_what_it_holds_and_a_warning(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), np.uint8)
    path = write_animation(tmp_path / f"a{suffix}", list(noise), duration=100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    try:
        with open_source(str(path)) as source:
            frames = list(source)
    except SourceError as error:  # libwebp wants the whole file
        assert "damaged" in str(error)
    else:
        assert 1 <= len(frames) < 6
        assert source.warning is None or "\n" not in source.warning


@pytest.mark.slow
def test_an_animation_becomes_a_video_of_its_length(tmp_path):
    path = write_animation(tmp_path / "a.webp", greys())
    result = run("--source", path, "--output", tmp_path / "out.mp4")
    assert (result.returncode, result.stderr) == (0, "")
    with open_source(str(tmp_path / "out.mp4")) as source:
        assert [round(1000 * frame.time) for frame in source] == TIMES


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "page"])
def test_of_several_pages_the_first_is_taken_and_one_line_says_so(tmp_path, kind):
    folder = tmp_path / "in"
    folder.mkdir()
    first, *others = [Image.fromarray(image) for image in greys()]
    first.save(folder / "a.tif", save_all=True, append_images=others)
    first.save(folder / "c.tif")  # one page, not worth a word
    source = folder / "a.tif" if kind == "page" else folder
    result = run("--source", source, "--output", tmp_path / "out")
    assert result.returncode == 0
    (line,) = result.stderr.splitlines()
    assert "a.tif: 4 pages or pictures; only the first is used" in line and "c.tif" not in line
    assert (cv2.imread(str(tmp_path / "out" / "a.tif"))[0, 0] == (0, 30, 200)).all()
