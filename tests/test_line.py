"""One frame in, one finished frame out; and nothing sharp out without a mask to trust."""

import cv2
import numpy as np
import pytest

from line import Line, Settings


@pytest.fixture
def picture() -> np.ndarray:
    """Fine noise everywhere: any part left unblurred shows."""
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)


def left_half(small: np.ndarray) -> np.ndarray:
    mask = np.zeros((30, 40), np.float32)
    mask[:, :20] = 1
    return mask


def detail(picture: np.ndarray) -> float:
    """How much fine structure a picture has: the variance of its Laplacian."""
    return cv2.Laplacian(picture, cv2.CV_64F).var()


def test_person_sharp_background_blurred(picture):
    out = Line(left_half, Settings())(picture)
    assert np.array_equal(out[:, :130], picture[:, :130])
    assert detail(out[:, 190:]) < 0.01 * detail(picture[:, 190:])


def test_input_stays_as_it_was(picture):
    before = picture.copy()
    Line(left_half, Settings(mirror=True))(picture)
    assert np.array_equal(picture, before)


def test_views(picture):
    alpha = Line(left_half, Settings(view="alpha"))(picture)
    assert alpha.shape == picture.shape
    assert (alpha[:, :130] == 255).all()
    assert (alpha[:, 190:] == 0).all()
    split = Line(left_half, Settings(view="split"))(picture)
    assert np.array_equal(split[:, :320], picture)
    assert np.array_equal(split[:, 320:], Line(left_half, Settings())(picture))


def test_strength_0_leaves_the_picture_as_it_is():
    large = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    out = Line(left_half, Settings(strength=0))(large)
    assert np.abs(out.astype(int) - large).max() <= 1


def test_mirror_flips_the_picture_before_anything_else(picture):
    mirrored = Line(left_half, Settings(mirror=True))(picture)
    assert np.array_equal(mirrored, Line(left_half, Settings())(picture[:, ::-1].copy()))


def fails(small):
    raise RuntimeError("no such tensor")


def mask_of(value):
    return lambda small: np.full((30, 40), value, np.float32)


@pytest.mark.parametrize(
    "segmenter",
    [
        fails,
        lambda small: None,
        lambda small: np.zeros((0, 0), np.float32),
        lambda small: np.ones((30, 40, 2), np.float32),
        mask_of(np.nan),
        mask_of(np.inf),
    ],
    ids=["raises", "none", "empty", "shape", "nan", "inf"],
)
@pytest.mark.parametrize("view", ["result", "split", "alpha"])
@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_without_a_valid_mask_the_whole_frame_is_blurred(picture, segmenter, view, strength):
    line = Line(segmenter, Settings(view=view, strength=strength))
    out = line(picture)[:, -320:]
    assert detail(out) < 0.01 * detail(picture)
    assert line.hidden_frames == 1
    assert line.hidden_because


def test_one_bad_pixel_is_a_bad_mask(picture):
    def one_nan(small):
        mask = left_half(small)
        mask[3, 4] = np.nan
        return mask

    assert detail(Line(one_nan, Settings())(picture)) < 0.01 * detail(picture)


def test_a_mask_that_suddenly_covers_everything_is_not_believed_at_once(picture):
    masks = [left_half(None)] * 30 + [np.ones((30, 40), np.float32)]
    line = Line(lambda small: masks.pop(0), Settings())
    for _ in range(30):
        line(picture)
    assert line.hidden_frames == 0
    assert detail(line(picture)) < 0.01 * detail(picture)


def test_a_person_who_comes_close_slowly_is_believed(picture):
    shares = np.linspace(0.5, 1, 60)
    shares = [*shares, *[1] * 40]  # the picture stands still, so the alpha follows slowly
    masks = [np.tile(np.arange(40) < 40 * s, (30, 1)).astype(np.float32) for s in shares]
    line = Line(lambda small: masks.pop(0), Settings())
    for _ in shares:
        out = line(picture)
    assert line.hidden_frames == 0
    assert np.array_equal(out, picture)


def test_hide_blurs_everything_until_taken_back(picture):
    settings = Settings()
    line = Line(left_half, settings)
    settings.hide = True
    assert detail(line(picture)) < 0.01 * detail(picture)
    settings.hide = False
    assert detail(line(picture)) > 0.1 * detail(picture)


def test_unrelated_pictures_do_not_influence_each_other(picture):
    other = cv2.flip(picture, 0)
    right_half = lambda small: left_half(small)[:, ::-1].copy()  # noqa: E731
    line = Line(left_half, Settings(), independent=True)
    line(picture)
    line.segmenter = right_half
    assert np.array_equal(line(other), Line(right_half, Settings(), independent=True)(other))


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (641, 361), (3840, 2160)])
def test_odd_and_extreme_sizes(size):
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    out = Line(left_half, Settings())(picture)
    assert out.shape == picture.shape
    assert out.dtype == np.uint8
