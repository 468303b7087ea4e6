"""Reports of checks: a line for each property, with the remedy for a failure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One property of an operator, a prior or a solver.

    Attributes:
        name: of the property.
        ok: whether it holds.
        detail: the measured value.
        advice: the remedy if it does not hold.
    """

    name: str
    ok: bool
    detail: str
    advice: str

    def __str__(self) -> str:
        """Return one line, with the advice if the check failed."""
        line = f"{'ok    ' if self.ok else 'FAILED'}  {self.name:<16}  {self.detail}"
        return line if self.ok else f"{line}\n{'':26}-> {self.advice}"


@dataclass(frozen=True)
class Report:
    """The result of checks.

    Attributes:
        subject: description of the checked object.
        checks: one for each property, in the order of the checks.
    """

    subject: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(c.ok for c in self.checks)

    def raise_if_failed(self) -> Report:
        """Return this report if every check passed.

        Raises:
            AssertionError: one of them did not; the message is the report.
        """
        if not self.ok:
            raise AssertionError(str(self))
        return self

    def __str__(self) -> str:
        """Return the subject and a line for each check."""
        failed = sum(not c.ok for c in self.checks)
        end = "every check passed" if not failed else f"{failed} of {len(self.checks)} checks failed"
        return "\n".join([self.subject, *map(str, self.checks), end])
