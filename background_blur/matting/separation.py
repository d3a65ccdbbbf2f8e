"""Tells people apart who touch in the picture, by the parts they were before they touched.

Where parts of a mask join, the outline between them is kept: what each of them covered a frame
ago, moved as the picture moved (dense inverse search, Kroeger et al. 2016, arXiv:1603.03590), is
sure in its core, and the rest goes to one or the other along the edges of the picture (watershed,
Meyer 1992). A hand comes into the picture as a part of its own, too: what is small and was apart
for a moment only becomes one with whom it touches.
"""

import cv2
import numpy as np

from background_blur.matting.propagation import MIN_SIDE

SPECK = 0.006  # share of the mask; smaller parts of person are mistakes
HERE = 0.3  # share of a part that must lie in a later one for that to be, or to hold, the same
HAND = 0.08  # share of the largest part; what is smaller may be a hand of whom it touches
SETTLED = (
    8  # frames that a part was apart and larger, after which it is a person in their own right
)
A_WHILE = 30  # frames in touch after which what is so small belongs to whom it touches all the same
STACKED = 0.5  # share of its columns below or above whom it came off; it is a part of their body
CORE = 0.012  # share of the mask's width, by which a part's sure core is smaller on each side

Labels = np.ndarray  # int [h,w]: the number of the part that each pixel is of, 0 for none


