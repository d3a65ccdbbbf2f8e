"""The little that OpenCV's Qt leaves undone on X, spoken to the server through libxcb."""

import ctypes
import struct
from contextlib import contextmanager

WM_NAME, ANY_TYPE, MAP_NOTIFY, EXPOSE = 39, 0, 19, 12  # of the X protocol
LONGEST_NAME = 64  # in words of 4 bytes
DEPTH = 3  # window managers put windows into frames, and these into desktops


class Screens(ctypes.Structure):
    """libxcb's iterator over screens; a screen begins with the number of its root window."""

    _fields_ = [
        ("root", ctypes.POINTER(ctypes.c_uint32)),
        ("rest", ctypes.c_int),
        ("index", ctypes.c_int),
    ]


@contextmanager
def on_native_exit(say):
    """Calls `say` if C code ends the process meanwhile, as Qt does when its server goes away."""
    libc, mine = ctypes.CDLL(None), ctypes.c_int()  # by whose address it is known
    inside = True
    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: say() if inside else None)
    libc.__cxa_atexit(callback, None, ctypes.byref(mine))
    try:
        yield
    finally:
        inside = False
        libc.__cxa_finalize(ctypes.byref(mine))  # calls and forgets it


@contextmanager
def connection():
    """Yields (libxcb, a connection to the server that DISPLAY names), or None if there is none."""
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
    """Whether there is a server, and it lets us in."""
    with connection() as found:
        return found is not None


def force_redraw(title: str) -> None:
    """Tells the windows of that title once more that they are on the screen and to be drawn.

    On a busy machine Qt loses such news now and then, and the window would stay black for ever.
    News that it has already makes it draw once more, and no harm.
    """
    with connection() as found:
        if not found:
            return
        xcb, server = found
        for window in windows(xcb, server, title.encode()):
            mapped = struct.pack("=BxHIIB19x", MAP_NOTIFY, 0, window, window, 0)
            expose = struct.pack("=BxHIHHHHH14x", EXPOSE, 0, window, 0, 0, 0x7FFF, 0x7FFF, 0)
            for event in (mapped, expose):
                xcb.xcb_send_event(server, 0, window, 0, event)  # 0: to its maker alone
        xcb.xcb_flush(server)


def windows(xcb, server, title: bytes) -> list[int]:
    """The windows with that title."""
    setup = ctypes.c_void_p(xcb.xcb_get_setup(server))
    level = [xcb.xcb_setup_roots_iterator(setup).root[0]]
    found = []
    for _ in range(DEPTH):
        # All is asked before the first answer is read: the server may be far away.
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
    """Copies a reply of the server and frees it; a window gone meanwhile gives none."""
    if not reply:
        return b""
    words = struct.unpack("=I", ctypes.string_at(reply + 4, 4))[0]
    data = ctypes.string_at(reply, 32 + 4 * words)
    ctypes.CDLL(None).free(ctypes.c_void_p(reply))
    return data
