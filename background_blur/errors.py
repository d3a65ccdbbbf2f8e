"""Errors that a user can cause or fix: one line each, with what was wrong and what to do."""

FEW = 3  # pictures named on one line, at most


class UserError(Exception):
    """A problem that the user can do something about.

    Attributes:
        problem: what was wrong.
        hint: what to do about it, unless `problem` already says so.
    """

    def __init__(self, problem: str, hint: str = ""):
        self.problem, self.hint = problem, hint
        super().__init__(f"{problem}; {hint}" if hint else problem)

    @property
    def lines(self) -> list[str]:
        """What to tell the user; one line by default."""
        return [str(self)]


class SourceError(UserError):
    """A source that cannot be opened or read any further."""


class PicturesError(SourceError):
    """Pictures in a folder that cannot be read: one line for a few, otherwise one each."""

    def __init__(self, errors: list[SourceError], count: int):
        """Takes the reason for each one left out, and the total number of pictures."""
        head, reasons = f"{len(errors)} of {count} pictures left out:", [str(it) for it in errors]
        super().__init__(f"{head} {'; '.join(reasons)}")
        self.each = [] if len(errors) <= FEW else [head, *reasons]

    @property
    def lines(self) -> list[str]:
        return self.each or super().lines


class SinkError(UserError):
    """Frames that cannot be written or shown."""


class WeightsError(UserError):
    """Weights that are missing, damaged or for another network."""


class BackgroundError(UserError):
    """A background that cannot be opened."""
