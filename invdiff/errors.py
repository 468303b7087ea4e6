"""Errors of the user, as opposed to faults of this package.

    UserError        an invalid name, option, file or number of the user; the message says what is valid
      NotApplicable  a solver cannot do a task; another solver, or another form of the task, may
      UserTypeError  an object of a wrong type from the user

All of them are `ValueError`s. The command line ends with exit code 2 and the message. Any other exception, also a plain
`ValueError` or `TypeError`, is a fault of this package, and a benchmark's cell that raises one has failed. So checks
between parts of the package raise plain errors.
"""

from __future__ import annotations


class UserError(ValueError):
    """An invalid request of the user; the message says what was expected, what came, and what to do.

    Example:
        >>> from invdiff.specs import parse_spec
        >>> parse_spec("blur:sigma")
        Traceback (most recent call last):
        invdiff.errors.UserError: 'blur:sigma': expected a value, as in sigma=true or sigma=3, got 'sigma' alone
    """


class NotApplicable(UserError):
    """A solver cannot do a task: an unmet need, or a problem that is too large for it."""


class UserTypeError(UserError, TypeError):
    """An object of a wrong type from the user."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type's name where it has none.

    Example:
        >>> first_line(OSError("no space left")), first_line(ValueError())
        ('no space left', 'ValueError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
