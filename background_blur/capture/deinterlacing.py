"""Turns interlaced frames, as from television, DVDs and camcorders, into progressive ones."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from background_blur.media import pulled

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph


def deinterlaced(frames: "Iterator[VideoFrame]") -> "Iterator[VideoFrame]":
    """Yields all the frames, deinterlacing those that are interlaced."""
    graph = accepted = None
    for raw in frames:
        kind = raw.width, raw.height, raw.format.name
        if graph and kind != accepted:
            graph.vpush(None)
            yield from pulled(graph)
            graph = None
        if graph is None and raw.interlaced_frame and raw.time_base:
            graph, accepted = make_graph(raw), kind
        if graph:
            graph.vpush(raw)
        yield from pulled(graph) if graph else [raw]
    if graph:
        graph.vpush(None)
        yield from pulled(graph)


def make_graph(raw: "VideoFrame") -> "Graph":
    """Makes a filter for frames like this one, which must have a time base."""
    from av.filter import Graph

    graph = Graph()
    source = graph.add(
        "buffer",
        f"video_size={raw.width}x{raw.height}:pix_fmt={raw.format.name}"
        f":time_base={raw.time_base}:colorspace={raw.colorspace}:range={raw.color_range}",
    )
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, bwdif, graph.add("buffersink"))
    graph.configure()
    return graph
