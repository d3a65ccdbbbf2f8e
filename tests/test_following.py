"""`--follow` in the pipeline and in the program: the picture moves, its size and rate do not."""

import cv2
import numpy as np
import pytest

from background_blur.frames import Frame
from background_blur.rendering.backgrounds import StillBackground
from background_blur.settings import TRANSPARENT, Settings
from support.captures import detail
from support.program import run
from support.segmenters import FakeBlur
from support.videos import encode

SIZE = (360, 640)


def person_at(x: float):
    """(picture, mask): a person of bright, fine noise on dark noise, centred at x of the width."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 60, (*SIZE, 3), np.uint8)
    mask = np.zeros((44, 80), np.float32)
    left, right = round(80 * (x - 0.1)), round(80 * (x + 0.1))
    mask[20:, left:right] = 1
    picture[164:, 8 * left : 8 * right] = rng.integers(180, 256, (196, 8 * (right - left), 3))
    return picture, mask


def film(pipeline, seconds=3.0, x=0.3):
    """Films someone standing there; returns the picture, and the last result."""
    picture, mask = person_at(x)
    pipeline.network.mask_of = lambda small: mask
    for i in range(round(8 * seconds)):
        out = pipeline(Frame(picture, i / 8)).image
    return picture, out


@pytest.mark.parametrize("background", [None, TRANSPARENT, "still"])
def test_the_person_comes_to_the_middle_and_grows(background):
    if background == "still":
        background = StillBackground(np.full((1, 1, 3), 9, np.uint8))
    pipeline = FakeBlur(lambda small: None, Settings(follow=True, background=background))
    picture, out = film(pipeline)
    assert out.shape[:2] == picture.shape[:2]
    bright = cv2.boundingRect((out[..., 0] > 150).astype(np.uint8))
    middle, width = bright[0] + bright[2] / 2, bright[2]
    assert middle == pytest.approx(320, abs=40)
    assert width > 1.4 * 0.2 * SIZE[1]


def test_alpha_split_and_result_show_the_same_part():
    views = {}
    for view in ("result", "alpha", "split"):
        _, views[view] = film(FakeBlur(lambda small: None, Settings(follow=True, view=view)))
    assert np.array_equal(views["split"][:, 640:], views["result"])
    inside = views["alpha"][..., 0] == 255
    assert np.median(views["split"][:, :640][inside]) > 180  # the frame's person is under it


def test_what_is_hidden_stays_hidden_when_it_is_enlarged():
    pipeline = FakeBlur(lambda small: None, Settings(follow=True))
    picture, _ = film(pipeline)
    pipeline.settings.hide = True
    out = pipeline(Frame(picture, 3.1)).image
    assert detail(out) < 0.01 * detail(picture)


def test_unrelated_pictures_are_framed_each_for_itself():
    pipeline = FakeBlur(lambda small: None, Settings(follow=True), is_sequence=False)
    for x in (0.2, 0.8, 0.5):
        picture, mask = person_at(x)
        pipeline.network.mask_of = lambda small, mask=mask: mask
        out = pipeline(picture).image
        left, _, width, _ = cv2.boundingRect((out[..., 0] > 150).astype(np.uint8))
        assert left > 20 and left + width < 620
        assert width > 1.4 * 0.2 * SIZE[1]


@pytest.mark.slow
def test_a_followed_recording_keeps_its_size_rate_and_count(tmp_path, portrait):
    import av

    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    small = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    frames = [np.full((360, 640, 3), 120, np.uint8) for _ in range(40)]
    for i, frame in enumerate(frames):
        frame[160:, 60 + i : 260 + i] = small
    encode(source, frames, rate=20)
    result = run("--source", source, "--output", out, "--follow", "--background", "#00ff00")
    assert result.returncode == 0, result.stderr
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(stream)]
        assert (stream.width, stream.height, stream.average_rate) == (640, 360, 20)
    assert len(frames) == 40
    persons = [np.abs(frame.astype(int) - (0, 255, 0)).max(2) > 90 for frame in frames]
    assert persons[-1].mean() > 1.3 * persons[0].mean()
