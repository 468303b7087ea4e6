"""The formats of images for `invdiff list formats`: their files, whether they are written, and what they need."""

from __future__ import annotations

from PIL import Image

from ..entry import Entry
from ..images.content import FormatEntry, formats
from ..images.extras import is_installed, package_of


def format_entries() -> dict[str, Entry]:
    """Return the entries of all formats with the facts of their classes, and that of Pillow, which takes the rest."""
    found: dict[str, Entry] = {}
    for name, entry in formats.entries().items():
        try:
            found[name] = FormatEntry.of(entry.load(), entry)
        except Exception as error:  # another package's code; the list of all others must not fail with it
            found[name] = Entry(
                entry.target, f"{entry.summary}; fails to load: {type(error).__name__}: {error}", entry.source
            )
    return {**found, "pillow": _pillow([s for e in found.values() if isinstance(e, FormatEntry) for s in e.suffixes])}


def _pillow(taken: list[str]) -> FormatEntry:
    """Return the entry of the formats that Pillow opens and no other reader takes."""
    Image.init()
    opened = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    first = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".jp2", ".ppm")
    others = sorted(opened - set(taken) - set(first))
    target = "invdiff.images.photographs:read_photograph"
    return FormatEntry(target, "PNG, JPEG, WebP and other pictures, by Pillow", suffixes=(*first, *others), writes=True)


def format_facts(entry: Entry) -> str:
    """Return one line: the ends of the names, whether it is written, and the package that it needs."""
    if not isinstance(entry, FormatEntry):
        return ""
    shown = " ".join(entry.suffixes[:8]) + (f" and {len(entry.suffixes) - 8} more" if len(entry.suffixes) > 8 else "")
    words = [shown, "read and written" if entry.writes else "read"]
    if entry.needs:
        have = is_installed(entry.needs)
        words.append(f"{package_of(entry.needs)} is " + ("installed" if have else "missing: install invdiff[science]"))
    return "; ".join(words)


def format_record(entry: Entry) -> dict[str, object]:
    """Return the facts of a format for JSON; none for one that fails to load."""
    if not isinstance(entry, FormatEntry):
        return {}
    return {
        "suffixes": list(entry.suffixes),
        "writes": entry.writes,
        "needs": package_of(entry.needs) if entry.needs else None,
        "installed": not entry.needs or is_installed(entry.needs),
    }
