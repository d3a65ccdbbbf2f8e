"""Opens the sinks that the command line asks for, and fits source and sinks to each other."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from background_blur.capture.base import Source
from background_blur.capture.held import HeldPictures
from background_blur.capture.on_demand import OnDemand
from background_blur.capture.pictures import Pictures
from background_blur.controls import Viewer
from background_blur.errors import SinkError
from background_blur.options import Options
from background_blur.paths import same_file
from background_blur.settings import Backgrounds, Settings
from background_blur.sinks import open_output
from background_blur.sinks.base import Sink
from background_blur.sinks.unfinished import folder_of, leftovers
from background_blur.sinks.video import ENCODERS
from background_blur.sinks.virtual_camera import VirtualCamera
from background_blur.sinks.window import Window
from background_blur.statistics import RunStatistics

TITLE = "background blur"

log = logging.getLogger("background_blur")


@dataclass
class Sinks:
    """Where the finished frames go."""

    output: Sink | None = None
    camera: VirtualCamera | None = None
    window: Window | None = None

    @property
    def are_watched(self) -> bool:
        return bool(self.window or self.camera)

    def viewer(
        self,
        source: Source,
        settings: Settings,
        backgrounds: Backgrounds,
        statistics: RunStatistics,
    ) -> Viewer | None:
        """Makes the viewer, which shows the frames and obeys keys, if there is a window."""
        if not self.window:
            return None
        paced = not (source.live or self.output)
        return Viewer(
            self.window,
            settings,
            source,
            paced=paced,
            backgrounds=backgrounds,
            in_call=bool(self.camera),
            statistics=statistics,
        )


def open_sinks(options: Options, source: Source, stack: ExitStack) -> Sinks:
    """Opens the sinks; `stack` closes them. Raises SinkError."""
    sinks = Sinks()
    if options.output is not None:
        output = stack.enter_context(open_file_output(options.output, options, source))
        as_png = options.background[0] == "transparent"
        source.leave_out(lambda it: output.is_unwanted(it.with_suffix(".png") if as_png else it))
        sinks.output = output
    if options.virtual_camera is not None:
        size, fps = options.size or source.size, options.fps or source.fps
        paced = source.is_sequence and not source.live
        camera = VirtualCamera(options.virtual_camera, size, fps, paced=paced)
        sinks.camera = stack.enter_context(camera)
        print("sending {}x{} to {}".format(*camera.size, camera.device), flush=True)
    if options.window:
        try:
            window = Window(TITLE, lost=lambda: end_without_display(stack, sinks.output))
            sinks.window = stack.enter_context(window)
        except SinkError:
            if not (sinks.output or sinks.camera):
                raise
    return sinks


def open_file_output(path: str, options: Options, source: Source) -> Sink:
    """Opens the file or folder to write; warns about unfinished files next to it."""
    if any(same_file(Path(path), Path(text)) for text in options.background):
        raise SinkError(f"{path}: is the background itself; give another --output")
    lines = leftovers(folder_of(path), ENCODERS)
    transparent = "transparent" in options.background
    output = open_output(
        path, source, force=options.force, skip=options.skip_existing, alpha=transparent
    )
    for line in lines:
        log.warning(line)
    return output


def end_without_display(stack: ExitStack, output: Sink | None) -> None:
    """Closes everything that is open when Qt is about to end the process."""
    then = "; what was written is kept" if output else ""
    try:
        stack.close()
    except Exception as error:
        then = f"; {error}"
    log.error(f"the display is gone{then}")


def adapt(source: Source, sinks: Sinks, reopen: Callable[[], Source], wait: float) -> Source:
    """Adapts the source to the pace that its sinks need."""
    if not sinks.are_watched:
        source.unpace()
    elif sinks.output:
        return source
    elif isinstance(source, Pictures):
        return HeldPictures(source)
    elif sinks.camera and source.live and not sinks.window:
        return OnDemand(source, reopen=reopen, camera=sinks.camera, wait=wait)
    return source
