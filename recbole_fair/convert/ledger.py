"""The account of every line that was read: kept, or left out for a reason that the manifest names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from recbole_fair.errors import UsageError

_SHOWN = 60


class BadLineError(ValueError):
    """A line that is not what its source promises; the message is the reason it is counted under.

    `value` and `expected` are of the one field that is bad, where it is known.
    """

    def __init__(self, reason: str, value: str = "", expected: str = "") -> None:
        super().__init__(reason)
        self.value, self.expected = value, expected


class RefusedLineError(UsageError):
    """A bad line that ends the conversion."""


class Ledger:
    """Counts lines by table, file and reason; the first bad line ends the conversion unless they are to be dropped.

    `reading` names the table in the making (inter, user, item): a file may feed several of them.
    """

    def __init__(self, drop: bool = False) -> None:
        self.drop = drop
        self.reading = ""
        self.read: Counter[tuple[str, str]] = Counter()
        self.dropped: Counter[tuple[str, str, str]] = Counter()
        self.noted: Counter[tuple[str, str]] = Counter()

    def count(self, path: Path, rows: int = 1) -> None:
        """Rows that were looked at, good or bad."""
        self.read[self.reading, path.name] += rows

    def reject(self, path: Path, line: int, error: BadLineError, expected: str, content: str = "") -> None:
        """Leave a line out and count it, or refuse the file."""
        if not self.drop:
            text = error.value or content
            shown = f" (it reads {text[:_SHOWN]!r})" if text else ""
            raise RefusedLineError(f"{path}, line {line}: {error}{shown}; expected {error.expected or expected}")
        self.dropped[self.reading, path.name, str(error)] += 1

    def note(self, what: str, rows: int = 1) -> None:
        """Something the manifest should say of rows that were kept, or made."""
        if rows:
            self.noted[self.reading, what] += rows

    def account(self) -> dict[str, dict[str, dict[str, object]]]:
        """By table and file: rows read, kept, dropped and why."""
        tables: dict[str, dict[str, dict[str, object]]] = {}
        for (table, name), rows in sorted(self.read.items()):
            reasons = {reason: n for (t, f, reason), n in sorted(self.dropped.items()) if (t, f) == (table, name)}
            account = {"read": rows, "kept": rows - sum(reasons.values()), "dropped": reasons}
            tables.setdefault(table, {})[name] = account
        return tables

    def notes(self) -> dict[str, dict[str, int]]:
        """By table: what was noted, how often."""
        notes: dict[str, dict[str, int]] = {}
        for (table, what), rows in sorted(self.noted.items()):
            notes.setdefault(table, {})[what] = rows
        return notes
