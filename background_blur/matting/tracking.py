"""Follows the people, so that the network sees them alone, and larger.

The network's input is small. Spent on a box around the people of the last mask instead of on the
whole frame it shows them in more detail at the same cost. What lies outside the box counts as
background, so that a wrong box blurs too much and never too little. The whole frame is looked at

- at first, after a cut or a fault, and while nobody is there; once somebody is, the box follows on
  that very frame;
- when the mask touches the box's border, or what was in the box is suddenly gone: on that frame;
- besides the box, when something changes outside it, at most four times a second, and once a
  second at least. What the box showed is kept where the two agree, so that nobody sees it happen.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from background_blur.frames import Size
from background_blur.matting.people import BYSTANDER, SPECK
from background_blur.matting.segmenter import INPUT_SIZES

MARGIN = 0.12  # share of the people's width and height, left free on each side of them
PERSON = 0.2  # a mask above it marks somebody whom the box must hold
TOUCHING = 2  # pixels of the mask; who is as near to the box's border may go on outside it
GONE = 0.5  # share of the last area in the box; less left means that they moved out of it
LEAST = 0.3  # share of the frame's width and height; a smaller box would be enlarged to no use
NEARLY_WHOLE = 0.85  # share of the frame; a box as large gains nothing
STEP = 4  # pixels of the mask that the box's edges move by, so that noise does not move them
SHRINKING = 1.0  # seconds after which a box too wide has given up 63 % of what is too much
RESHAPE = 1.2  # times the area that another shape would need, to change the box's shape
WHOLE_EVERY = 1.0  # seconds between looks at the whole frame
RECHECK = 0.25  # seconds between such looks when something changes outside the box
LONG_AGO = 2.0  # seconds after such a look, when nothing is known of the people any more
AGREEING = 0.7  # IoU of the people in the box, seen alone and in the whole frame, to keep the first
MOST_RECHECK = 2.0  # seconds that the whole frame is looked at when boxes fail again and again
CHANGED = 5  # grey levels that a spot outside the box changes by, beyond the whole picture's change

# A picture, uint8 [h,w,3], whole or in part -> its mask, float32 of any size; or it raises.
Predict = Callable[[np.ndarray], np.ndarray]
Edges = np.ndarray  # float [4]: left, top, right, bottom
OUTWARD = np.array([-1, -1, 1, 1])


@dataclass(frozen=True)
class Box:
    """A part of a mask, in its pixels; right and bottom are the first outside it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        return self.right - self.left, self.bottom - self.top

    @property
    def area(self) -> int:
        return self.size[0] * self.size[1]

    def covers(self, size: Size) -> bool:
        """Whether it is the whole of a mask of that (width, height)."""
        return self.size == tuple(size)

    def of(self, image: np.ndarray, size: Size) -> np.ndarray:
        """The part of an image [H,W,...] that it stands for in a mask of that (width, height)."""
        across, down = image.shape[1] / size[0], image.shape[0] / size[1]
        left, right = round(self.left * across), round(self.right * across)
        top, bottom = round(self.top * down), round(self.bottom * down)
        return image[top:bottom, left:right]

    def place(self, part: np.ndarray, size: Size) -> np.ndarray:
        """A mask float32 [h,w] of that (width, height): `part` in the box, 0 outside."""
        shrinks = part.shape[1] > self.size[0]
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        part = cv2.resize(part, self.size, interpolation=way)
        if self.covers(size):
            return part
        mask = np.zeros(size[::-1], np.float32)
        mask[self.top : self.bottom, self.left : self.right] = part
        return mask


def whole(size: Size) -> Box:
    return Box(0, 0, *size)


