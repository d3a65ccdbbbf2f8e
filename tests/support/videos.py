"""Videos made at test time, and rewritten to other files as the program does it."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from background_blur.capture import open_source
from background_blur.capture.demo import Demo
from background_blur.frames import Frame
from background_blur.sinks import open_output
from background_blur.sinks.video import VideoFile


def record_demo(path: Path, frames: int, size=(160, 90), fps=25) -> Path:
    """Writes the demo's first frames to a video."""
    demo = Demo(size, fps, paced=False)
    with VideoFile(path, fps) as file:
        for index in range(frames):
            file.write(Frame(demo.picture(index), index / fps))
    return path


def encode(
    path: Path | str,
    images,
    times=None,
    codec="libx264",
    pixels="yuv420p",
    *,
    rate=30,
    aspect=0,
    transfer=2,
    **options,
) -> Path:
    """Writes equal-sized images, uint8 [H,W,3 or 4], at a rate or at `times` in ms, without sound.

    `aspect` is a pixel's width divided by its height; `options` are the container's.
    """
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.codec_context.color_trc = pixels, transfer
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for index, image in enumerate(images):
            kind = "bgr24" if image.shape[2] == 3 else "bgra"
            frame = av.VideoFrame.from_ndarray(image, format=kind)
            frame.pts = times[index] if times else index
            frame.time_base = Fraction(1, 1000 if times else rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(path)


def write(
    path: Path,
    *tracks,
    picture="libx264",
    seconds=1.0,
    form=None,
    size=(64, 48),
    options=None,
    image=None,
) -> Path:
    """Writes one image, or grey ones, at 25 frames/s; tracks: (encoder, layout, rate, language)."""
    size = size if image is None else image.shape[1::-1]
    with av.open(str(path), "w", format=form, options={"strict": "-2", **(options or {})}) as file:
        video = file.add_stream(picture, rate=25)
        video.width, video.height = size
        video.pix_fmt = "yuvj420p" if picture == "mjpeg" else "yuv420p"
        streams = [add_track(file, *track) for track in tracks]
        for index in range(round(25 * seconds)):
            grey = np.full((size[1], size[0], 3), 40 + 4 * (index % 25), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey if image is None else image, "bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(video.encode(frame))
            for stream in streams:
                file.mux(stream.encode(tone(stream, index)))
        for stream in (video, *streams):
            file.mux(stream.encode(None))
    return path


def add_track(file, codec, layout="mono", rate=48000, language=None):
    stream = file.add_stream(codec, rate=rate, layout=layout)
    stream.bit_rate, stream.codec_context.options = 96000, {"strict": "-2"}
    stream.metadata.update({"language": language, "title": f"in {language}"} if language else {})
    return stream


def tone(stream, index: int) -> av.AudioFrame:
    """1/25 second of a 440 Hz tone."""
    rate = stream.codec_context.sample_rate
    at = np.arange(rate // 25) + index * (rate // 25)
    wave = (8000 * np.sin(2 * np.pi * 440 * at / rate)).astype(np.int16)
    count = len(stream.layout.channels)
    frame = av.AudioFrame.from_ndarray(np.repeat(wave, count)[None], "s16", stream.layout.name)
    frame.sample_rate, frame.pts, frame.time_base = rate, int(at[0]), Fraction(1, rate)
    return frame


def rewritten(source: Path | str, path: Path, frames: int | None = None) -> str | None:
    """Rewrites a video, or its first `frames` frames, to another file; returns the warning."""
    with open_source(str(source)) as video, open_output(path, video) as sink:
        for index, frame in enumerate(video):
            sink.write(frame)
            if index + 1 == frames:
                break
    return "; ".join(filter(None, (video.warning, sink.warning))) or None


def pictures(path: Path) -> list[float]:
    """When each picture is shown, in seconds."""
    with av.open(str(path)) as file:
        return [frame.time for frame in file.decode(video=0)]


def lasting(path: Path) -> float:
    with av.open(str(path)) as file:
        return file.duration / 1e6


def packets(path: Path, index: int = 0) -> list[tuple[float, bytes]]:
    """(seconds, data) of each packet in a sound track."""
    with av.open(str(path)) as file:
        found = [it for it in file.demux(audio=index) if it.size]
        return [(float(it.pts * it.time_base), bytes(it)) for it in found]
