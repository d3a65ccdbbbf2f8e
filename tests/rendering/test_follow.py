"""Following: the person stays in the picture, and the picture moves smoothly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from background_blur.rendering.follow import (
    CLOSEST,
    PACE,
    WHOLE,
    Follower,
    Smoother,
    View,
    crop,
    person_box,
    portrait,
    portrait_view,
)

FPS = 30
WIDTH, HEIGHT = 320, 180
ASPECT = WIDTH / HEIGHT


def cut_out(x: float, top: float = 0.5, width: float = 0.25, height: float = 0.5) -> np.ndarray:
    """uint8 [180,320], a person from `top` on, their middle at x, in shares of the frame."""
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    rows = [np.clip(round(y * HEIGHT), 0, HEIGHT) for y in (top, top + height)]
    columns = [np.clip(round(each * WIDTH), 0, WIDTH) for each in (x - width / 2, x + width / 2)]
    alpha[slice(*rows), slice(*columns)] = 255
    return alpha


NOBODY = np.zeros((HEIGHT, WIDTH), np.uint8)


def film(alphas, follower=None, start: float = 0.0) -> np.ndarray:
    """The views of a film, float [n,3]: x, y, size."""
    follower = follower or Follower()
    return np.array([follower.follow(alpha, start + i / FPS) for i, alpha in enumerate(alphas)])


def eased(share):
    """From 0 to 1 as people move: with the least jerk (Flash & Hogan 1985)."""
    s = np.clip(share, 0, 1)
    return s**3 * (10 - 15 * s + 6 * s**2)


def times(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * FPS)) / FPS


def jerk(views: np.ndarray) -> float:
    """The largest, in frames per cubic second."""
    return float(np.abs(np.diff(views, 3, axis=0)).max()) * FPS**3


def shows(view, alpha: np.ndarray) -> bool:
    """Whether head, shoulders and arms are in the view, and the view is within the frame."""
    left, top, right, bottom = View(*view).box
    person = portrait(person_box(alpha), ASPECT)
    inside = np.array([left, top, -right, -bottom]) <= np.multiply(person, [1, 1, -1, -1]) + 1e-5
    return bool(inside.all() and min(left, top) > -1e-9 and max(right, bottom) < 1 + 1e-9)


# --- Where the person is put


def test_head_and_shoulders_fill_the_picture_as_in_a_portrait():
    alpha = cut_out(0.4, top=0.45, width=0.25, height=0.55)
    view = View(*film([alpha] * 300)[-1])
    left, top, right, _ = view.box
    box = person_box(alpha)
    assert 0.1 < (box.top - top) / view.size < 0.25  # room above the head
    assert (box.left - left) == pytest.approx(right - box.right, abs=0.01)  # in the middle
    assert (right - left) < 0.7


def test_who_fills_the_frame_is_shown_whole():
    views = film([cut_out(0.5, 0.02, 0.9, 0.98)] * 60)
    assert np.abs(views - WHOLE).max() < 1e-9


boxes = st.tuples(st.floats(0, 1), st.floats(0, 0.97), st.floats(0.03, 1), st.floats(0.03, 1))


@settings(max_examples=60, deadline=None)
@given(boxes)
def test_a_portrait_lies_in_the_frame_and_holds_the_person(box):
    alpha = cut_out(*box)
    person = person_box(alpha)
    if person is None:
        return
    view = portrait_view(person, ASPECT)
    assert shows(view, alpha)
    assert CLOSEST <= view.size <= 1


# --- The person is always in it


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), boxes), min_size=1, max_size=12), st.integers(1, 40))
def test_whatever_happens_the_person_is_inside_and_the_border_is_not_passed(scenes, frames):
    alphas = [NOBODY if box is None else cut_out(*box) for box in scenes for _ in range(frames)]
    for view, alpha in zip(film(alphas), alphas, strict=True):
        assert CLOSEST - 1e-9 <= view[2] <= 1 + 1e-9
        assert person_box(alpha) is None or shows(view, alpha)


@pytest.mark.parametrize("seconds", [2, 5])
def test_a_walk_is_followed_smoothly(seconds):
    alphas = [cut_out(0.25 + 0.5 * eased((t - 4) / seconds)) for t in times(14)]
    views = film(alphas)
    assert all(shows(view, alpha) for view, alpha in zip(views, alphas, strict=True))
    assert jerk(views) < 50
    assert views[100, 0] < 0.35 and views[-1, 0] > 0.65  # it did follow
    assert views[-1, 2] < 0.7


# --- It moves smoothly


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.2, 0.8),
    st.floats(0.1, 0.6),
    st.sampled_from(["jitter", "sway", "step"]),
)
def test_movements_of_less_than_5_percent_move_nothing(seed, x, top, kind):
    follower = Follower()
    film([cut_out(x, top, 0.3, 1 - top)] * 15 * FPS, follower)
    rng = np.random.default_rng(seed)
    ways = {
        "jitter": rng.uniform(-0.02, 0.02, (120, 2)),
        "sway": 0.02 * np.sin(np.outer(np.arange(120), rng.uniform(0.05, 1, 2))),
        "step": np.repeat([[0, 0], [0.045, 0.0]], 60, axis=0),
    }
    alphas = [cut_out(x + dx, top + dy, 0.3, 1 - top) for dx, dy in ways[kind]]
    views = film(alphas, follower, 15.0)
    assert np.ptp(views, axis=0).max() < 1e-6


def test_gestures_move_nothing_once_the_view_has_room_for_them():
    t = times(20)
    reach = 0.2 * (np.sin(2 * np.pi * t / 1.5) > 0.3)
    alphas = [cut_out(0.4 + r / 2, 0.4, 0.25 + r, 0.6) for r in reach]
    views = film(alphas)
    assert np.ptp(views[10 * FPS :], axis=0).max() < 1e-6
    assert all(shows(view, alpha) for view, alpha in zip(views, alphas, strict=True))


@pytest.mark.parametrize("step", [View(0.3, 0.7, 0.5), View(0.6, 0.5, 0.8), View(0.75, 0.25, 0.5)])
def test_a_new_goal_is_reached_without_overshoot_and_with_bounded_jerk(step):
    smoother = Smoother(WHOLE)
    views = np.array([smoother.move(step, 1 / FPS) for _ in range(90)])
    way = np.subtract(step, WHOLE)
    moved = (views - WHOLE)[:, way != 0] / way[way != 0]
    assert (np.diff(moved, axis=0) >= 0).all() and moved.max() <= 1 + 1e-9
    assert moved[45:].min() > 0.99  # there within a second and a half
    start = np.vstack([[WHOLE] * 3, views])
    assert jerk(start) <= PACE**3 * np.abs(way).max()


def test_the_pace_does_not_depend_on_the_frame_rate():
    goal = View(0.3, 0.6, 0.6)
    ends = []
    for fps in (10, 30, 60):
        smoother = Smoother(WHOLE)
        ends.append([smoother.move(goal, 1 / fps) for _ in range(fps)][-1])
    assert np.ptp(ends, axis=0).max() < 0.02


def test_a_frame_that_comes_at_the_same_time_moves_nothing():
    follower = Follower()
    film([cut_out(0.2)] * 20, follower)
    assert follower.follow(cut_out(0.8, 0.5), 19 / FPS) is not None
    still = [follower.follow(cut_out(0.2), 19 / FPS) for _ in range(5)]
    assert len(set(still)) == 1


# --- Coming and going


def test_nobody_there_brings_the_whole_frame_back_slowly_and_a_return_the_person():
    person = cut_out(0.3)
    alphas = [person] * 150 + [NOBODY] * 150 + [person] * 150
    views = film(alphas)
    assert views[149, 2] < 0.65
    assert np.abs(views[150:178] - views[149]).max() < 0.01  # a moment's absence does not count
    assert np.abs(views[299] - WHOLE).max() < 0.01
    assert np.abs(views[-1] - views[149]).max() < 0.01
    assert jerk(views) < PACE**3 / 2  # the view's sides change by half at most


def test_two_people_are_both_in_the_picture():
    alphas = [np.maximum(cut_out(0.3, 0.5, 0.15), cut_out(x, 0.4, 0.15, 0.6))
              for x in 0.5 + 0.25 * eased((times(12) - 4) / 3)]  # fmt: skip
    views = film(alphas)
    assert all(shows(view, alpha) for view, alpha in zip(views, alphas, strict=True))
    assert views[100, 2] < views[-1, 2] <= 0.85  # it makes room for the second one


def test_a_time_before_the_last_one_begins_anew():
    follower = Follower()
    film([cut_out(0.2)] * 100, follower)
    assert follower.follow(NOBODY, 0.0) == WHOLE
    assert film([cut_out(0.8)] * 100, follower)[-1][0] > 0.6


# --- The cropped picture


def test_the_whole_frame_is_the_frame_itself():
    image = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    assert crop(image, WHOLE) is image


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("view", [View(0.25, 0.25, 0.5), View(0.5, 0.6, 0.7)])
def test_a_crop_shows_that_part_at_full_size(view, channels):
    y, x = np.mgrid[0:180, 0:240]
    image = np.dstack([x, y, x, y][:channels]).astype(np.uint8).squeeze()
    out = crop(image, view)
    assert out.shape == image.shape
    left, top, right, bottom = view.box
    first, last = out[0, 0], out[-1, -1]
    if channels > 1:
        assert first[:2] == pytest.approx([240 * left, 180 * top], abs=1)
        assert last[:2] == pytest.approx([240 * right - 1, 180 * bottom - 1], abs=1)


def test_views_at_the_border_show_nothing_beyond_it():
    image = np.full((100, 100, 3), 200, np.uint8)
    for view in (View(0.25, 0.25, 0.5), View(0.75, 0.75, 0.5), View(0.45, 0.55, 0.9)):
        assert (crop(image, view) == 200).all()