def mask_size(frame: np.ndarray) -> Size:
    """(width, height) of the masks of a frame [H,W,3]: half of its own, as the refiner works at."""
    height, width = frame.shape[:2]
    return max(1, width // 2), max(1, height // 2)


class TrackingSegmenter:
    """Masks of one source's frames, in order, each from a look at where the people are."""

    def __init__(self):
        self.tracker = PersonTracker()

    def reset(self) -> None:
        self.tracker.reset()

    def follow(self, mask: np.ndarray, who: str, time: float) -> None:
        """Takes the mask of a frame, wherever it comes from."""
        self.tracker.follow(mask, who, time)

    def __call__(
        self, image: np.ndarray, thumbnail: np.ndarray, who: str, time: float, predict: Predict
    ) -> np.ndarray:
        """The mask of an image, uint8 [H,W,3], whose grey thumbnail is given: float32 [H/2,W/2]."""
        size = mask_size(image)

        def look_at_all() -> np.ndarray:
            self.tracker.looked_at_all(thumbnail, time)
            return look(image, whole(size), size, predict)

        around, box = None, self.tracker.box(size, time)
        if box.covers(size):
            around = look_at_all()
            self.tracker.follow(around, who, time)
            box = self.tracker.box(size, time)
            if box.covers(size):
                return around
        mask = look(image, box, size, predict)
        if self.tracker.lost(mask, box, who, time):
            return look_at_all() if around is None else around
        if around is None and self.tracker.must_look_around(box, thumbnail, time):
            around = look_at_all()
        return mask if around is None else merged(mask, around, box)


def merged(mask: np.ndarray, around: np.ndarray, box: Box) -> np.ndarray:
    """Two masks float32 [h,w]: `around`, and in the box the other one, unless they contradict."""
    inside = np.s_[box.top : box.bottom, box.left : box.right]
    people = [each[inside] > 0.5 for each in (mask, around)]
    either = np.count_nonzero(people[0] | people[1])
    if np.count_nonzero(people[0] & people[1]) < AGREEING * either:
        return around
    around[inside] = mask[inside]
    return around


def look(image: np.ndarray, box: Box, size: Size, predict: Predict) -> np.ndarray:
    """The mask, of that (width, height), of what can be seen in the box."""
    return box.place(predict(np.ascontiguousarray(box.of(image, size))), size)


class PersonTracker:
    """Says which part of each frame of one source the network should see.

    For every frame that the network looks at: `box`, then a look at that part; if `lost`, or it
    `must_look_around`, another at the whole frame, of which `looked_at_all` is told. All masks are
    followed by `follow`, of the frames between too, so that the box goes where motion takes the
    people.

    Thumbnails are uint8 [h,w], grey, of any one size; masks are of the whole frame, of one size.
    """

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        self.size: Size | None = None  # of the masks
        # Edges of the people; with their margin, slow to shrink.
        self.edges: np.ndarray | None = None
        self.held: np.ndarray | None = None
        self.speed = np.zeros(4)  # of the edges, outwards, in pixels per second
        self.area, self.shape, self.time = 0, None, 0.0
        # Of the last run on the whole frame; before the first, infinitely long ago.
        self.whole_time, self.whole_thumbnail = -math.inf, np.zeros((1, 1), np.uint8)
        self.whole_until, self.recheck = 0.0, RECHECK  # after a box that failed

    def box(self, size: Size, time: float) -> Box:
        """The part to look at of the frame of that second, for a mask of that (width, height)."""
        if size != self.size or self.held is None:
            return whole(size)
        if not 0 <= time - self.whole_time < LONG_AGO or time < self.whole_until:
            return whole(size)
        box = self._around_people(self.held, size, time)
        return whole(size) if box.area >= NEARLY_WHOLE * size[0] * size[1] else box

    def must_look_around(self, box: Box, thumbnail: np.ndarray, time: float) -> bool:
        """Whether it is time for another look at the whole frame, whose thumbnail is given."""
        if self.size is None or box.covers(self.size):
            return False
        since = time - self.whole_time
        if since >= WHOLE_EVERY:
            return True
        return since >= RECHECK and changes_outside(self.whole_thumbnail, thumbnail, box, self.size)

    def _around_people(self, held: np.ndarray, size: Size, time: float) -> Box:
        reach = np.minimum(self.speed * (time - self.time), np.tile(size, 2) / 4)
        edges = limited(held + OUTWARD * np.maximum(reach, 0), size)
        fits = {shape: rounded(shaped(edges, shape, size), size) for shape in INPUT_SIZES}
        best = min(fits, key=lambda shape: unlike(fits[shape].size, shape))
        if self.shape is None or fits[self.shape].area > RESHAPE * fits[best].area:
            self.shape = best
        return fits[self.shape]

    def lost(self, mask: np.ndarray, box: Box, who: str, time: float) -> bool:
        """Whether the mask of what is in the box shows that the people may be outside it."""
        size = (mask.shape[1], mask.shape[0])
        if box.covers(size):
            return False
        edges, area = extent(mask, who)
        failed = edges is None or area < GONE * self.area or touches(edges, box, size)
        if failed:
            self.recheck = min(2 * self.recheck, MOST_RECHECK)
            self.whole_until = time + self.recheck / 2
        elif time - self.whole_until > WHOLE_EVERY:
            self.recheck = RECHECK
        return failed

    def looked_at_all(self, thumbnail: np.ndarray, time: float) -> None:
        """Notes that the network has just seen the whole of this frame."""
        self.whole_time, self.whole_thumbnail = time, thumbnail

    def follow(self, mask: np.ndarray, who: str, time: float) -> None:
        """Takes a frame's mask, float32 [h,w], of whatever origin.

        `who`, of `settings.PEOPLE`, is to be held: with "all" everybody, else those of whom
        `people.PeopleSelector` may choose.
        """
        size = mask.shape[::-1]
        if size != self.size:
            self.edges = self.held = None
            self.size = size
        edges, self.area = extent(mask, who)
        passed = time - self.time
        self.time = time
        if edges is None:
            self.edges = self.held = None
            return
        wanted = edges + OUTWARD * MARGIN * np.tile(edges[2:] - edges[:2], 2)
        if self.held is None or not passed > 0:
            self.speed, self.held = np.zeros(4), wanted if self.held is None else self.held
        else:
            self.speed = OUTWARD * (edges - self.edges) / passed
        surplus = OUTWARD * (self.held - wanted)  # below 0: must grow
        kept = np.exp(-max(passed, 0) / SHRINKING)
        self.held = wanted + OUTWARD * np.where(surplus > 0, kept * surplus, 0)
        self.edges = edges


def extent(mask: np.ndarray, who: str) -> tuple[Edges | None, float]:
    """(the edges of the people whom the box must hold, or None; their area in pixels)."""
    person = (mask > PERSON).astype(np.uint8)
    outlines, _ = cv2.findContours(person, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    areas = np.array([cv2.contourArea(outline) for outline in outlines])
    least = SPECK * mask.size
    if who != "all" and len(areas):
        least = max(least, BYSTANDER * areas.max())
    boxes = [cv2.boundingRect(o) for o, area in zip(outlines, areas, strict=True) if area >= least]
    if not boxes:
        return None, 0.0
    left, top, width, height = np.transpose(boxes)
    edges = left.min(), top.min(), (left + width).max(), (top + height).max()
    return np.array(edges, float), float(areas[areas >= least].sum())


def touches(edges: Edges, box: Box, size: Size) -> bool:
    """Whether the people reach a border of the box that is not the frame's."""
    borders = np.array([box.left, box.top, box.right, box.bottom])
    inner = borders != [0, 0, *size]
    return bool((inner & (OUTWARD * (borders - edges) < TOUCHING)).any())


def shaped(edges: Edges, shape: Size, size: Size) -> Edges:
    """The edges, moved apart until they have the shape of a (width, height), as far as they can."""
    width, height = np.maximum(edges[2:] - edges[:2], np.multiply(LEAST, size))
    aspect = shape[0] / shape[1]
    new = np.minimum([max(width, height * aspect), max(height, width / aspect)], size)
    start = (edges[:2] + edges[2:] - new) / 2
    start = np.clip(start, 0, np.subtract(size, new))  # pushed back into the frame
    return np.concatenate([start, start + new])


def limited(edges: Edges, size: Size) -> Edges:
    return np.clip(edges, 0, np.tile(size, 2))


def rounded(edges: Edges, size: Size) -> Box:
    start = np.floor(edges[:2] / STEP + 1e-6) * STEP
    end = np.minimum(np.ceil(edges[2:] / STEP - 1e-6) * STEP, size)
    return Box(*map(int, start), *map(int, end))


def unlike(size: Size, shape: Size) -> float:
    """How much a (width, height) is squashed to have a shape; 0 not at all."""
    return abs(np.log(size[0] / size[1] * shape[1] / shape[0]))


def changes_outside(last: np.ndarray, thumbnail: np.ndarray, box: Box, size: Size) -> bool:
    """Whether some spot of two thumbnails, wholly outside the box, is another than before."""
    if last.shape != thumbnail.shape:
        return True
    change = cv2.subtract(thumbnail, last, dtype=cv2.CV_16S)
    outside = np.ones(thumbnail.shape, bool)
    across, down = thumbnail.shape[1] / size[0], thumbnail.shape[0] / size[1]
    left, right = int(box.left * across), int(np.ceil(box.right * across))
    top, bottom = int(box.top * down), int(np.ceil(box.bottom * down))
    outside[top:bottom, left:right] = False
    if not outside.any():
        return False
    change = change[outside]
    return bool(np.abs(change - np.median(change)).max() > CHANGED)
