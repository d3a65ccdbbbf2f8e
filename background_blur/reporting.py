"""What a run tells the user: a progress bar, problems, and a summary at the end."""

import logging
import sys
from collections.abc import Iterator

from background_blur.capture.base import Source
from background_blur.frames import Frame, plural
from background_blur.sinks.base import Sink
from background_blur.statistics import RunStatistics

log = logging.getLogger("background_blur")


def progress(source: Source, output: Sink | None) -> Iterator[Frame]:
    """Yields the source's frames, with a progress bar on a terminal while a file is written."""
    frames = report_problems(source)
    if not output or source.live or not sys.stderr.isatty():
        return frames
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread of its own
    return iter(tqdm(frames, total=source.count, unit=" frames", leave=False))


def report_problems(source: Source) -> Iterator[Frame]:
    """Yields the source's frames; reports each problem once."""
    reported = None
    for frame in source:
        if source.problem and source.problem != reported:
            log.warning(source.problem)
        reported = source.problem
        yield frame


def report(statistics: RunStatistics, source: Source, output: Sink | None) -> None:
    """Prints what the run did, with warnings about what the user should know."""
    if statistics.frames:
        seconds = statistics.elapsed - source.idle_seconds if source.is_sequence else None
        print(statistics.summary(seconds))
    if statistics.levels:
        print(f"{plural(source.dropped)} dropped; {statistics.format_quality()}")
    if statistics.frames and source.is_sequence:
        cost = f"; {statistics.format_processor()}" if statistics.frames > 1 else ""
        print(statistics.format_network() + cost)
    if output and output.saved:
        print(f"saved {output.saved}")
    if statistics.hidden:
        print(f"{plural(statistics.hidden)} hidden by you")
    why = statistics.reason or ""
    has_been_said = statistics.never_trusted and why.startswith("the network failed")
    if statistics.failed and not has_been_said:
        log.warning(f"{plural(statistics.failed)} fully blurred: no mask could be trusted; {why}")
    for warning in (source.warning, output and output.warning):
        if warning:
            log.warning(warning)
