"""The keys of the window: the one table that the help, the README and the tests share."""

KEYS = {
    "q": "quit (also Esc)",
    "+": "blur more",
    "-": "blur less",
    "b": "next background",
    "v": "next view: result, alpha, split",
    "m": "mirror",
    "p": "who stays sharp: front, main, all",
    "h": "show or hide this help",
    "f": "show or hide statistics",
    "s": "save a picture in this folder",
    "space": "hide everything, or show it again",
    "n": "next photo (also right arrow)",
    "left": "previous photo (also Backspace)",
}
FOR_PHOTOS = "n", "left"

# Other keys that do the same, by the names that `Window.key` gives them.
ALIASES = {"esc": "q", "=": "+", "right": "n", "backspace": "left"}
