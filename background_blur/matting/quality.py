"""Adaptive quality: run the network on a smaller input, then less often, when frames are late."""

import logging
import math
from dataclasses import dataclass

from background_blur.matting.segmenter import FINE, NORMAL

WINDOW = 0.5  # seconds that are judged together
MISSED, ROOM = 1.05, 0.8  # of the budget: above the first quality steps down, below the second up
PATIENCE, MAX_PATIENCE = 3.0, 60.0  # seconds with time to spare before it steps up
OUTLIER = 2.0  # budgets; a longer hiccup counts as this much, so that one alone changes nothing


log = logging.getLogger("background_blur")


@dataclass(frozen=True)
class QualityLevel:
    """How often the network runs, and on how large an input.

    Attributes:
        every: each key frame, which the network sees, is followed by `every - 1` that it does not.
        scale: the scale of the network's input, one of `segmenter.SCALES`.
    """

    name: str
    every: int
    scale: float


# A machine too busy for the last of them shows fewer frames per second. An input with 0.7 of the
# side would be cheaper, but tears holes: 2.3 % of the person on average, 7 % in the worst frame.
LEVELS = (
    QualityLevel("every frame", 1, FINE),
    QualityLevel("every 2nd frame", 2, NORMAL),
    QualityLevel("every 4th frame", 4, NORMAL),
)


class QualityController:
    """Steps down as soon as the budget is missed, and up again after a while with time to spare.

    A step up that soon proves too much doubles the wait before the next one. The controller starts
    at every second frame and goes no higher unless asked for the best, since hardly anyone sees
    the difference. If it cannot hold the best, it says so once.
    """

    def __init__(self, fps: float, best: bool = False):
        self.budget = 1 / fps  # seconds per frame
        self.highest = 0 if best else 1
        self.number = self.highest  # of the level, into LEVELS
        self.is_best_lost = False
        self.patience = PATIENCE
        self.room_since: float | None = None
        self.stepped_up_at: float | None = None
        self.window_since = math.inf  # until the first frame
        self.loads: list[float] = []  # the frames' fractions of the budget in this window

    @property
    def level(self) -> QualityLevel:
        return LEVELS[self.number]

    def record(self, began: float, ended: float) -> None:
        """Notes when all work on a frame began and ended, in seconds of a monotonic clock."""
        self.window_since = min(self.window_since, began)
        self.loads.append(min((ended - began) / self.budget, OUTLIER))
        if ended - self.window_since >= WINDOW:
            self._judge(sum(self.loads) / len(self.loads), self.window_since, ended)
            self.window_since, self.loads = ended, []

    def _judge(self, load: float, began: float, now: float) -> None:
        """Chooses the level by a window's mean fraction of the budget."""
        if load >= ROOM:
            self.room_since = None
        elif self.room_since is None:
            self.room_since = began
        trial_since = self.stepped_up_at
        if load > MISSED and self.number < len(LEVELS) - 1:
            self.patience = (
                min(2 * self.patience, MAX_PATIENCE) if trial_since is not None else PATIENCE
            )
            self._switch_to(self.number + 1, None)
        elif self.room_since is not None and now - self.room_since >= self.patience:
            if self.number > self.highest:
                self._switch_to(self.number - 1, now)
        elif trial_since is not None and now - trial_since >= self.patience:
            self.stepped_up_at = None  # the step up was right

    def _switch_to(self, number: int, stepped_up_at: float | None) -> None:
        self.number, self.stepped_up_at, self.room_since = number, stepped_up_at, None
        if number > self.highest == 0 and not self.is_best_lost:
            self.is_best_lost = True
            log.warning(f"too busy for --quality best; the network runs on {self.level.name}")
