"""A mapping from names to classes or factories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from ..entry import Entry
from ..errors import UserError
from .files import load_from_file
from .names import UnknownNameError, unknown

E = TypeVar("E", bound=Entry)


class Registry(Mapping[str, Any], Generic[E]):
    """A mapping from names to classes or factories, of one kind.

    Args:
        kind: of the named objects, for messages.
        group: group of entry points of other packages.
        table: the built-in names.
        entry: type of the entries, which reads facts from an object.
        also: further names that resolve but are not listed, so that iteration over solvers excludes the peers.

    Example:
        >>> from invdiff.registry import operators
        >>> operators["blur"].__name__
        'Blur'
        >>> operators["blurr"]
        Traceback (most recent call last):
        ...
        invdiff.registry.names.UnknownNameError: unknown operator 'blurr'; did you mean 'blur'?
    """

    def __init__(
        self, kind: str, group: str, table: Mapping[str, E], entry: type[E], also: Registry[E] | None = None
    ) -> None:
        self.kind, self.group, self._table = kind, group, dict[str, Entry](table)
        self._entry, self._also = entry, also

    def entries(self) -> dict[str, Entry]:
        """Return all entries, built-in ones first, then those of installed packages."""
        found = dict(self._table)
        for point in entry_points(group=self.group):
            dist = point.dist.name if point.dist else "an installed package"
            found.setdefault(point.name, Entry(point.value, f"from {dist}", dist))
        return found

    def register(self, name: str, target: str, summary: str) -> None:
        """Add an entry for this process.

        Args:
            name: the new name.
            target: `module:attribute`.
            summary: one line for listings.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._table:
            raise UserError(f"{self.kind} {name!r} is registered already; choose another name")
        self._table[name] = Entry(target, summary, "registered")

    def facts(self, name: str) -> E:
        """Return the facts that the object of that name states.

        Built-in objects are not imported for that; those of packages and files are.
        """
        if ".py:" in name:
            return self._entry.of(self[name], Entry(name, f"from {name.rpartition(':')[0]}", "a file"))
        return self.described(self._known(name))

    def described(self, entry: Entry) -> E:
        """Return an entry with the facts that its object states, which is imported unless they stand there."""
        return entry if isinstance(entry, self._entry) else self._entry.of(entry.load(), entry)

    def __getitem__(self, name: str) -> Any:
        """Return the object of that name, or of `path/to/file.py:Name`."""
        if ".py:" in name:
            return load_from_file(name)
        return self._known(name).load()

    def _known(self, name: str) -> Entry:
        if name in self._table:  # looking through installed packages is slow
            return self._table[name]
        found = self.entries() | (self._also.entries() if self._also is not None else {})
        if name not in found:
            raise UnknownNameError(unknown(self.kind, name, found))
        return found[name]

    def __contains__(self, name: object) -> bool:
        """Return whether a name is known."""
        return name in self._table or name in self.entries() or (self._also is not None and name in self._also)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.entries())

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self.entries())
