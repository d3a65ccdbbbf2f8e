"""Splits a command line into runs of one source and one output each."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from background_blur.capture.kinds import files_in, is_foreign, kind_of
from background_blur.options import Options
from background_blur.paths import is_folder, is_within
from background_blur.sinks.files import sink_errors
from background_blur.sinks.video import ALPHA_ENCODERS, ENCODERS


def jobs(options: Options) -> Iterator[Options]:
    """Yields the options of each run: one for all pictures of a folder, then one per video in it.

    Raises SinkError if the folder for a video cannot be created.
    """
    output = Path(options.output or "")
    into_folder = options.output and is_folder(options.output)
    if not (into_folder and os.path.isdir(options.source)):
        yield options
        return
    folder = Path(options.source)
    files = [file for file in files_in(folder) if not is_within(file, output)]
    videos = [file for file in files if kind_of(file) in ("animation", "video")]
    if not videos or not all(file in videos or is_foreign(file) for file in files):
        yield replace(options, without=tuple(videos))
    taken: set[Path] = set()
    encoders = ALPHA_ENCODERS if "transparent" in options.background else ENCODERS
    for video in videos:
        target = output / video.relative_to(folder)
        if target.suffix.lower() not in encoders:
            target = target.with_suffix(next(iter(encoders)))
        while target in taken:  # a.gif next to a.mp4
            target = target.with_stem(f"{target.stem}_")
        taken.add(target)
        with sink_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        yield replace(options, source=str(video), output=str(target))
