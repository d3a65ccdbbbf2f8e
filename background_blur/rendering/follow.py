"""Keeps the person in the frame, with smooth movements.

All positions are shares of the frame, 0..1 from its left and top; a view has the frame's shape.
"""

import math
from collections import deque
from typing import NamedTuple

import cv2
import numpy as np

CLOSEST = 0.5  # the smallest share of the frame's sides to show: a zoom of 2
MARGIN, BELOW = 0.10, 0.15  # of the frame, next to and below the person
HEADROOM = 0.16  # of the view, above the person
PORTRAIT = 1.0  # how much of a person's height to show, in widths of that person
DEAD_ZONE = 0.05  # of the frame: how far the person's edges may move before the view does
MEMORY = 2.0  # seconds; the view has room for everywhere the person was in that time
SETTLED = 0.01, 1.0  # share of the frame, seconds: less movement in that time is ignored
LEAD = 0.6  # seconds that the goal is ahead of someone walking: as much as the view lags
WALK = 0.1, 0.2  # of the frame per second, slower is not walking; seconds it is measured over
ABSENCE = 1.0  # seconds without anyone before the whole frame is shown
ROUNDING = 1e-6  # of the frame
PACE = 6.0  # 1/s; see `Smoother`


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float


class View(NamedTuple):
    """A part of the frame: its centre, and its share of the frame's width and height."""

    x: float
    y: float
    size: float

    @property
    def box(self) -> Box:
        half = self.size / 2
        return Box(self.x - half, self.y - half, self.x + half, self.y + half)


WHOLE = View(0.5, 0.5, 1.0)


class Follower:
    """Decides, frame by frame, which part of a sequence's frames to show."""

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        """Starts over, with the whole frame."""
        self.smoother = Smoother(WHOLE)
        self.goal = WHOLE
        self.framed, self.moving = None, False  # the Box that the goal is made for
        self.boxes = deque()  # (time, Box) of the person, while a walk is measured
        self.needed = deque()  # (time, Box) of what had to be shown in the last seconds
        self.latest = deque()  # the same, of the last second
        self.seen = self.time = -math.inf

    def follow(self, alpha: np.ndarray, time: float) -> View:
        """Returns the part of a frame to show.

        The view always lies within the frame and changes with bounded jerk. It stands still while
        the person moves by less than 5 % of the frame, and while they gesture inside it.

        Args:
            alpha: uint8 [h,w], 255 = person.
            time: of the frame, in seconds; if it is before the last one's, another video begins.
        """
        if time < self.time:
            self.reset()
        box = person_box(alpha)
        if box is not None:
            self.seen = time
            self.boxes.append((time, box))
            self.needed.append((time, around([box, self.ahead()]) if self.moving else box))
        drop_before(self.boxes, time - WALK[1])
        drop_before(self.needed, time - MEMORY)
        if box is not None:
            self.aim(around([each for _, each in self.needed]), aspect(alpha), time)
        elif time - self.seen > ABSENCE:
            self.goal, self.framed = WHOLE, None
            self.needed.clear()
        elapsed, self.time = time - self.time, time
        view = self.smoother.move(self.goal, elapsed if math.isfinite(elapsed) else 0.0)
        return view if box is None else widened(view, portrait(box, aspect(alpha)))

    def aim(self, needed: Box, aspect: float, time: float) -> None:
        """Reframes once what is needed leaves the dead zone, until it settles."""
        self.latest.append((time, needed))
        drop_before(self.latest, time - SETTLED[1])
        if self.moving:
            self.framed = needed
            self.moving = any(off(needed, each) > SETTLED[0] for _, each in self.latest)
        elif self.framed is None or off(needed, self.framed) > DEAD_ZONE:
            self.framed, self.moving = needed, True
        self.goal = portrait_view(self.framed, aspect)

    def ahead(self) -> Box:
        """Where someone who is walking or standing up will be when the view gets there."""
        (then, last), (time, box) = self.boxes[0], self.boxes[-1]
        if then == time:
            return box
        speeds = np.subtract(box, last) / (time - then)
        speeds = np.sign(speeds) * np.maximum(np.abs(speeds) - WALK[0], 0)
        left, top, right, _ = LEAD * speeds
        across = min(left, right, key=abs) if left * right > 0 else 0.0  # not just an arm
        moved = np.add(box, [across, min(top, 0.0), across, 0.0])
        return Box(*np.clip(moved, 0, 1).tolist())


