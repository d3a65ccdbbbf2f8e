"""What OpenCV's Qt window needs on Linux but OpenCV does not provide.

Without it, Qt aborts the process if there is no display, ends it before files are completed if the
display goes away, complains on stderr, and now and then leaves the window black.
"""

import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import cv2

WM_NAME, ANY_TYPE, MAP_NOTIFY, EXPOSE = 39, 0, 19, 12  # of the X protocol
LONGEST_NAME = 64  # in 4-byte words
DEPTH = 3  # levels below the root: window managers put windows in frames, and these in desktops

# libxcb as loaded by ctypes, and a connection to the server.
Connection = tuple[ctypes.CDLL, ctypes.c_void_p]


class Screens(ctypes.Structure):
    """libxcb's iterator over screens; a screen's data begins with the ID of its root window."""

    _fields_ = [
        ("root", ctypes.POINTER(ctypes.c_uint32)),
        ("rest", ctypes.c_int),
        ("index", ctypes.c_int),
    ]


def set_up() -> None:
    """Sets Qt's environment variables, which it reads when the first window opens."""
    # If the display goes away, the program reports that itself.
    os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false;qt.qpa.xcb.warning=false")
    # OpenCV's Qt supports only X11, and complains on stderr about Wayland desktops and about its
    # missing font folder; our text needs no fonts.
    os.environ["QT_QPA_PLATFORM"] = "xcb"
    if not os.path.isdir(os.environ.get("QT_QPA_FONTDIR", "")):
        os.environ["QT_QPA_FONTDIR"] = os.path.dirname(cv2.__file__)


@contextmanager
def on_native_exit(callback: Callable[[], None]) -> Iterator[None]:
    """Calls `callback` if C code ends the process, as Qt does when the display goes away.

    The process then ends immediately, with exit code 1.
    """
    libc, handle = ctypes.CDLL(None), ctypes.c_int()  # its address identifies the handler
    inside = True

    def call(_: object) -> None:
        with suppress(KeyboardInterrupt):  # a signal may arrive at the same time, as at log-out
            if inside:
                callback()
                os._exit(1)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(call)
    for _ in range(2):  # twice, in case a signal interrupts the first call
        libc.__cxa_atexit(handler, None, ctypes.byref(handle))
    try:
        yield
    finally:
        inside = False
        libc.__cxa_finalize(ctypes.byref(handle))  # calls it and removes it


@contextmanager
def connection() -> Iterator[Connection | None]:
    """Connects to the server that DISPLAY names; yields None if that fails."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        yield None
        return
    for function in ("connect", "get_setup", "query_tree_reply", "get_property_reply"):
        getattr(xcb, f"xcb_{function}").restype = ctypes.c_void_p
    xcb.xcb_setup_roots_iterator.restype = Screens
    server = ctypes.c_void_p(xcb.xcb_connect(None, None))
    try:
        yield None if xcb.xcb_connection_has_error(server) else (xcb, server)
    finally:
        xcb.xcb_disconnect(server)


def server_answers() -> bool:
    """Whether there is an X server that accepts connections."""
    with connection() as found:
        return found is not None


def force_redraw(title: str) -> None:
    """Sends the windows with this title the events that make them draw.

    On a busy machine Qt sometimes misses these events and the window stays black: under Xvfb, next
    to four busy loops, in 26 of 68 starts without this and in 3 of 29 with it. (Resizing the
    window, which OpenCV could do, does not help.) If Qt missed nothing, it just draws once more.
    """
    with connection() as found:
        if not found:
            return
        xcb, server = found
        for window in windows(xcb, server, title.encode()):
            mapped = struct.pack("=BxHIIB19x", MAP_NOTIFY, 0, window, window, 0)
            expose = struct.pack("=BxHIHHHHH14x", EXPOSE, 0, window, 0, 0, 0x7FFF, 0x7FFF, 0)
            for event in (mapped, expose):
                xcb.xcb_send_event(server, 0, window, 0, event)  # mask 0: only to its creator
        xcb.xcb_flush(server)


def windows(xcb: ctypes.CDLL, server: ctypes.c_void_p, title: bytes) -> list[int]:
    """The windows with this title."""
    setup = ctypes.c_void_p(xcb.xcb_get_setup(server))
    level: list[int] = [xcb.xcb_setup_roots_iterator(setup).root[0]]
    found: list[int] = []
    for _ in range(DEPTH):
        # Send all requests before reading the first reply, since the server may be remote.
        asked = [xcb.xcb_query_tree(server, window) for window in level]
        trees = [copy_reply(xcb.xcb_query_tree_reply(server, it, None)) for it in asked]
        level = [child for tree in trees for child in children(tree)]
        what = WM_NAME, ANY_TYPE, 0, LONGEST_NAME
        asked = [xcb.xcb_get_property(server, 0, window, *what) for window in level]
        names = [copy_reply(xcb.xcb_get_property_reply(server, it, None)) for it in asked]
        found += [
            window for window, reply in zip(level, names, strict=True) if text(reply) == title
        ]
    return found


def children(reply: bytes) -> tuple[int, ...]:
    count = struct.unpack_from("=H", reply, 16)[0] if reply else 0
    return struct.unpack_from(f"={count}I", reply, 32) if count else ()


def text(reply: bytes) -> bytes:
    length = struct.unpack_from("=I", reply, 16)[0] if reply else 0
    return reply[32 : 32 + length]


def copy_reply(reply: int | None) -> bytes:
    """Copies and frees a reply from the server; empty if the window no longer exists."""
    if not reply:
        return b""
    words = struct.unpack("=I", ctypes.string_at(reply + 4, 4))[0]
    data = ctypes.string_at(reply, 32 + 4 * words)
    ctypes.CDLL(None).free(ctypes.c_void_p(reply))
    return data
