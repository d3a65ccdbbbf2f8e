"""The controller: steps down when the budget is missed, and up again when there is room."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from background_blur.matting.quality import (
    LEVELS,
    MAX_PATIENCE,
    PATIENCE,
    WINDOW,
    QualityController,
)
from background_blur.matting.segmenter import FINE, NORMAL

COSTS = [1.0, 0.6, 0.4]  # of a step's frames, relative to the full one's


def play(quality: QualityController, used, seconds: float, start: float = 0.0) -> list[int]:
    """Returns the step at each frame; `used` gives a frame's seconds by (time, step)."""
    now, steps = start, []
    while now < start + seconds:
        took = used(now, quality.number)
        quality.record(now, now + took)
        now += max(took, quality.budget)
        steps.append(quality.number)
    return steps


def machine(speed: float):
    """A machine on which a full frame takes this many budgets of 30 frames/s."""
    return lambda now, step: speed * COSTS[step] / 30


def test_steps_get_cheaper_and_begin_in_full():
    assert (LEVELS[0].every, LEVELS[0].scale) == (1, FINE)
    costs = [step.scale**2 / step.every for step in LEVELS]
    assert costs == sorted(costs, reverse=True) and len(set(costs)) == len(costs)
    assert min(step.scale for step in LEVELS) == NORMAL  # a smaller input tears holes


def test_in_time_it_stays_at_full_quality():
    assert set(play(QualityController(30, best=True), machine(0.95), 60)) == {0}


def test_usually_every_second_frame_is_the_best_however_fast_the_machine():
    assert LEVELS[1].every == 2 and LEVELS[1].scale == NORMAL
    quality = QualityController(30)
    assert set(play(quality, machine(0.1), 60)) == {1}
    assert set(play(quality, machine(3), 10, start=60)) >= {2}
    assert play(quality, machine(0.1), 90, start=70)[-1] == 1


def test_a_missed_budget_steps_down_within_a_second_each():
    steps = play(QualityController(30, best=True), machine(4), 4 * WINDOW + 1)
    assert steps[-1] == len(LEVELS) - 1
    assert set(play(QualityController(30, best=True), machine(4), 30, start=0.0)[-30:]) == {
        len(LEVELS) - 1
    }


def test_that_the_best_cannot_be_held_is_said_once(caplog):
    quality = QualityController(30, best=True)
    for start in range(0, 100, 20):
        play(quality, machine(1.5), 10, start)
        play(quality, machine(0.1), 10, start + 10)
    play(QualityController(30), machine(4), 10)
    assert caplog.messages == ["too busy for --quality best; the network runs on every 2nd frame"]


def test_it_steps_no_further_than_it_must():
    assert set(play(QualityController(30, best=True), machine(1.5), 20)[60:]) == {1}


def test_it_comes_back_when_there_is_room_but_not_at_once():
    quality = QualityController(30, best=True)
    play(quality, machine(4), 5)
    steps = play(quality, machine(0.5), 30, start=5)
    up = np.flatnonzero(np.diff(steps) < 0) / 30
    assert steps[-1] == 0 and len(up) == len(LEVELS) - 1
    assert min(np.diff([0, *up])) >= PATIENCE - 0.1
    assert up[-1] < 15


def test_where_a_step_up_is_too_much_it_tries_ever_more_seldom():
    quality = QualityController(30, best=True)
    used = lambda now, step: 1.3 / 30 if step == 0 else 0.6 / 30  # noqa: E731
    steps = play(quality, used, 600)
    tries = np.flatnonzero(np.diff(steps) < 0) / 30
    assert 5 < len(tries) < 600 / MAX_PATIENCE + 8
    assert steps.count(0) < 0.05 * len(steps)


def test_one_hiccup_costs_no_step():
    used = lambda now, step: 0.5 if 3 < now < 3.1 else 0.6 / 30  # noqa: E731
    assert set(play(QualityController(30, best=True), used, 10)) == {0}


times = st.lists(st.floats(0, 0.2), min_size=1, max_size=200)


@settings(deadline=None, max_examples=50)
@given(times, st.sampled_from([15.0, 30.0, 60.0]))
def test_whatever_frames_take_it_moves_by_single_steps_and_the_same_way_again(took, fps):
    def run():
        quality, now, numbers = QualityController(fps, best=True), 0.0, [0]
        for seconds in took:
            quality.record(now, now + seconds)
            now += max(seconds, 1 / fps)
            numbers.append(quality.number)
        return numbers

    numbers = run()
    assert run() == numbers
    assert set(numbers) <= set(range(len(LEVELS)))
    assert np.abs(np.diff(numbers)).max() <= 1
    changes = np.flatnonzero(np.diff(numbers))
    spans = np.cumsum([0, *[max(s, 1 / fps) for s in took]])
    ups = [i for i in changes if numbers[i + 1] < numbers[i]]
    for up in ups:
        before = [i for i in changes if i < up]
        assert before and spans[up + 1] - spans[before[-1]] >= PATIENCE - WINDOW
