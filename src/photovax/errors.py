"""Errors that the library raises on purpose, and their exit codes.

PhotovaxError                    1  base class
├── UsageError                   2  a wrong option, name or value
│   └── UnknownName              2  no part, recipe or model has this name
├── PhotoError                   3  a picture that cannot be read
│   ├── UnreadablePhoto          3  not a picture, truncated, a folder, missing …
│   ├── AnimatedPhoto            3  more than one frame
│   └── TooManyPixels            3  more pixels than the limit
├── SaveError                    4  a result that cannot be written
│   └── OutputExists             4  an output file exists and may not be replaced
├── BudgetExceeded               5  a saved file would exceed its budget
│   └── BudgetSpent              5  a renewal without any budget left
├── ModelError                   6  weights that are missing, damaged or do not fit
│   └── WeightsMissing           6  weights that are not on this machine
├── OptimiserError               7  a descent that cannot continue
│   ├── LossShapeError           7  an objective that does not return one number per image
│   └── GradientError            7  gradients that are not finite
│       └── ZeroGradient         7  gradients that are zero everywhere
├── MetricUnavailable            8  a metric whose package, weights or memory are missing
├── CertificateError             9  a certificate or key that is not valid
└── Interrupted                130  stopped by the user before there was a result

The service, its client and clusters add errors of their own, whose exit code is 1.

A message is one line with the value that was given and the values that are allowed. A hint says
what to type at the command line; only the command line prints it.
"""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class PhotovaxError(Exception):
    """Base class of all errors that photovax raises on purpose.

    Args:
        message: Value that was given and values that are allowed, in one line.
        hint: Remedy at the command line; None if the message is enough.

    Attributes:
        exit_code: Exit code of the command line.
        hint: Remedy at the command line, or None.
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
    """No part, recipe or model has this name."""


class PhotoError(PhotovaxError):
    """A picture that cannot be read."""

    exit_code = 3


class UnreadablePhoto(PhotoError):
    """A file that is not a picture, is truncated, is a folder, is missing, or may not be read."""


class AnimatedPhoto(PhotoError):
    """A picture with several frames; photovax writes single frames only."""


class TooManyPixels(PhotoError):
    """A picture with more pixels than the limit for decoding."""


class SaveError(PhotovaxError):
    """A result that cannot be written."""

    exit_code = 4


class OutputExists(SaveError):
    """An output file exists and may not be replaced."""


class BudgetExceeded(PhotovaxError):
    """A saved file would exceed its budget, or no file can stay within it."""

    exit_code = 5


class BudgetSpent(BudgetExceeded):
    """A renewal without any of the total budget left."""


class ModelError(PhotovaxError):
    """Weights that are missing, damaged or do not fit."""

    exit_code = 6


class WeightsMissing(ModelError):
    """Weights of a model in the catalogue that are not on this machine."""


class OptimiserError(PhotovaxError):
    """A descent that cannot continue."""

    exit_code = 7


class LossShapeError(OptimiserError):
    """An objective that does not return one number per image."""


class GradientError(OptimiserError):
    """Gradients that are not finite."""


class ZeroGradient(GradientError):
    """A gradient that is zero everywhere."""


class MetricUnavailable(PhotovaxError):
    """A metric whose package or weights are missing, or for which memory ran out."""

    exit_code = 8


class CertificateError(PhotovaxError):
    """A certificate or key that is not valid."""

    exit_code = 9


class Interrupted(PhotovaxError):
    """Stopped by the user before there was a result."""

    exit_code = 130