class Smoother:
    """Three exponential averages in a row: critically damped, so it arrives without overshoot.

    A step of the goal by d moves the view with a jerk of PACE³·d at most. The output is a weighted
    mean of all goals so far, so it stays within every straight border that they stay within, such
    as the frame's.
    """

    def __init__(self, start: View):
        self.stages = np.tile(np.array(start, np.float64), (3, 1))

    def move(self, goal: View, seconds: float) -> View:
        """Advances by that many seconds."""
        share = 1 - math.exp(-PACE * max(seconds, 0.0))
        previous = np.array(goal, np.float64)
        for stage in self.stages:
            stage += share * (previous - stage)
            previous = stage
        return View(*map(float, self.stages[-1]))


def person_box(alpha: np.ndarray) -> Box | None:
    """The box around all that is more person than not in a uint8 [h,w]; None if nothing is."""
    left, top, width, height = cv2.boundingRect((alpha > 127).astype(np.uint8))
    if not width:
        return None
    rows, columns = alpha.shape
    return Box(left / columns, top / rows, (left + width) / columns, (top + height) / rows)


def aspect(alpha: np.ndarray) -> float:
    return alpha.shape[1] / alpha.shape[0]


def around(boxes: list[Box]) -> Box:
    """The smallest box around all of them."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))


def widened(view: View, box: Box) -> View:
    """The view, widened towards the whole frame just enough to contain the box."""
    outwards = np.array([-1, -1, 1, 1])
    beyond = outwards * np.subtract(box, view.box)
    room = outwards * np.subtract(WHOLE.box, view.box)
    needed = beyond > ROUNDING
    share = (beyond[needed] / room[needed]).max(initial=0.0)
    return View(*np.add(view, share * np.subtract(WHOLE, view)).tolist())


def portrait_of(alpha: np.ndarray) -> View:
    """The view of a single photo, from its alpha, uint8 [h,w]."""
    box = person_box(alpha)
    return WHOLE if box is None else portrait_view(box, aspect(alpha))


def portrait(person: Box, aspect: float) -> Box:
    """The part of a person in a portrait: no taller than they are wide."""
    height = min(person.bottom - person.top, PORTRAIT * (person.right - person.left) * aspect)
    return person._replace(bottom=person.top + height)


def portrait_view(person: Box, aspect: float) -> View:
    """Frames the person in that box as in a portrait: centred, with room above the head.

    The view holds both sides and the head, and as much of the body below as is no taller than wide.
    `aspect` is the frame's width over its height.
    """
    left, top, right, bottom = portrait(person, aspect)
    below = min(BELOW, 1 - bottom)
    size = max(right - left + 2 * MARGIN, (bottom - top + below) / (1 - HEADROOM))
    size = min(max(size, CLOSEST), 1.0)
    x = (left + right) / 2
    y = top + (0.5 - HEADROOM) * size
    return View(within(x, size), within(y, size), size)


def within(middle: float, size: float) -> float:
    """Moves the centre just enough to keep a span of that size within 0..1."""
    return min(max(middle, size / 2), 1 - size / 2)


def off(one: Box, other: Box) -> float:
    """The largest distance between the same edges of two boxes."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def drop_before(times: deque, time: float) -> None:
    while times and times[0][0] < time:
        times.popleft()


def crop(image: np.ndarray, view: View) -> np.ndarray:
    """Crops a [H,W] or [H,W,c] to the view, at its own size; returns it as is if all is shown."""
    if view.size >= 1:
        return image
    height, width = image.shape[:2]
    left, top = view.box.left * width, view.box.top * height
    # The centre of a pixel is at 0.5 here, at 0 in OpenCV.
    shift = 0.5 * (view.size - 1)
    inverse = np.array([[view.size, 0, left + shift], [0, view.size, top + shift]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        image, inverse, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
