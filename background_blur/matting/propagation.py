"""Carries a mask on to the next pictures, by the motion measured between them and its own.

Carrying costs a tenth of the network. The motion of each pixel is found by dense inverse search
(Kroeger et al. 2016, arXiv:1603.03590). It is believed where it explains the new picture: the old
one, moved by it, must look like the new one wherever there is a person or somebody near.
"""

import cv2
import numpy as np

OLDEST = 0.25  # seconds that a mask is carried at most
REST = 0.15  # seconds that it stands for a picture that does not change
FINER = 4  # pixels of the picture a side of each of the mask's
STILL = 4  # grey levels; a picture none of whose spots changes by more has only noise in it
WRONG = 6, 14  # grey levels beyond noise, and at most, that a moved picture may be off
DOUBT = 0.15  # share of the person and their surroundings where the motion is wrong
NEAR = np.ones((5, 5), np.uint8)  # the surroundings, in pixels of the mask
PERSON = 0.1  # a mask above it lets some of the sharp picture through


class MaskPropagator:
    """Remembers the network's last mask and its picture.

    Attributes:
        carried, rested: for how many pictures a mask was moved, was taken as it is.
    """

    def __init__(self):
        self.carried = self.rested = 0
        self.motion = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self.forget()

    def forget(self) -> None:
        self.mask = None
        self.seen = None, None  # the last picture asked about, and its small copy

    def remember(self, small: np.ndarray, mask: np.ndarray, time: float) -> None:
        """Takes the network's mask, float32 [h,w], of a picture, uint8 [H,W,3], of that second."""
        self.mask, self.time, self.since = mask.copy(), time, 0
        asked, picture = self.seen
        again = asked is small and picture.shape[:2] == self.finer()
        self.picture = picture if again else self.shrunk(small)
        self.grey = cv2.cvtColor(self.picture, cv2.COLOR_BGR2GRAY)

    def __call__(self, small: np.ndarray, time: float, every: int) -> np.ndarray | None:
        """The mask of this picture, or None where the network has to look at it.

        That is at every `every`-th picture, and where there is no mask young enough or the motion
        is not to be believed. While nothing at all moves the network may rest for longer.
        """
        if self.mask is None or not 0 <= time - self.time <= OLDEST:
            return None
        self.since += 1
        picture = self.shrunk(small)
        self.seen = small, picture
        if time - self.time <= REST and is_still(picture, self.picture):
            self.rested += 1
            return self.mask.copy()
        if self.since >= every:
            return None
        mask = self.moved(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
        self.carried += mask is not None
        return mask

    def shrunk(self, small: np.ndarray) -> np.ndarray:
        return cv2.resize(small, self.finer()[::-1], interpolation=cv2.INTER_AREA)

    def finer(self) -> tuple[int, int]:
        """Rows and columns of the pictures that motion is measured in."""
        height, width = self.mask.shape
        return FINER * height, FINER * width

    def moved(self, grey: np.ndarray) -> np.ndarray | None:
        """The mask, moved as the picture did; None where the motion does not explain that."""
        flow = self.motion.calc(grey, self.grey, None)  # [H,W,2]: where each pixel came from
        there = sample(self.grey, flow)
        size = self.mask.shape[::-1]
        wrong = cv2.resize(
            cv2.blur(cv2.absdiff(grey, there), (5, 5)), size, interpolation=cv2.INTER_AREA
        )
        limit = min(2 * np.median(wrong) + WRONG[0], WRONG[1])
        mask = sample(self.mask, cv2.resize(flow, size, interpolation=cv2.INTER_AREA) / FINER)
        near = cv2.dilate(np.maximum(mask, self.mask), NEAR) > PERSON
        if (wrong > limit)[near].sum() > DOUBT * near.sum():
            return None
        return mask


def is_still(picture: np.ndarray, last: np.ndarray) -> bool:
    return cv2.blur(cv2.absdiff(picture, last), (3, 3)).max() <= STILL


def sample(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """image[y + flow_y, x + flow_x] at each pixel, between pixels bilinearly."""
    y, x = np.indices(image.shape, np.float32)
    x, y = x + flow[..., 0], y + flow[..., 1]
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
