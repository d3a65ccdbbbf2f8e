"""The section `people` of evaluate: how much of a second person, and of the room, is left sharp.

Two people cut out of photographs meet in a room, with camera noise; the story says how.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from tools.cutouts import standing
from tools.measuring import metrics, scenes
from tools.measuring.contenders import AlphaOf, Methods
from tools.measuring.report import Figures, Rows, mean_of
from tools.photos import UNKNOWN, Photo

FRAMES, SETTLE = 48, 4  # frames of a clip, and before the second person comes
TALL = 0.8  # height of the first person, in frame heights
RATIOS = {"behind": 0.77, "beside": 0.95}  # the second person's height relative to the first's
STORIES = (*RATIOS, "leans in", "walks in")
OVERLAP = 0.04  # how far the first person covers the second when nearest, in frame widths


@dataclass
class Meeting:
    image: np.ndarray  # uint8 [720,1280,3] BGR
    first: np.ndarray  # float32 [720,1280], the alpha of the visible part of the first person
    second: np.ndarray  # the same for the second


def measure_people(methods: Methods, pairs: list[tuple[Photo, Photo]], rooms: list[Photo]) -> Rows:
    for story in STORIES:
        for i, pair in enumerate(pairs):
            clip = list(meeting(story, *pair, rooms[i * 7 % len(rooms)], i))
            for name, begin in methods.items():
                yield story, name, score_meeting(begin(), clip)


def meeting(story: str, first: Photo, second: Photo, room: Photo, seed: int) -> Iterator[Meeting]:
    noise = np.random.default_rng((seed, 3))
    image = scenes.fill(room.image).astype(np.float32)
    near = 0.36 - OVERLAP + reach(first, TALL)[1] + reach(second, TALL * RATIOS.get(story, 1))[0]
    nobody = np.zeros(scenes.SIZE[::-1], np.float32)
    for t in range(FRAMES):
        frame, alphas = image, [nobody, nobody]
        for number, photo in ((1, second), (0, first)):  # the first person is in front
            place = placed(story, number, t, near)
            if place is None:
                continue
            matrix = standing(photo.mask, scenes.SIZE, *place)
            layer, alpha = scenes.cut_out(np.random.default_rng(seed), photo, image, matrix)
            frame = scenes.blend(layer, frame, alpha)
            alphas = [other * (1 - alpha) for other in alphas]
            alphas[number] = alpha
        yield Meeting(scenes.noisy(noise, frame), *alphas)


def placed(story: str, number: int, t: int, near: float) -> tuple[float, float] | None:
    """A person's height, in frame heights, and place, in frame widths, at frame `t`; or None.

    The second person, number 1, comes in from the right as far as `near`, and leaves again.
    """
    if story == "leans in":
        return None if number else (0.7 + 1.5 * scenes.smooth((t - 8) / 24), 0.5)
    if story == "walks in":
        return None if number else (TALL, 1.3 - 0.8 * scenes.smooth(t / 30))
    if not number:
        return TALL, 0.36
    way = scenes.smooth((t - SETTLE) / 18) - scenes.smooth((t - 32) / 14)
    return TALL * RATIOS[story], 1.25 - (1.25 - near) * way


def reach(person: Photo, height: float) -> tuple[float, float]:
    """How far a person of this height reaches to the left and right, in frame widths."""
    (scale, _, to_x), _ = standing(person.mask, scenes.SIZE, height, 0)
    columns = scale * np.flatnonzero((person.mask > UNKNOWN).any(0)) + to_x
    return -columns[0] / scenes.SIZE[0], columns[-1] / scenes.SIZE[0]


def score_meeting(alpha_of: AlphaOf, clip: list[Meeting]) -> Figures:
    """The shares left sharp: means over the frames, and the worst frames."""
    rows = [score(alpha_of(frame.image) > 0.5, frame) for frame in clip]
    worst = {
        f"most_{name}": max(row[name] for row in rows if name in row)
        for name in ("leak", "touching", "apart")
        if any(name in row for row in rows)
    }
    return mean_of(rows) | worst


def score(sharp: np.ndarray, frame: Meeting) -> Figures:
    """The figures of one frame; `sharp`, bool [h,w], says which pixels are sharp."""
    background, first, second = frame.first < 0.02, frame.first > 0.9, frame.second > 0.9
    figures = {"leak": metrics.share(sharp & background, background)}
    if first.any():
        figures["lost"] = metrics.share(~sharp & first, first)
    if second.mean() > 0.005:
        touch = cv2.dilate(frame.first, np.ones((9, 9))) * (frame.second > 0.5) > 0.5
        figures["touching" if touch.any() else "apart"] = metrics.share(sharp & second, second)
    return figures
