"""Errors a user can cause or mend: each is one line that says what was wrong and what to do."""


class UserError(Exception):
    """Something the user can do something about.

    Attributes:
        problem: what was wrong.
        hint: what to do about it, where `problem` does not already end with that.
    """

    def __init__(self, problem: str, hint: str = ""):
        self.problem, self.hint = problem, hint
        super().__init__(f"{problem}; {hint}" if hint else problem)


class SourceError(UserError):
    """A source that cannot be opened or read any further."""


class SinkError(UserError):
    """Frames that cannot be written or shown where they should go."""


class WeightsError(UserError):
    """Weights that are missing, damaged or another network's."""


class BackgroundError(UserError):
    """A background that cannot be opened."""
