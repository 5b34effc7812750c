"""The errors that spedge raises. Each class carries the exit code of the command line."""

from __future__ import annotations


def line_of(error: Exception) -> str:
    """What a library says of an error, in a line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


class SpedgeError(Exception):
    """Something went wrong that the user can act on; the message is one sentence that says how."""

    exit_code: int = 1


class CheckFailed(SpedgeError):
    """A comparison did not hold: the device and the reference disagree."""

    exit_code = 1


class UsageError(SpedgeError, ValueError):
    """A parameter or an option is wrong."""

    exit_code = 2


class DeviceError(SpedgeError):
    """A device or the link to it failed."""

    exit_code = 3


class DeviceGone(DeviceError):
    """There is none, or not any more: it ended, its line broke, it restarted, another program took it over."""


class DeviceRefused(DeviceError):
    """It is there, and does not do what it is asked; or may not be used."""


class DeviceTimeout(DeviceError):
    """It does not answer, or does not get on, in time."""


class InputError(SpedgeError, ValueError):
    """An input file or array is damaged or not what was expected."""

    exit_code = 4


class CutError(InputError):
    """A recording ends before its end; what came before it is good and was handed out."""
