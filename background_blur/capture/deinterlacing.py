"""Turns the interlaced frames of television, DVDs and camcorders into progressive ones."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from background_blur.media import pulled

if TYPE_CHECKING:
    from av import VideoFrame


class Deinterlacer:
    """Deinterlaces frames of one format, and leaves those that are progressive as they are."""

    def __init__(self, raw: "VideoFrame"):
        """Takes the first frame, which has a time base."""
        from av.filter import Graph

        self.accepts = raw.width, raw.height, raw.format.name
        self.graph = graph = Graph()
        source = graph.add(
            "buffer",
            f"video_size={raw.width}x{raw.height}:pix_fmt={raw.format.name}"
            f":time_base={raw.time_base}:colorspace={raw.colorspace}:range={raw.color_range}",
        )
        graph.link_nodes(
            source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
        )
        graph.configure()

    def __call__(self, raw: "VideoFrame | None") -> "Iterator[VideoFrame]":
        """Takes a frame, None after the last one; yields those that are ready."""
        self.graph.vpush(raw)
        yield from pulled(self.graph)

    @classmethod
    def applied(cls, frames: "Iterator[VideoFrame]") -> "Iterator[VideoFrame]":
        """All the frames, deinterlaced from the first on that is interlaced."""
        current: Deinterlacer | None = None
        for raw in frames:
            if current and current.accepts != (raw.width, raw.height, raw.format.name):
                yield from current(None)
                current = None
            if current is None and raw.interlaced_frame and raw.time_base:
                current = cls(raw)
            yield from current(raw) if current else [raw]
        if current:
            yield from current(None)
