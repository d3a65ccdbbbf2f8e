"""A frame, as every stage hands it to the next."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from background_blur.metadata import Metadata

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: uint8 [H,W,3] BGR, contiguous.
        time: seconds since the source's first frame, never falling. A video's own timestamps, so
            that a variable rate survives.
        path: of a picture, within its folder; None where the frame is no file of its own.
        taken: when it arrived, in seconds of `time.monotonic`; None where that says nothing.
        whole: of a picture of more than 8 bits or with transparent parts, all of it, which files
            may keep: uint8 or uint16 [H,W,3] BGR or [H,W,4] BGRA; else None.
        metadata: of a picture's file.
    """

    image: np.ndarray
    time: float
    path: Path | None = None
    taken: float | None = None
    whole: np.ndarray | None = None
    metadata: Metadata = Metadata()
