"""The keys of the window: the one table that the help, the README and the tests share."""

KEYS = {
    "q": "quit; so do Esc and the window's X",
    "+": "blur more",
    "-": "blur less",
    "b": "next background, where several are given",
    "v": "next view: result, alpha, split (not in calls)",
    "m": "mirror",
    "p": "people who stay: front, main, all",
    "h": "this help",
    "f": "statistics: frames/s, ms per stage, latency, dropped frames",
    "s": "save a picture in the current folder",
    "space": "hide everything until pressed again",
}


ALIASES = {"esc": "q", "=": "+"}  # other keys for the same, by the names `Window.key` gives them
