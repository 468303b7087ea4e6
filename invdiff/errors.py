"""Errors that say who is at fault.

    UserError        the user's: a name, an option, a file or a number that does not do; the message says what does
      NotApplicable  a solver cannot do a task; another solver, or another form of the task, can
      UserTypeError  the user's: an object of another type

All of them are `ValueError`s. The command line ends with exit code 2 and the message. Any other exception is a fault of
this package, a plain `ValueError` or `TypeError` too, and a benchmark's cell that raises one has failed; so a check of
what one part of the package gives to another raises these.
"""

from __future__ import annotations


class UserError(ValueError):
    """What the user asked for cannot be; the message says what was expected, what came, and what to do.

    Example:
        >>> from invdiff.specs import parse_spec
        >>> parse_spec("blur:sigma")
        Traceback (most recent call last):
        invdiff.errors.UserError: 'blur:sigma': expected a value, as in sigma=true or sigma=3, got 'sigma' alone
    """


class NotApplicable(UserError):
    """A solver cannot do a task: an unmet need, or a problem that is too large for it."""


class UserTypeError(UserError, TypeError):
    """The user gave an object of another type than is expected."""
