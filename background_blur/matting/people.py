"""Which of the people in the picture stay sharp."""

import numpy as np

SPECK = 0.006  # share of the mask; smaller parts of person are mistakes
BYSTANDER = 0.25  # share of the largest part; smaller parts are not in front of the camera
NEWCOMER = 0.6  # share of it that one who comes later must be, for a while, to be in front, too
MEMORY = 0.2  # weight of a frame in the memory of where the main person is
ASIDE = 0.5  # what a pixel at the left or right border counts, one in the middle being 1
SEEN = 0.1  # share of that memory that who is still the same covers
CLEARLY = 1.5  # times as large as the main person
SWITCH_AFTER = 30  # frames that another must be so, or the main person be gone, to lose the place


class PeopleSelector:
    """Chooses in one source's masks, in order; `forget` between unrelated pictures."""

    def __init__(self):
        self.forget()

    def forget(self) -> None:
        self.position_heatmap = None  # float [h,w], where the main person was of late
        self.missed_frames = 0  # frames in a row that spoke for another
        self.claims = (
            None  # {number: frames in a row that one in front was large, from SWITCH_AFTER on}
        )

    def select(
        self,
        who: str,
        labels: np.ndarray,
        sizes: np.ndarray,
        parents: dict[int, int] | None = None,
    ) -> np.ndarray:
        """Chooses among the parts of a mask.

        Args:
            who: "all", everybody; "front", all but those much smaller than the largest, who pass
                behind and did not ask to be shown, and those who came later, until they are about
                as large for a while; "main", one: the largest and most central at first, who keeps
                the place until gone, or clearly smaller than another, for a while.
            labels: int [h,w], the part that each pixel is of, 0 for none; a person's number stays.
            sizes: pixels of each part, 0 of part 0.
            parents: the numbers of parts that others, new ones, have come off.

        Returns:
            bool, as long as sizes; never a part that is a mere speck.
        """
        kept = sizes >= max(1, SPECK * labels.size)
        if who == "main":
            self.claims = None
            return kept & (np.arange(len(sizes)) == self.main(labels, kept))
        self.position_heatmap, self.missed_frames = None, 0
        if who == "front":
            return kept & self.front(sizes, parents or {})
        self.claims = None
        return kept

    def front(self, sizes: np.ndarray, parents: dict[int, int]) -> np.ndarray:
        """bool, as long as sizes: who is in front of the camera."""
        shares = sizes / max(1, sizes.max())
        first, last = self.claims is None, self.claims or {}
        self.claims = {}
        for number in map(int, np.flatnonzero(sizes)):
            claim = last.get(number, last.get(parents.get(number), 0))
            if first or claim >= SWITCH_AFTER:
                claim = SWITCH_AFTER
            else:
                claim = claim + 1 if shares[number] >= NEWCOMER else 0
            self.claims[number] = claim
        admitted = [self.claims.get(number, 0) >= SWITCH_AFTER for number in range(len(sizes))]
        return (shares == 1) | (admitted & (shares >= BYSTANDER))

    def main(self, labels: np.ndarray, candidates: np.ndarray) -> int:
        """The part that is the main person, or 0 while that one is not to be seen."""
        if self.position_heatmap is None or self.position_heatmap.shape != labels.shape:
            self.forget()
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


def sums(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sum of the weights of each part's pixels."""
    return np.bincount(labels.ravel(), weights.ravel())


def centred(shape: tuple[int, ...]) -> np.ndarray:
    """Weights of pixels, float [h,w]: 1 in the middle, less towards the left and right border."""
    aside = np.abs(np.linspace(-1, 1, shape[1]))
    return np.tile(1 - (1 - ASIDE) * aside, (shape[0], 1))
