"""How wide a text is in LaTeX's own font, so that a table is made to fit before it is set."""

from __future__ import annotations

import re

from bench.errors import UserError

# Computer Modern Roman, thousandths of an em, from the space on; other fonts of papers are narrower.
_EM = (
    *(333, 277, 500, 833, 500, 833, 777, 277, 388, 388, 500, 777, 277, 333, 277, 500, 500, 500, 500, 500),
    *(500, 500, 500, 500, 500, 500, 277, 277, 277, 777, 472, 472, 777, 750, 708, 722, 763, 680, 652, 784),
    *(750, 361, 513, 777, 625, 916, 750, 777, 680, 777, 736, 555, 722, 750, 750, 1027, 750, 750, 611, 277),
    *(500, 277, 500, 277, 277, 500, 555, 444, 555, 444, 305, 500, 555, 277, 305, 527, 277, 833, 555, 500),
    *(555, 527, 391, 394, 388, 555, 527, 722, 527, 527, 444, 500, 1000, 500, 500),
)
_OTHER = 777  # of what is not ASCII: signs such as the minus
SIZES = {"small": 9.0, "footnotesize": 8.0, "scriptsize": 7.0, "tiny": 5.0}  # pt, in a class of 10 pt
_GROWN = {10.0: 1.0, 9.0: 1.028, 8.0: 1.063, 7.0: 1.139, 5.0: 1.36}  # small sizes are cut wider
POINTS = {"pt": 1.0, "mm": 72.27 / 25.4, "cm": 72.27 / 2.54, "in": 72.27, "bp": 72.27 / 72}
# What a length of the user's own document is at least, in pt: a column of two, a text of one.
LENGTHS = {"\\columnwidth": 242.0, "\\linewidth": 242.0, "\\textwidth": 347.0}


def text_width(text: str, size: float) -> float:
    """The width of a line of plain text at a size, both in pt."""
    em = sum(_EM[ord(c) - 32] if " " <= c <= "~" else _OTHER for c in text)
    return em / 1000 * size * _GROWN.get(size, 1.0)


def line_count(text: str, width: float, size: float = 9.0) -> int:
    """How many lines a paragraph of plain text takes at a width, both in pt."""
    lines, used, space = 1, 0.0, text_width(" ", size)
    for word in text.split():
        wide = text_width(word, size)
        if used and used + space + wide > width:
            lines, used = lines + 1, wide
        else:
            used += wide + (space if used else 0)
    return lines


def points_of(width: str) -> float:
    """A width in pt: `122mm`, `4.8in`, or `\\columnwidth`, `\\textwidth`, which are taken as a narrow paper's.

    Raises:
        UserError: no such length.
    """
    if width in LENGTHS:
        return LENGTHS[width]
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", width)
    if found is None or found[2] not in POINTS or not 50 <= float(found[1]) * POINTS[found[2]] <= 2000:
        raise UserError(
            f"Expected --width to be {', '.join(LENGTHS)} or a length of 18 to 700 mm in {', '.join(POINTS)} (122mm), "
            f"but got {width!r}."
        )
    return float(found[1]) * POINTS[found[2]]
