"""Frames, as the stages pass them along."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from background_blur.metadata import Metadata

Size = tuple[int, int]  # (width, height) in pixels


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source.

    Attributes:
        image: uint8 [H,W,3] BGR, contiguous.
        time: seconds since the source's first frame, never decreasing. A video keeps its own
            timestamps, so that a variable rate survives.
        path: for a photo, its path within its folder; None if the frame is not a file of its own.
        captured_at: when it arrived, in seconds of `time.monotonic`; None if not live.
        whole: for a photo with more than 8 bits or transparency, all its data, for files to keep:
            uint8 or uint16 [H,W,3] BGR or [H,W,4] BGRA; otherwise None.
        metadata: from a photo's file.
        duration: how many seconds it is shown, if known; the next frame's time overrides it.
    """

    image: np.ndarray
    time: float = 0.0
    path: Path | None = None
    captured_at: float | None = None
    whole: np.ndarray | None = None
    metadata: Metadata = Metadata()
    duration: float | None = None


@dataclass(frozen=True, eq=False)
class Result(Frame):
    """A finished frame: `image` in the chosen view, with a fourth channel if it is transparent.

    Attributes:
        size: (width, height) of the frame itself; None if `image` has that size.
        working_alpha: uint8 [h,w], 255 = person, at the working size, about 400 rows; all 0 if
            the frame is fully blurred.
        fully_blurred_because: why no mask was used, or None if one was.
        mask_from: "network", "propagated" from the last key frame, "reused" while nothing moved;
            None if the frame is fully blurred.
        seconds: the processor time of each stage, in seconds.
        seen: the share of the frame that the network saw, each time it ran.
    """

    size: Size | None = None
    working_alpha: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.uint8))
    fully_blurred_because: str | None = None
    mask_from: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    seen: tuple[float, ...] = ()

    @property
    def alpha(self) -> np.ndarray:
        """uint8 [H,W], 255 = person, 0 = background, at the frame's own size."""
        height, width = self.image.shape[:2]
        return cv2.resize(self.working_alpha, self.size or (width, height))


def plural(count: int, what: str = "frame") -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
