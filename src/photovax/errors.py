"""Everything that photovax raises on purpose, and the exit code that each gives.

PhotovaxError                    1  base of all
├── UsageError                   2  a wrong option, name or value
│   └── UnknownName              2  no part, recipe or model is called that
├── PhotoError                   3  a picture that cannot be read
│   ├── UnreadablePhoto          3  not a picture, cut short, a folder, missing …
│   ├── AnimatedPhoto            3  more than one frame
│   └── TooManyPixels            3  more pixels than the setting allows
├── SaveError                    4  a result that cannot be written
│   └── OutputExists             4  the file is there and may not be replaced
├── BudgetExceeded               5  the saved file would change more than was promised
│   └── BudgetSpent              5  a renewal, but nothing of the budget is left
├── ModelError                   6  weights that are missing, damaged or do not fit
├── OptimiserError               7  the attack itself cannot go on
│   ├── LossShapeError           7  an objective did not give one number per image
│   └── GradientError            7  gradients that are not finite, or all zero
├── MetricUnavailable            8  a metric whose package or weights are missing
├── CertificateError             9  a certificate or key that does not hold
└── Interrupted                130  stopped by the user before there was a result

A message is one line that says what was got and what is allowed. What to type at the command line
is the error's hint, which only the command line prints.
"""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """What a library's error says, in one line; its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class PhotovaxError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: What was got and what is allowed, in one line.
        hint: How to put it right at the command line; None where the message says enough.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def line(self) -> str:
        """The message and the hint, for people at a command line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class UsageError(PhotovaxError):
    """A wrong option, name or value."""

    exit_code = 2


class UnknownName(UsageError):
    """No part, recipe or model is called that."""


class PhotoError(PhotovaxError):
    """A picture that cannot be read."""

    exit_code = 3


class UnreadablePhoto(PhotoError):
    """Not a picture, cut short, a folder, missing, or not allowed to be read."""


class AnimatedPhoto(PhotoError):
    """A picture with several frames, of which all but one would be lost."""


class TooManyPixels(PhotoError):
    """A picture with more pixels than the setting allows to decode."""


class SaveError(PhotovaxError):
    """A result that cannot be written."""

    exit_code = 4


class OutputExists(SaveError):
    """The file is there already and may not be replaced."""


class BudgetExceeded(PhotovaxError):
    """The saved file would change the photo by more than was promised."""

    exit_code = 5


class BudgetSpent(BudgetExceeded):
    """A renewal for which nothing of the total budget is left."""


class ModelError(PhotovaxError):
    """Weights that are missing, damaged or do not fit."""

    exit_code = 6


class OptimiserError(PhotovaxError):
    """The attack itself cannot go on."""

    exit_code = 7


class LossShapeError(OptimiserError):
    """An objective did not give one number per image."""


class GradientError(OptimiserError):
    """Gradients that are not finite, or zero everywhere."""


class MetricUnavailable(PhotovaxError):
    """A metric whose package or weights are missing."""

    exit_code = 8


class CertificateError(PhotovaxError):
    """A certificate or key that does not hold."""

    exit_code = 9


class Interrupted(PhotovaxError):
    """Stopped by the user before there was a result."""

    exit_code = 130
