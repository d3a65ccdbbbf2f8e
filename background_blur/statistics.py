"""Statistics of a run, for the summary at the end and the overlay."""

from collections import Counter, deque
from collections.abc import Mapping
from time import monotonic, process_time

from background_blur.frames import Result, plural
from background_blur.matting.quality import QualityLevel
from background_blur.settings import HIDDEN
from background_blur.timing import StageTimer

STAGES = "read", "downscale", "segment", "refine", "blur", "compose", "write", "show"
ROLLING_FRAMES = 30  # that the overlay averages over


class RunStatistics:
    """Counts a run's results.

    Attributes:
        frames: how many were finished.
        timer: of the stages, including those of the results.
        hidden, failed: frames fully blurred because the user asked, or because no mask was trusted.
        reason: why no mask was trusted the last time that happened, or None.
        masks: how many masks came from where, keyed by `Result.mask_from`.
        levels: how many frames were finished at each quality level, keyed by its name.
        runs: how often the network ran; seen: the share of the frame it saw, summed over the runs.
        processor: seconds of processor time, of all threads, from the first frame to the last.
    """

    def __init__(self):
        self.began = self.ended = monotonic()
        self.last: Result | None = None
        self.frames = self.hidden = self.failed = 0
        self.reason: str | None = None
        self.timer = StageTimer()
        self.masks: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        self.runs, self.seen = 0, 0.0
        self.processor, self._processor_began = 0.0, 0.0
        # Of the last frames: when each came, the processor time then, and the seconds spent on it.
        self.recent: deque[tuple[float, float, Mapping[str, float]]]
        self.recent = deque(maxlen=ROLLING_FRAMES + 1)
        self.level: QualityLevel | None = None
        self.latency: float | None = None  # seconds from the last frame's capture to its result

    @property
    def elapsed(self) -> float:
        """Seconds from the start to the last frame."""
        return self.ended - self.began

    @property
    def never_trusted(self) -> bool:
        """Whether some frames were not hidden, and none of those had a mask that was trusted."""
        return bool(self.failed) and self.failed + self.hidden == self.frames

    def record(self, result: Result, level: QualityLevel | None = None) -> None:
        """Counts a result; one repeated because a photo stays on screen counts only once."""
        self.ended, processor, self.level = monotonic(), process_time(), level
        spent = {} if result is self.last else result.seconds
        self.recent.append((self.ended, processor, spent))
        captured_at = result.captured_at
        self.latency = None if captured_at is None else self.ended - captured_at
        if result is self.last:
            return
        self.last = result
        if not self.frames:  # the time before it is the cost of starting
            self._processor_began = processor
        self.processor = processor - self._processor_began
        self.frames += 1
        for stage, seconds in result.seconds.items():
            self.timer.seconds[stage] += seconds
        reason = result.fully_blurred_because
        self.hidden += reason == HIDDEN
        if reason not in (None, HIDDEN):
            self.failed, self.reason = self.failed + 1, reason
        self.masks.update([result.mask_from] if result.mask_from else [])
        self.levels.update([level.name] if level else [])
        self.runs += len(result.seen)
        self.seen += sum(result.seen)

    def summary(self, seconds: float | None) -> str:
        """Such as "90 frames, 29.9 frames/s; processor time in ms: segment 9.1, refine 2.0"."""
        rate = f", {self.frames / seconds:.1f} frames/s" if seconds else ""
        stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in self.costs().items())
        return f"{plural(self.frames)}{rate}; processor time in ms: {stages}"

    def costs(self) -> dict[str, float]:
        """Milliseconds of processor time per frame, by stage."""
        spent = self.timer.seconds
        return {stage: 1000 * spent[stage] / self.frames for stage in STAGES if stage in spent}

    def format_quality(self) -> str:
        """What a live run skipped in order to keep up: "masks: network 60 %, ..."."""
        return f"masks: {percentages(self.masks)}; quality: {percentages(self.levels)}"

    def format_network(self) -> str:
        """Such as "the network ran 0.52 times per frame, on 48 % of the frame"."""
        if not self.runs:
            return "the network did not run"
        times, share = self.runs / max(1, self.frames), 100 * self.seen / self.runs
        return f"the network ran {times:.2f} times per frame, on {share:.0f} % of the frame"

    def format_processor(self) -> str:
        """Such as "a frame cost 11.2 ms of processor time", not counting the first or start-up."""
        frames = max(1, self.frames - 1)
        return f"a frame cost {1000 * self.processor / frames:.1f} ms of processor time"

    def rates(self, now: float | None = None) -> tuple[float, float]:
        """Returns frames per second, until `now` or the last frame, and milliseconds of processor
        time per frame, both over the last 30 frames; zeros at first."""
        recent = list(self.recent)
        if len(recent) < 2:
            return 0.0, 0.0
        (began, processor_began, _), (ended, processor, _) = recent[0], recent[-1]
        frames, passed = len(recent) - 1, (now or ended) - began
        return frames / max(passed, 1e-6), 1000 * (processor - processor_began) / frames

    def overlay(self, dropped: int) -> list[str]:
        """Lines for the window: means of the last 30 frames, and the totals. Empty at first."""
        frames = len(self.recent) - 1
        if frames < 1:
            return []
        seconds: Counter[str] = Counter()
        for *_, spent in list(self.recent)[1:]:
            seconds.update(spent)
        rate, processor = self.rates()
        lines = [f"{rate:.1f} frames/s", f"processor time {processor:.1f} ms, of which"]
        lines += [f"{stage} {1000 * spent / frames:.1f} ms" for stage, spent in seconds.items()]
        if self.latency is not None:
            lines.append(f"latency {1000 * self.latency:.0f} ms")
        lines += [f"dropped {dropped}", f"fully blurred {self.failed}", self.format_network()]
        if self.level:
            lines += [f"masks: {percentages(self.masks)}", f"quality: {self.level.name}"]
        return lines


def percentages(counts: Counter[str]) -> str:
    """ "network 60 %, propagated 40 %", the most frequent first; "none" if empty."""
    total = sum(counts.values())
    shares = (f"{name} {100 * count / total:.0f} %" for name, count in counts.most_common())
    return ", ".join(shares) or "none"