class PeopleSeparator:
    """Numbers the people in one source's masks, in order, each by the same number all along.

    Attributes:
        parents: of each number that is new, the one of which that part was until now, if any.
    """

    def __init__(self):
        self.motion = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self.forget()

    def forget(self) -> None:
        self.labels: Labels = np.zeros((0, 0), np.int32)  # of the last frame
        self.sizes = np.zeros(1, np.intp)  # their pixels
        self.grey: np.ndarray | None = None  # its picture, if there were several people
        self.parents: dict[int, int] = {}
        self.origin: dict[int, int] = {}  # the parents of all numbers
        self.settled: dict[int, int] = {}  # frames that a part was apart and no hand
        self.touching: dict[int, int] = {}  # frames in a row that it touched another

    def __call__(self, picture: np.ndarray, person: np.ndarray) -> tuple[Labels, np.ndarray]:
        """Numbers the parts of a mask.

        Args:
            picture: uint8 [H,W,3] BGR, of any size.
            person: uint8 [h,w] of 0 and 1.

        Returns:
            The labels; the pixels of each number, 0 of number 0. Specks have no number.
        """
        parts, sizes = without_specks(*connected_components(person))
        if self.labels.shape != parts.shape:
            self.forget()
            self.labels = np.zeros_like(parts)
        self.parents = {}
        if max(len(sizes) - 1, np.count_nonzero(self.sizes)) > 1:
            picture = cv2.resize(picture, parts.shape[::-1], interpolation=cv2.INTER_AREA)
            parts = self._numbered(picture, parts)
            sizes = sizes_of(parts)
        else:
            self.grey = None
            number = len(self.sizes) - 1 or 1  # that the one part has had
            parts *= number
            sizes = np.insert(sizes, 0, [0] * (number - 1)) if len(sizes) > 1 else sizes
        self.labels, self.sizes = parts, sizes
        return parts, sizes

    def _numbered(self, picture: np.ndarray, parts: Labels) -> Labels:
        """Gives each part the number that it had, and those of several a number each."""
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        last = self.labels
        held = held_numbers(parts, last)
        if any(len(numbers) > 1 for numbers in held.values()):
            last = self._moved(grey)
            held = held_numbers(parts, last)
        sizes = self.sizes if last is self.labels else sizes_of(last)
        labels, touching = np.zeros_like(parts), set()
        for part, numbers in held.items():
            here = parts == part
            numbers = self._people(numbers, last, sizes) or [self._new(here, last, labels)]
            labels[here] = numbers[0]
            if len(numbers) > 1:
                cores = [here & (last == number) for number in numbers]
                split_part(labels, picture, here, dict(zip(numbers, cores, strict=True)))
                touching.update(numbers)
        self._count(labels, touching)
        self.grey = grey
        return labels

    def _moved(self, grey: np.ndarray) -> Labels:
        """The last frame's labels, moved as the picture has since."""
        if self.grey is None or min(grey.shape) < MIN_SIDE:
            return self.labels
        # [h,w,2]: where each pixel came from. OpenCV's stubs do not know that the flow may be None.
        flow = self.motion.calc(grey, self.grey, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
        y, x = np.indices(grey.shape)
        x = np.clip(np.rint(x + flow[..., 0]).astype(int), 0, grey.shape[1] - 1)
        y = np.clip(np.rint(y + flow[..., 1]).astype(int), 0, grey.shape[0] - 1)
        return self.labels[y, x]

    def _people(self, numbers: list[int], last: Labels, sizes: np.ndarray) -> list[int]:
        """Those of a part's numbers that are people, and not parts of another's body."""
        if len(numbers) < 2:
            return numbers
        main = max(numbers, key=lambda number: sizes[number])
        return [main] + [
            number
            for number in numbers
            if number != main
            and not self._is_hand(number, sizes[number] / sizes[main])
            and not self._came_off(number, main, last)
        ]

    def _is_hand(self, number: int, size: float) -> bool:
        settled = self.settled.get(number, 0) >= SETTLED
        return size < HAND and not (settled and self.touching.get(number, 0) < A_WHILE)

    def _came_off(self, number: int, main: int, last: Labels) -> bool:
        """Whether two parts, one of which came off the other, are one above the other."""
        if self.origin.get(number) != main and self.origin.get(main) != number:
            return False
        columns = [(last == each).any(0) for each in (number, main)]
        return (columns[0] & columns[1]).sum() > STACKED * min(c.sum() for c in columns)

    def _new(self, here: np.ndarray, last: Labels, labels: Labels) -> int:
        """A number nobody has, for a part that came off another or came into the picture."""
        taken = {*numbers_in(last), *numbers_in(labels), *numbers_in(self.labels)}
        number = next(n for n in range(1, len(taken) + 2) if n not in taken)
        for known in (self.origin, self.settled, self.touching):
            known.pop(number, None)
        was = np.bincount(last[here])
        was[0] = 0
        if was.sum() > HERE * here.sum():
            self.parents[number] = self.origin[number] = int(was.argmax())
        return number

    def _count(self, labels: Labels, touching: set[int]) -> None:
        sizes = sizes_of(labels)
        for number in numbers_in(labels):
            if number in touching:
                self.touching[number] = self.touching.get(number, 0) + 1
            else:
                self.touching[number] = 0
                if sizes[number] >= HAND * sizes.max():
                    self.settled[number] = self.settled.get(number, 0) + 1


def numbers_in(labels: Labels) -> list[int]:
    return [int(number) for number in np.flatnonzero(sizes_of(labels))]


def sizes_of(labels: Labels) -> np.ndarray:
    """The pixels of each number, 0 of number 0."""
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return sizes


def held_numbers(parts: Labels, last: Labels) -> dict[int, list[int]]:
    """For each part the numbers of those before that it holds; each is in one part alone."""
    count, known = parts.max() + 1, last.max() + 1
    table = np.bincount((parts * known + last).ravel(), minlength=count * known)
    table = table.reshape(count, known)  # pixels of each part that had each number
    whole = table.sum(0)
    held = {part: [] for part in range(1, count)}
    for number in np.flatnonzero(whole[1:]) + 1:
        part = int(table[1:, number].argmax()) + 1 if count > 1 else 0
        if part and table[part, number] > HERE * whole[number]:
            held[part].append(int(number))
    return held


def split_part(labels: Labels, picture: np.ndarray, here: np.ndarray, cores: dict) -> None:
    """Divides a part among the numbers whose likely places are given, along the picture's edges.

    Args:
        labels: changed where `here` is.
        picture: uint8 [h,w,3].
        here: bool [h,w], the part.
        cores: {number: bool [h,w]}.
    """
    markers = np.where(here, 0, max(cores) + 1).astype(np.int32)
    radius = max(1, round(CORE * here.shape[1]))
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    for number, core in cores.items():
        sure = cv2.erode(core.astype(np.uint8), kernel) > 0
        markers[sure if sure.any() else core] = number
    markers = cv2.watershed(picture, markers)
    numbers = np.array(list(cores))
    away = [cv2.distanceTransform((markers != n).astype(np.uint8), cv2.DIST_L2, 3) for n in numbers]
    nearest = numbers[np.argmin(away, axis=0)]  # of what watershed left, at the outlines
    labels[here] = nearest[here]


def without_specks(parts: Labels, sizes: np.ndarray) -> tuple[Labels, np.ndarray]:
    """The parts that are no specks, and their sizes, numbered anew."""
    large = sizes >= max(1, SPECK * parts.size)
    if large[1:].all():
        return parts, sizes
    large[0] = True  # what is no part
    return np.where(large, np.cumsum(large) - 1, 0)[parts], sizes[large]


def connected_components(binary: np.ndarray) -> tuple[Labels, np.ndarray]:
    """Connected parts of a uint8 [h,w] of 0 and 1: (their labels, 0 for none; pixels a label)."""
    count, labels = cv2.connectedComponents(binary, connectivity=4)
    if count == 2:  # as mostly; counting labels takes longer
        return labels, np.array([0, np.count_nonzero(binary)])
    return labels, sizes_of(labels)
