"""What a command line asks for, one source and one output at a time."""

import os
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from background_blur.capture.kinds import files_in, is_foreign, kind_of
from background_blur.paths import is_folder, is_within
from background_blur.sinks.files import sink_errors
from background_blur.sinks.video import ALPHA_ENCODERS, ENCODERS


def jobs(args: Namespace) -> Iterator[Namespace]:
    """The options of each run: of all pictures of a folder, then of each video in it.

    Raises SinkError where there can be no folder for a video.
    """
    output = args.output and Path(args.output)
    if not (output and is_folder(args.output) and args.source and os.path.isdir(args.source)):
        yield Namespace(**vars(args), without=())
        return
    folder = Path(args.source)
    files = [file for file in files_in(folder) if not is_within(file, output)]
    videos = [file for file in files if kind_of(file) in ("animation", "video")]
    if not videos or not all(file in videos or is_foreign(file) for file in files):
        yield Namespace(**vars(args), without=videos)
    taken: set[Path] = set()
    encoders = ALPHA_ENCODERS if "transparent" in args.background else ENCODERS
    for video in videos:
        target = output / video.relative_to(folder)
        if target.suffix.lower() not in encoders:
            target = target.with_suffix(next(iter(encoders)))
        while target in taken:  # a.gif beside a.mp4
            target = target.with_stem(f"{target.stem}_")
        taken.add(target)
        with sink_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        one = {"source": str(video), "output": str(target), "without": ()}
        yield Namespace(**{**vars(args), **one})
