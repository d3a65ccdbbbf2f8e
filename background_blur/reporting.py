"""What a run tells its user: a progress bar, what is wrong, and a summary at the end."""

import logging
import sys
from collections.abc import Iterator

from background_blur.capture.base import Source
from background_blur.frames import Frame
from background_blur.sinks.base import Sink
from background_blur.statistics import RunStatistics, plural

log = logging.getLogger("background_blur")


def progress(source: Source, output: Sink | None) -> Iterator[Frame]:
    """The source's frames, with a bar at a terminal while a file is written."""
    frames = report_problems(source)
    if not output or source.live or not sys.stderr.isatty():
        return frames
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread of its own
    return iter(tqdm(frames, total=source.count, unit=" frames", leave=False))


def report_problems(source: Source) -> Iterator[Frame]:
    """The source's frames; says what is wrong with it, once each time."""
    reported = None
    for frame in source:
        if source.problem and source.problem != reported:
            log.warning(source.problem)
        reported = source.problem
        yield frame


def report(statistics: RunStatistics, source: Source, output: Sink | None) -> None:
    """Prints what the run did, and warns of what the user should know."""
    if statistics.frames:
        seconds = statistics.elapsed - source.idle_seconds if source.is_sequence else None
        print(statistics.summary(seconds))
    if statistics.levels:
        print(f"{plural(source.dropped)} dropped; {statistics.format_quality()}")
    if statistics.frames and source.is_sequence:
        cost = f"; {statistics.format_processor()}" if statistics.frames > 1 else ""
        print(statistics.format_network() + cost)
    if statistics.hidden:
        print(f"{plural(statistics.hidden)} hidden by you")
    why = statistics.reason or ""
    has_been_said = statistics.never_trusted and why.startswith("the network failed")
    if statistics.failed and not has_been_said:
        log.warning(f"{plural(statistics.failed)} fully blurred: no mask could be trusted; {why}")
    for warning in (source.warning, output and output.warning):
        if warning:
            log.warning(warning)
