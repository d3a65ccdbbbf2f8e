"""The figures, compared with known answers."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.photos import rectangle
from tools.measuring import metrics, scenes


def as_alpha(truth) -> np.ndarray:
    return (truth == 255).astype(np.float32)


def blobs(seed: int, values=(0, 255)) -> np.ndarray:
    """uint8 [40,60]: random regions of each value, all of which occur."""
    rng = np.random.default_rng(seed)
    waves = [cv2.GaussianBlur(rng.normal(size=(40, 60)), (0, 0), 3) for _ in values]
    return np.array(values, np.uint8)[np.argmax(waves, 0)]


seeds = st.integers(0, 10_000)
quick = settings(max_examples=50, deadline=None)


@quick
@given(seeds, seeds)
def test_what_is_unknown_counts_for_nothing(seed, other):
    truth = blobs(seed, (0, 128, 255))
    alpha = np.random.default_rng(other).random(truth.shape, np.float32)
    changed = np.where(truth == 128, 1 - alpha, alpha)
    for figure in (metrics.iou, metrics.mae, metrics.leak):
        assert figure(alpha, truth) == figure(changed, truth)


def test_mae_and_leak_by_hand():
    truth = np.array([[0, 0, 0, 0, 255, 255, 128, 128]], np.uint8)
    alpha = np.array([[0, 0.5, 0.6, 1, 1, 0.5, 1, 0]], np.float32)
    assert metrics.leak(alpha, truth) == 2 / 4
    assert metrics.mae(alpha, truth) == pytest.approx(2.6 / 6)


@pytest.mark.parametrize(
    "shift, expected", [(0, 1), (1, 1), (2, 1), (3, 0), (40, 0), (-2, 1), (-3, 0)]
)
def test_outline_may_be_off_by_the_tolerance(shift, expected):
    """300x400 pixels: 0.4 % of the diagonal is 2; the picture's border is not an outline."""
    truth = rectangle((300, 400), 0, 200, 300, 400)
    alpha = as_alpha(rectangle((300, 400), 0, 200 + shift, 300, 400))
    assert metrics.boundary_f(alpha, truth) == expected


@pytest.mark.parametrize("shift, expected", [(0, 1), (5, 0)])
def test_a_thin_unknown_seam_is_cut_along_its_middle(shift, expected):
    truth = rectangle((300, 400), 0, 200, 300, 400)
    truth[:, 198:202] = 128
    alpha = as_alpha(rectangle((300, 400), 0, 200 + shift, 300, 400))
    assert metrics.boundary_f(alpha, truth) == expected


@pytest.mark.parametrize("held", [0, 1])
def test_outlines_at_a_wide_unknown_part_are_left_out(held):
    """With an unknown bag at the person's side, keeping and dropping it score the same."""
    truth = rectangle((300, 400), 50, 100, 300, 200)
    truth[150:250, 200:260] = 128
    alpha = as_alpha(truth)
    alpha[truth == 128] = held
    assert metrics.boundary_f(alpha, truth) == 1


def test_matting_figures_by_hand():
    zero, half = np.zeros((2, 2), np.float32), np.full((2, 2), 0.5, np.float32)
    assert metrics.mad(half, zero) == 500
    assert metrics.mse(half, zero) == 250
    assert metrics.dtssd(half, zero, zero, zero) == pytest.approx(50)
    assert metrics.dtssd(half, zero, half, zero) == 0
    still = np.array([[True, True], [False, False]])
    flash = np.array([[0, 0.1], [1, 1]], np.float32)
    assert metrics.flicker(flash, zero, still) == pytest.approx(50)
    assert np.isnan(metrics.flicker(flash, zero, ~still & False))


@pytest.mark.parametrize("frames", [-1, 0, 0.35, 1, 2.5])
@pytest.mark.parametrize("gain, offset", [(1, 0), (0.6, 40)])
def test_lag_is_found_between_frames(frames, gain, offset):
    times = np.arange(44)
    true = np.array([1280 * scenes.path(t) for t in times])
    late = gain * np.interp(times - frames, times, true) + offset
    assert metrics.lag(late, true) == pytest.approx(frames, abs=0.051)


def test_the_rim_counts_along_the_outline_alone():
    truth = cv2.GaussianBlur(rectangle((200, 300), 50, 100, 200, 200), (0, 0), 1) / np.float32(255)
    assert metrics.rim(truth, truth) == 0
    far = truth.copy()
    far[:20, :20] = 1
    assert metrics.rim(far, truth) == 0
    wide = cv2.dilate(truth, np.ones((5, 5)))
    assert metrics.rim(wide, truth) > 100
