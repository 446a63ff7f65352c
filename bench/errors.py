"""What a user did wrong, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user's: one line that says what is wrong, what was got, and what to do next.

    The command line prints the line and exits with code 2, without a traceback.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that nothing has, with the near ones (`Did you mean: ...?`) or all of them."""
    name, names = str(name), sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"Did you mean: {', '.join(near)}?" if near else f"Known: {', '.join(names) or 'none'}."
    return UserError(f"Unknown {kind} {name!r}. {hint}")
