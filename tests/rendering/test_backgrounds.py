"""Backgrounds other than the blur: found, fitted, looped; and nothing of the camera in them."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from background_blur.capture import open_file
from background_blur.errors import BackgroundError
from background_blur.frames import Frame
from background_blur.imaging import over_checkerboard
from background_blur.rendering.backgrounds import StillBackground, open_background
from background_blur.rendering.compositing import to_bgra
from background_blur.settings import TRANSPARENT, Settings
from background_blur.sinks.video import VideoFile
from support import ROOT
from support.segmenters import FakeBlur

GREEN = (64, 177, 0)  # BGR of #00b140


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)


def left_half(small: np.ndarray) -> np.ndarray:
    return np.repeat([[1.0, 0.0]], [20, 20], axis=1).repeat(30, axis=0).astype(np.float32)


def fails(small: np.ndarray):
    raise RuntimeError("no such tensor")


# --- Each kind


def test_a_colour_is_red_green_blue():
    background = open_background("#00B140", open_file)
    blur = FakeBlur(left_half, Settings(background=background))
    out = blur(np.full((240, 320, 3), 9, np.uint8)).image
    assert (out[:, 200:] == GREEN).all()
    assert (out[:, :120] == 9).all()


@pytest.mark.parametrize("size", [(100, 100), (640, 360), (33, 700), (16, 16)])
def test_a_picture_covers_the_frame_without_distortion(tmp_path, size):
    image = np.zeros((300, 900, 3), np.uint8)
    cv2.circle(image, (450, 150), 100, (255, 255, 255), -1)
    cv2.imwrite(str(tmp_path / "round.png"), image)
    out = open_background(str(tmp_path / "round.png"), open_file)(size, 0.0)
    assert out.shape == (size[1], size[0], 3)
    rows, columns = (out[..., 0] > 127).any(axis=1).sum(), (out[..., 0] > 127).any(axis=0).sum()
    across = 200 * max(size[1] / 300, size[0] / 900)
    assert rows == pytest.approx(min(across, size[1]), abs=3)
    assert columns == pytest.approx(min(across, size[0]), abs=3)


def test_a_picture_follows_frames_that_change_their_size(picture):
    background = StillBackground(picture)
    for size in ((64, 48), (48, 64), (64, 48)):
        assert background(size, 0.0).shape == (size[1], size[0], 3)


@pytest.fixture
def clip(tmp_path) -> Path:
    """Four frames, grey 0, 60, 120, 180, a tenth of a second each."""
    path = tmp_path / "clip.mp4"
    with VideoFile(path, 10) as file:
        for index in range(4):
            image = np.full((48, 64, 3), 60 * index, np.uint8)
            file.write(Frame(image, index / 10))
    return path


def test_a_video_is_looped_at_its_own_pace(clip):
    background = open_background(str(clip), open_file)
    greys = {
        0.0: 0,
        0.05: 0,
        0.11: 60,
        0.32: 180,
        0.39: 180,
        0.41: 0,
        0.75: 180,
        0.81: 0,
        1.01: 120,
    }
    for time, grey in greys.items():
        assert background((32, 32), time).mean() == pytest.approx(grey, abs=4), time
    background((32, 32), 1e6)  # as after a pause of the whole machine: at once
    assert background((32, 32), 1e6 + 0.31).mean() == pytest.approx(180, abs=4)


def test_an_animated_picture_is_looped_too(tmp_path):
    pictures = [Image.new("RGB", (64, 48), (60 * index,) * 3) for index in range(3)]
    path = tmp_path / "a.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, lossless=True)
    background = open_background(str(path), open_file)
    for time, grey in {0.0: 0, 0.11: 60, 0.21: 120, 0.31: 0, 0.55: 120}.items():
        assert background((32, 32), time).mean() == pytest.approx(grey, abs=2), time


def test_a_video_that_goes_away_leaves_its_last_picture(clip):
    background = open_background(str(clip), open_file)
    background((32, 32), 0.2)
    clip.write_bytes(b"gone")
    for time in (0.35, 0.45, 7.0):
        assert background((32, 32), time).mean() == pytest.approx(180, abs=4)


def test_cut_out_keeps_the_persons_pixels_and_not_one_of_the_background(picture):
    alpha = np.zeros((240, 320), np.uint8)
    alpha[:, :100], alpha[:, 100:120] = 255, 90
    out = to_bgra(picture, alpha)
    assert np.array_equal(out[..., 3], alpha)
    assert np.array_equal(out[:, :100, :3], picture[:, :100])
    assert not out[:, 120:].any()


def test_what_is_transparent_is_shown_on_grey_squares(picture):
    out = over_checkerboard(to_bgra(picture, np.zeros((240, 320), np.uint8)))
    assert set(np.unique(out)) == {150, 210}
    assert np.array_equal(
        over_checkerboard(to_bgra(picture, np.full((9, 9), 255, np.uint8))), picture
    )


# --- Through the pipeline


@pytest.mark.parametrize("view", ["result", "split"])
def test_a_hidden_frame_is_the_background_alone(picture, view):
    blur = FakeBlur(fails, Settings(view=view, background=open_background("#00b140", open_file)))
    assert (blur(picture).image[:, -320:] == GREEN).all()
    blur.settings.background = TRANSPARENT
    assert not blur(picture).image[:, -320:].any()


def test_the_split_view_of_a_cut_out_has_the_original_beside_it(picture):
    out = FakeBlur(left_half, Settings(view="split", background=TRANSPARENT))(picture).image
    assert out.shape == (240, 640, 4)
    assert np.array_equal(out[:, :320, :3], picture) and (out[:, :320, 3] == 255).all()


def test_the_mirror_leaves_the_background_as_it_is(picture):
    blur = FakeBlur(left_half, Settings(mirror=True, background=StillBackground(picture)))
    assert np.array_equal(blur(np.zeros_like(picture)).image[:, 200:], picture[:, 200:])


def test_the_frames_time_is_the_backgrounds(picture):
    times = []
    blur = FakeBlur(
        left_half, Settings(background=lambda size, time: times.append(time) or picture)
    )
    blur(Frame(picture, 4.5))
    assert times == [4.5]


# --- As its users start it


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "main.py"), *map(str, arguments)]
    headless = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=headless)


@pytest.fixture
def photo(tmp_path, portrait) -> Path:
    path = tmp_path / "photo.jpg"
    cv2.imwrite(str(path), portrait)
    return path


def test_the_person_before_another_picture(photo, tmp_path):
    beach, out = tmp_path / "beach.png", tmp_path / "out.png"
    cv2.imwrite(str(beach), np.full((50, 90, 3), GREEN, np.uint8))
    result = run("--source", photo, "--background", beach, "--output", out)
    assert result.returncode == 0, result.stderr
    image, face = cv2.imread(str(out)), np.s_[90:140, 200:240]
    assert (image[10:60, 440:] == GREEN).all()
    assert np.array_equal(image[face], cv2.imread(str(photo))[face])


def test_the_person_cut_out_into_a_png(photo, tmp_path):
    out = tmp_path / "out.png"
    result = run("--source", photo, "--background", "transparent", "--output", out)
    assert result.returncode == 0, result.stderr
    image = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    assert image.shape == (512, 512, 4)
    assert (image[90:140, 200:240, 3] == 255).all()
    assert not image[10:60, 440:].any()


def test_a_folder_of_photographs_cut_out_becomes_pngs(photo, tmp_path):
    out = tmp_path / "cut"
    assert run("--source", photo, "--background", "transparent", "--output", out).returncode == 0
    assert [path.name for path in out.iterdir()] == ["photo.png"]
    assert cv2.imread(str(out / "photo.png"), cv2.IMREAD_UNCHANGED).shape[2] == 4


@pytest.mark.parametrize("output", [[], ["--output", "out.mp4"], ["--output", "out.jpg"]])
def test_nothing_else_can_be_transparent(output):
    result = run("--source", "demo", "--background", "transparent", *output)
    assert result.returncode == 2
    assert "--background transparent" in result.stderr.splitlines()[-1]


def test_a_background_that_cannot_be_read_is_one_line_and_no_output(photo, tmp_path):
    out = tmp_path / "out.png"
    result = run("--source", photo, "--output", out, "--background", tmp_path / "none.jpg")
    assert result.returncode == 1 and not out.exists()
    assert result.stderr.startswith("main.py: --background ") and "none.jpg" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["", "empty.png", "text.png", "text.mp4", "."])
def test_what_is_no_background_says_what_to_give(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("empty.png").touch()
    Path("text.png").write_text("no picture\n")
    Path("text.mp4").write_text("no video\n" * 99)
    with pytest.raises(BackgroundError, match="^--background ") as error:
        open_background(name, open_file)
    assert "\n" not in str(error.value) and "camera" not in str(error.value)
