"""Follows the people, so that the network sees them alone, and larger.

The network's input is small. Spent on a box around the people of the last mask instead of on the
whole frame it shows them in more detail at the same cost. What lies outside the box counts as
background, so that a wrong box blurs too much and never too little. The whole frame is looked at

- at first, after a cut or a fault, and while nobody is there;
- when the mask touches the box's border, or what was in the box is suddenly gone: on that frame;
- when something changes outside the box, at most four times a second;
- at least once a second.
"""

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
MOST_RECHECK = 2.0  # seconds that the whole frame is looked at when boxes fail again and again
CHANGED = 5  # grey levels that a spot outside the box changes by, beyond the whole picture's change

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
    """Masks of one source's frames, in order, each from a look at where the people are.

    Attributes:
        looks: how many times the network ran.
        seen: share of the frame that it saw, summed over these looks.
    """

    def __init__(self, segment: Callable[[np.ndarray], np.ndarray]):
        """`segment` makes of a picture, or a part of it, a mask of any size, or raises."""
        self.segment = segment
        self.tracker = PersonTracker()
        self.looks, self.seen = 0, 0.0

    def __call__(self, frame: np.ndarray, thumb: np.ndarray, who: str, time: float) -> np.ndarray:
        """The mask of a frame, uint8 [H,W,3], whose grey thumbnail is given: float32 [H/2,W/2]."""
        size = mask_size(frame)
        box = self.tracker.box(size, thumb, time)
        mask = self._look(frame, box, size)
        if self.tracker.lost(mask, box, who, time):
            box = whole(size)
            mask = self._look(frame, box, size)
        if box.covers(size):
            self.tracker.looked_at_all(thumb, time)
        self.tracker.follow(mask, who, time)
        return mask

    def _look(self, frame: np.ndarray, box: Box, size: Size) -> np.ndarray:
        self.looks += 1
        self.seen += box.area / (size[0] * size[1])
        return box.place(self.segment(np.ascontiguousarray(box.of(frame, size))), size)


class PersonTracker:
    """Says which part of each frame of one source the network should see.

    For every frame that the network looks at: `box`, then a look at that part; if `lost`, another
    look at the whole frame; then `follow` with the mask that came of it. Masks of the frames
    between are followed too, so that the box goes where motion takes the people.

    Thumbnails are uint8 [h,w], grey, of any one size; masks are of the whole frame, of one size.
    """

    def __init__(self):
        self.forget()

    def forget(self) -> None:
        self.size = None  # of the masks
        self.edges = self.held = None  # of the people; with their margin, slow to shrink
        self.speed = np.zeros(4)  # of the edges, outwards, in pixels a second
        self.area, self.shape, self.time = 0, None, 0.0
        self.whole_time, self.whole_thumb = None, None  # of the last look at the whole frame
        self.whole_until, self.recheck = 0.0, RECHECK  # after a box that failed

    def box(self, size: Size, thumb: np.ndarray, time: float) -> Box:
        """The part of a frame to look at, for a mask of that (width, height).

        Args:
            size: the same as before, or nothing is known of the people.
            thumb: of this frame.
            time: of it, in seconds.
        """
        if size != self.size or self.held is None or self.whole_time is None:
            return whole(size)
        since = time - self.whole_time
        if not 0 <= since < WHOLE_EVERY or time < self.whole_until:
            return whole(size)
        box = self._around_people(time)
        if box.area >= NEARLY_WHOLE * size[0] * size[1]:
            return whole(size)
        if since >= RECHECK and changes_outside(self.whole_thumb, thumb, box, size):
            return whole(size)
        return box

    def _around_people(self, time: float) -> Box:
        reach = np.minimum(self.speed * (time - self.time), np.tile(self.size, 2) / 4)
        edges = limited(self.held + OUTWARD * np.maximum(reach, 0), self.size)
        fits = {shape: rounded(shaped(edges, shape, self.size), self.size) for shape in INPUT_SIZES}
        best = min(fits, key=lambda shape: unlike(fits[shape].size, shape))
        if self.shape is None or fits[self.shape].area > RESHAPE * fits[best].area:
            self.shape = best
        return fits[self.shape]

    def lost(self, mask: np.ndarray, box: Box, who: str, time: float) -> bool:
        """Whether the mask of what is in the box shows that the people may be outside it."""
        if box.covers(mask.shape[::-1]):
            return False
        edges, area = extent(mask, who)
        failed = edges is None or area < GONE * self.area or touches(edges, box, self.size)
        if failed:
            self.recheck = min(2 * self.recheck, MOST_RECHECK)
            self.whole_until = time + self.recheck / 2
        elif time - self.whole_until > WHOLE_EVERY:
            self.recheck = RECHECK
        return failed

    def looked_at_all(self, thumb: np.ndarray, time: float) -> None:
        """Notes that the network has just seen the whole of this frame."""
        self.whole_time, self.whole_thumb = time, thumb

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


def extent(mask: np.ndarray, who: str) -> tuple[Edges | None, int]:
    """(the edges of the people whom the box must hold, or None; how many pixels they have)."""
    person = (mask > PERSON).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(person, connectivity=4)
    stats = stats[1:]
    areas = stats[:, cv2.CC_STAT_AREA]
    least = max(1, SPECK * mask.size)
    if who != "all" and len(areas):
        least = max(least, BYSTANDER * areas.max())
    left, top, width, height, areas = stats[areas >= least].T
    if not len(areas):
        return None, 0
    edges = left.min(), top.min(), (left + width).max(), (top + height).max()
    return np.array(edges, float), int(areas.sum())


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


def changes_outside(last: np.ndarray, thumb: np.ndarray, box: Box, size: Size) -> bool:
    """Whether some spot of two thumbnails, wholly outside the box, is another than before."""
    if last.shape != thumb.shape:
        return True
    change = cv2.subtract(thumb, last, dtype=cv2.CV_16S)
    outside = np.ones(thumb.shape, bool)
    across, down = thumb.shape[1] / size[0], thumb.shape[0] / size[1]
    left, right = int(box.left * across), int(np.ceil(box.right * across))
    top, bottom = int(box.top * down), int(np.ceil(box.bottom * down))
    outside[top:bottom, left:right] = False
    if not outside.any():
        return False
    change = change[outside]
    return bool(np.abs(change - np.median(change)).max() > CHANGED)
