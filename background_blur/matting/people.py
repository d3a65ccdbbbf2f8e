"""Decides which of the people in the picture stay sharp.

The network tells who is in front, so no rule here separates people. `all` takes every part of its
person mask, `front` every part of its front mask, and `main` one part of the front mask.
Dropping anyone a quarter as large as the largest would change the IoU of crowds by 0.002.
"""

import cv2
import numpy as np

SPECK = 0.006  # share of the mask; smaller parts of person are mistakes
MEMORY = 0.2  # weight of a frame in the memory of where the main person is
ASIDE = 0.5  # weight of a pixel at the left or right border; one in the middle has 1
SEEN = 0.1  # share of that memory that a part must cover to be the same person
CLEARLY = 1.5  # times as large as the main person
SWITCH_AFTER = 30  # frames that another must be so, or the main person gone, before a switch


class PeopleSelector:
    """Chooses people in one source's masks, in order; `reset` between unrelated pictures."""

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        self.position_heatmap = None  # float [h,w], where the main person was lately
        self.missed_frames = 0  # frames in a row that favoured another

    def select(self, who: str, labels: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Chooses among the parts of a mask.

        Args:
            who: "main" for one, at first the largest and most central, who keeps the place until
                gone, or clearly smaller than another, for a while; else everyone in the mask.
            labels: int [h,w], the part that each pixel belongs to, 0 for none.
            sizes: the number of pixels in each part, 0 for part 0.

        Returns:
            bool, as long as sizes: which parts are kept, never a mere speck.
        """
        kept = sizes >= max(1, SPECK * labels.size)
        if who == "main":
            return kept & (np.arange(len(sizes)) == self.main(labels, kept))
        self.reset()
        return kept

    def main(self, labels: np.ndarray, candidates: np.ndarray) -> int:
        """Returns the part that is the main person, or 0 while they cannot be seen."""
        if self.position_heatmap is None or self.position_heatmap.shape != labels.shape:
            self.reset()
            self.position_heatmap = np.zeros(labels.shape)
        sizes = candidates * sums(labels, centred(labels.shape))
        largest = int(sizes.argmax())
        near = candidates * sums(labels, self.position_heatmap)
        same = int(near.argmax()) if near.max() > SEEN * self.position_heatmap.sum() else 0
        doubtful = not same or sizes[largest] > CLEARLY * sizes[same]
        self.missed_frames = self.missed_frames + 1 if doubtful else 0
        if not self.position_heatmap.any() or self.missed_frames > SWITCH_AFTER:
            same, self.position_heatmap[:], self.missed_frames = largest, 0, 0
        if same:
            self.position_heatmap += MEMORY * ((labels == same) - self.position_heatmap)
        return same


def connected_components(binary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds connected parts of a uint8 [h,w] of 0 and 1: (labels, 0 for none; pixels per label)."""
    count, labels = cv2.connectedComponents(binary, connectivity=4)
    if count == 2:  # the usual case; counting labels takes longer
        return labels, np.array([0, np.count_nonzero(binary)])
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels, sizes


def sums(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sum of the weights of each part's pixels."""
    return np.bincount(labels.ravel(), weights.ravel())


def centred(shape: tuple[int, ...]) -> np.ndarray:
    """Weights of pixels, float [h,w]: 1 in the middle, less towards the left and right borders."""
    aside = np.abs(np.linspace(-1, 1, shape[1]))
    return np.tile(1 - (1 - ASIDE) * aside, (shape[0], 1))
