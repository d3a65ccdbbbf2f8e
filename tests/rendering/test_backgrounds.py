"""Backgrounds other than the blur: found, fitted, looped; with nothing of the camera in them."""

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
from support.program import assert_one_line, run
from support.segmenters import FakeBlur, fails, left_half

GREEN = (64, 177, 0)  # BGR of #00b140


def test_a_colour_is_red_green_blue():
    background = open_background("#00B140", open_file)
    blur = FakeBlur(left_half, Settings(background=background))
    out = blur(np.full((240, 320, 3), 9, np.uint8)).image
    assert (out[:, 200:] == GREEN).all()
    assert (out[:, :120] == 9).all()


@pytest.mark.parametrize("size", [(640, 360), (33, 700)])
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
    greys = {0.0: 0, 0.05: 0, 0.11: 60, 0.32: 180, 0.39: 180, 0.41: 0, 0.75: 180, 1.01: 120}
    for time, grey in greys.items():
        assert background((32, 32), time).mean() == pytest.approx(grey, abs=4), time
    background((32, 32), 1e6)  # as after the whole machine was suspended: at once
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


def test_what_is_transparent_is_shown_on_grey_squares(picture):
    out = over_checkerboard(to_bgra(picture, np.zeros((240, 320), np.uint8)))
    assert set(np.unique(out)) == {150, 210}
    assert np.array_equal(
        over_checkerboard(to_bgra(picture, np.full((9, 9), 255, np.uint8))), picture
    )


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


def test_a_background_that_cannot_be_read_is_one_line_and_no_output(photo, tmp_path):
    out = tmp_path / "out.png"
    result = run("--source", photo, "--output", out, "--background", tmp_path / "none.jpg")
    assert_one_line(result, "--background ", "none.jpg")
    assert not out.exists()


@pytest.mark.parametrize("name", ["", "empty.png", "text.png", "text.mp4", "."])
def test_what_is_no_background_says_what_to_give(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("empty.png").touch()
    Path("text.png").write_text("no picture\n")
    Path("text.mp4").write_text("no video\n" * 99)
    with pytest.raises(BackgroundError, match="^--background ") as error:
        open_background(name, open_file)
    assert "\n" not in str(error.value) and "camera" not in str(error.value)
