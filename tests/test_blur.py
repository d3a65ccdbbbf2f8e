"""One frame in, one finished frame out; and nothing sharp out without a mask to trust."""

import cv2
import numpy as np
import pytest

from background_blur.matting.quality import LEVELS, QualityController
from background_blur.settings import Settings
from blur import BackgroundBlur
from support.captures import detail


@pytest.fixture
def picture() -> np.ndarray:
    """Fine noise everywhere: any part left unblurred shows."""
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)


def left_half(small: np.ndarray) -> np.ndarray:
    mask = np.zeros((30, 40), np.float32)
    mask[:, :20] = 1
    return mask


def test_person_sharp_background_blurred(picture):
    out = BackgroundBlur(left_half, Settings())(picture)
    assert np.array_equal(out[:, :130], picture[:, :130])
    assert detail(out[:, 190:]) < 0.01 * detail(picture[:, 190:])


def test_input_stays_as_it_was(picture):
    before = picture.copy()
    BackgroundBlur(left_half, Settings(mirror=True))(picture)
    assert np.array_equal(picture, before)


def test_views(picture):
    alpha = BackgroundBlur(left_half, Settings(view="alpha"))(picture)
    assert alpha.shape == picture.shape
    assert (alpha[:, :130] == 255).all()
    assert (alpha[:, 190:] == 0).all()
    split = BackgroundBlur(left_half, Settings(view="split"))(picture)
    assert np.array_equal(split[:, :320], picture)
    assert np.array_equal(split[:, 320:], BackgroundBlur(left_half, Settings())(picture))


def test_strength_0_leaves_the_picture_as_it_is():
    large = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    out = BackgroundBlur(left_half, Settings(strength=0))(large)
    assert np.abs(out.astype(int) - large).max() <= 1


def test_mirror_flips_the_picture_before_anything_else(picture):
    mirrored = BackgroundBlur(left_half, Settings(mirror=True))(picture)
    assert np.array_equal(mirrored, BackgroundBlur(left_half, Settings())(picture[:, ::-1].copy()))


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
        lambda small: left_half(small)[::10, ::10],
        lambda small: left_half(small).astype(int),
        mask_of(np.nan),
        mask_of(np.inf),
    ],
    ids=["raises", "none", "empty", "shape", "tiny", "whole numbers", "nan", "inf"],
)
@pytest.mark.parametrize("view", ["result", "split", "alpha"])
@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_without_a_valid_mask_the_whole_frame_is_blurred(picture, segmenter, view, strength):
    line = BackgroundBlur(segmenter, Settings(view=view, strength=strength))
    out = line(picture)[:, -320:]
    assert detail(out) < 0.01 * detail(picture)
    assert line.hidden_frames == 1
    assert line.hidden_because


def test_one_bad_pixel_is_a_bad_mask(picture):
    def one_nan(small):
        mask = left_half(small)
        mask[3, 4] = np.nan
        return mask

    assert detail(BackgroundBlur(one_nan, Settings())(picture)) < 0.01 * detail(picture)


def test_a_mask_that_suddenly_covers_everything_is_not_believed_at_once(picture):
    masks = [left_half(None)] * 30 + [np.ones((30, 40), np.float32)]
    line = BackgroundBlur(lambda small: masks.pop(0), Settings())
    for _ in range(30):
        line(picture)
    assert line.hidden_frames == 0
    assert detail(line(picture)) < 0.01 * detail(picture)


def test_a_person_who_comes_close_slowly_is_believed(picture):
    shares = np.linspace(0.5, 1, 60)
    shares = [*shares, *[1] * 40]  # the picture stands still, so the alpha follows slowly
    masks = [np.tile(np.arange(40) < 40 * s, (30, 1)).astype(np.float32) for s in shares]
    line = BackgroundBlur(lambda small: masks.pop(0), Settings())
    for _ in shares:
        out = line(picture)
    assert line.hidden_frames == 0
    assert np.array_equal(out, picture)
    line.segmenter = mask_of(0.99)
    line(picture // 2)  # a cut, to which nothing led up
    assert line.hidden_because == "the mask suddenly covers everything"


def test_hide_blurs_everything_until_taken_back(picture):
    settings = Settings()
    line = BackgroundBlur(left_half, settings)
    settings.hide = True
    assert detail(line(picture)) < 0.01 * detail(picture)
    settings.hide = False
    assert detail(line(picture)) > 0.1 * detail(picture)


def test_unrelated_pictures_do_not_influence_each_other(picture):
    other = cv2.flip(picture, 0)
    right_half = lambda small: left_half(small)[:, ::-1].copy()  # noqa: E731
    line = BackgroundBlur(left_half, Settings(), independent=True)
    line(picture)
    line.segmenter = right_half
    assert np.array_equal(
        line(other), BackgroundBlur(right_half, Settings(), independent=True)(other)
    )


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (641, 361), (3840, 2160)])
def test_odd_and_extreme_sizes(size):
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    out = BackgroundBlur(left_half, Settings())(picture)
    assert out.shape == picture.shape
    assert out.dtype == np.uint8


