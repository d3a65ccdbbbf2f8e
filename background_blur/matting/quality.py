"""Holds the beat: how much a live source's frames may cost, decided from what they took."""

from collections import Counter
from dataclasses import dataclass

from background_blur.matting.segmenter import NORMAL, SMALL

WINDOW = 0.5  # seconds that are judged together
MISSED, ROOM = 1.05, 0.8  # share of the budget above, below which it steps down, up
PATIENCE, MOST_PATIENCE = 3.0, 60.0  # seconds of room before it steps up
OUTLIER = 2.0  # budgets; a longer hiccup counts as so long, lest one alone costs a step


@dataclass(frozen=True)
class QualityLevel:
    """The network looks at every so-many-th frame, at such a scale of its input."""

    every: int
    scale: float


# A mask carried over three frames is far better than one made of a small input.
LEVELS = (
    QualityLevel(1, NORMAL),
    QualityLevel(2, NORMAL),
    QualityLevel(4, NORMAL),
    QualityLevel(4, SMALL),
)


class QualityController:
    """Steps down as soon as the budget is missed, and up again once there was room for a while.

    A step up that turns out too much at once makes it wait twice as long before the next one.

    Attributes:
        number: of the step, into STEPS; 0 is full quality.
        frames: how many frames each step finished.
    """

    def __init__(self, fps: float):
        self.budget = 1 / fps  # seconds a frame
        self.number = 0
        self.frames = Counter()
        self.patience, self.roomy_since, self.tried_at = PATIENCE, None, None
        self._begin_window(None)

    @property
    def step(self) -> QualityLevel:
        return LEVELS[self.number]

    def count(self, began: float, ended: float) -> None:
        """Notes that all work on a frame began and ended then, in seconds that never fall."""
        self.frames[self.number] += 1
        if self.window_since is None:
            self._begin_window(began)
        self.used.append(min((ended - began) / self.budget, OUTLIER))
        if ended - self.window_since >= WINDOW:
            self._judge(sum(self.used) / len(self.used), self.window_since, ended)
            self._begin_window(ended)

    def _judge(self, load: float, began: float, now: float) -> None:
        """Takes a window's mean share of the budget."""
        if load >= ROOM:
            self.roomy_since = None
        elif self.roomy_since is None:
            self.roomy_since = began
        tried = self.tried_at is not None
        if load > MISSED and self.number < len(LEVELS) - 1:
            self.patience = min(2 * self.patience, MOST_PATIENCE) if tried else PATIENCE
            self._take(self.number + 1, None)
        elif self.roomy_since is not None and now - self.roomy_since >= self.patience:
            if self.number:
                self._take(self.number - 1, now)
        elif tried and now - self.tried_at >= self.patience:
            self.tried_at = None  # the step up was right

    def _take(self, number: int, tried_at: float | None) -> None:
        self.number, self.tried_at, self.roomy_since = number, tried_at, None

    def _begin_window(self, now: float | None) -> None:
        self.window_since, self.used = now, []
