"""What a user did wrong, said in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType


class UserError(Exception):
    """A mistake of the user's: one line that says what is wrong, what was got, and what to do next.

    The command line prints the line and exits with code 2, without a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """The text as one line that any UTF-8 terminal takes: names of files are bytes, and may hold whatever bytes."""
    line = re.sub(r"\s*[\r\n]+\s*", " ", text)
    return re.sub("[\x00-\x1f\x7f\ud800-\udfff]", lambda found: _escaped(ord(found[0])), line)


def _escaped(code: int) -> str:
    return f"\\x{code % 256:02x}" if code < 256 or 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def unknown(kind: str, name: str, known: Iterable[str], others: Mapping[str, str] = MappingProxyType({})) -> UserError:
    """The error for a name that nothing has, with the near ones (`Did you mean: ...?`) or all of them.

    Args:
        others: what a known name is called elsewhere, such as its title in tables -> that name.
    """
    name, names = str(name), sorted(known)
    meant: dict[str, list[str]] = {}
    for text, of in [*zip(names, names, strict=True), *others.items()]:
        meant.setdefault(_levelled(text), []).append(of)
    closest = difflib.get_close_matches(_levelled(name), meant, n=len(meant) or 1, cutoff=0.5)
    near = list(dict.fromkeys(of for text in closest for of in meant[text]))[:3]
    hint = f"Did you mean: {', '.join(near)}?" if near else f"Known: {', '.join(names) or 'none'}."
    return UserError(f"Unknown {kind} {name!r}. {hint}")


def _levelled(name: str) -> str:
    """A name as near ones are compared: small letters, `-` and blanks as `_`."""
    return re.sub("[- ]", "_", name.lower())