class Box:
    """A network that finds a white box, and counts how often it looked."""

    def __init__(self):
        self.looks, self.scales = 0, set()

    def __call__(self, small, scale):
        self.looks += 1
        self.scales.add(scale)
        return cv2.resize((small.min(2) > 250).astype(np.float32), (80, 60))


def room_with_box(x: int) -> np.ndarray:
    """A box, its left edge at `x`, before soft blobs."""
    rough = np.random.default_rng(1).integers(0, 200, (12, 16, 3), np.uint8)
    picture = cv2.resize(rough, (320, 240), interpolation=cv2.INTER_CUBIC).clip(0, 200)
    picture[80:, x : x + 90] = 255
    return picture


def live_line(number: int) -> BackgroundBlur:
    line = BackgroundBlur(Box(), Settings(view="alpha"), beat=QualityController(30))
    line.beat.number = number
    return line


def edges(alpha: np.ndarray) -> tuple[int, int]:
    person = np.flatnonzero(alpha[200, :, 0] > 127)
    return person[0], person[-1]


@pytest.mark.parametrize("number", range(len(LEVELS)))
def test_whatever_the_step_the_alpha_is_of_this_very_frame(number):
    line = live_line(number)
    for index in range(24):
        left = 60 + 2 * index
        alpha = line(room_with_box(left), index / 30)
        assert np.abs(np.subtract(edges(alpha), (left, left + 89))).max() <= 3
    least = 24 // LEVELS[number].every
    assert least <= line.segmenter.looks <= 1.5 * least
    assert line.carrier.carried == 24 - line.segmenter.looks
    assert line.segmenter.scales == {LEVELS[number].scale}


def test_while_nothing_moves_the_network_rests_and_wakes_with_the_first_motion():
    line = live_line(0)
    for index in range(30):
        line(room_with_box(100), index / 30)
    assert 5 <= line.segmenter.looks <= 10
    looks = line.segmenter.looks
    for index in range(30, 40):
        left = 100 + 6 * (index - 29)
        alpha = line(room_with_box(left), index / 30)
        assert np.abs(np.subtract(edges(alpha), (left, left + 89))).max() <= 4
    assert line.segmenter.looks == looks + 10


def test_without_a_beat_the_network_looks_at_every_frame():
    looked = []
    line = BackgroundBlur(lambda small: looked.append(1) or left_half(small), Settings())
    for index in range(9):
        line(room_with_box(100), index / 30)
    assert len(looked) == 9


half = room_with_box(115)[:, :160]
SYMMETRIC = np.hstack([half, half[:, ::-1]])  # nothing but the fault tells two frames apart


def mirrors(line) -> float:
    line.settings.mirror = True
    return 0.033


def hides(line) -> float:
    line.settings.hide = True
    line(SYMMETRIC, 0.066)
    line.settings.hide = False
    return 0.066


def breaks(line) -> float:
    box, line.segmenter = line.segmenter, lambda small, scale: fails(small)
    line(SYMMETRIC, 0.3)  # the network is due
    line.segmenter = box
    return 0.3


@pytest.mark.parametrize("fault", [mirrors, hides, breaks])
def test_no_mask_is_carried_over(fault):
    line = live_line(2)
    line(SYMMETRIC, 0.0)
    line(SYMMETRIC, 0.033)
    assert line.segmenter.looks == 1
    line(SYMMETRIC, fault(line) + 0.033)
    assert line.segmenter.looks == 2


def test_no_mask_is_carried_over_a_cut():
    line = live_line(2)
    line(SYMMETRIC, 0.0)
    line(cv2.subtract(SYMMETRIC, (12, 12, 12, 0)), 0.033)  # the motion alone would be believed
    assert line.segmenter.looks == 2


def test_a_carried_mask_is_distrusted_like_any_other():
    line = live_line(1)
    line(room_with_box(100), 0.0)
    for wrong in (np.nan, 7.0, -0.5):
        line.carrier.mask[:] = wrong
        alpha = line(room_with_box(100), 0.033)
        assert not alpha.any() and line.hidden_because
        line(room_with_box(100), 0.0)


def test_a_network_that_is_stuck_is_found_out_between_carried_frames():
    stuck = Box()(room_with_box(20), 1)
    line = BackgroundBlur(
        lambda small, scale: stuck, Settings(view="alpha"), beat=QualityController(30)
    )
    line.beat.number = 1
    hidden = []
    for index in range(40):
        line(room_with_box(20 + 4 * index), index / 30)
        hidden.append(line.hidden_because)
    assert all("old mask" in (because or "") for because in hidden[-10:])


def test_a_live_line_does_the_same_again():
    first, again = (
        [live(room_with_box(60 + 3 * index), index / 30) for index in range(9)]
        for live in (live_line(2), live_line(2))
    )
    assert np.array_equal(first, again)
