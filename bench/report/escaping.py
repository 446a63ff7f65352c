"""Text in Markdown, LaTeX and CSV: what a format would read as its own is escaped, whoever chose the name."""

from __future__ import annotations

import re
import unicodedata

import pandas as pd

from bench.records.spreadsheets import guarded

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "]": "{]}", "|": r"\textbar{}", "*": "{*}"}
_SPECIAL |= {c: f"\\{c}" for c in "&%$#_{}"}
# Beyond ASCII: what pdflatex sets in every encoding of fonts.
_SPECIAL |= dict(zip("\u2013\u2014\u2018\u2019\u201c\u201d", ("--", "---", "`", "'", "``", "''"), strict=True))
_SPECIAL |= {"\u2026": r"\ldots{}", "\u00df": r"\ss{}", "\u00f8": r"\o{}", "\u00d8": r"\O{}", "\u00a0": "~"}
_SPECIAL |= {"\u00e6": r"\ae{}", "\u00c6": r"\AE{}", "\u00e5": r"\r{a}", "\u00c5": r"\r{A}", "\u0131": r"\i{}"}
_SPECIAL |= {"\u0142": r"\l{}", "\u0141": r"\L{}", "\u0153": r"\oe{}", "\u0152": r"\OE{}"}
_MATH = {"\u00b1": "pm", "\u00d7": "times", "\u00b5": "mu", "\u2264": "le", "\u2265": "ge", "\u2192": "to"}
_SPECIAL |= {c: f"\\ensuremath{{\\{word}}}" for c, word in _MATH.items()}
_SPECIAL |= {
    "\u2020": r"\ensuremath{^\dagger}",
    "\u2021": r"\ensuremath{^\ddagger}",
    "\u00b0": r"\ensuremath{^\circ}",
    "\u2212": r"\ensuremath{-}",
    "\u00b7": r"\ensuremath{\cdot}",
}
_GREEK = [
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu"),
    *("xi", "omicron", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
]
_SPECIAL |= {chr(0x3B1 + k): f"\\ensuremath{{\\{word}}}" for k, word in enumerate(_GREEK) if word != "omicron"}
_CAPITALS = ["gamma", "delta", "theta", "xi", "pi", "sigma", "phi", "psi", "omega"]
_SPECIAL |= {chr(0x391 + _GREEK.index(word)): f"\\ensuremath{{\\{word.capitalize()}}}" for word in _CAPITALS}
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030c": "v", "\u0327": "c"}
LONG = 80  # characters of a title, beyond which it takes several lines


def plain(text: str) -> str:
    """Text of one line: line ends, tabs and other controls are spaces, what has no shape of its own is left out."""
    spaced = "".join(" " if c.isspace() or unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return "".join(c for c in spaced if unicodedata.category(c) not in ("Cf", "Cs", "Co"))


def markdown_text(text: str) -> str:
    """Text in a table or a line of GitHub's Markdown."""
    escaped = "".join(f"\\{c}" if c in "\\|_*<" else c for c in plain(text))
    return re.sub(r"&(?=#?\w+;)", r"\\&", escaped.replace("](", "]\\(").replace("~~", "\\~\\~"))


def stacked(header: str, narrow: bool = False) -> str:
    """A header of one word a line: what a wide table has least of is width.

    Args:
        narrow: the percent sign, and the sides of an input after its channels, are on lines of their own too.
    """
    text = latex_text(header)
    if narrow:
        return "\\shortstack{" + re.sub(r"\((\d+x\d+x)(\d+x\d+)", r"(\1 \2", text).replace(" ", "\\\\") + "}"
    return "\\shortstack{" + text.replace(" \\%", "~\\%").replace(" ", "\\\\") + "}"


def latex_text(text: str) -> str:
    """Text in LaTeX that pdflatex sets with its default fonts; what it cannot set is transliterated."""
    return "".join(_latex_character(c) for c in plain(unicodedata.normalize("NFC", text)))


def _latex_character(c: str) -> str:
    if c in _SPECIAL:
        return _SPECIAL[c]
    if c < "\x7f":
        return c
    parts = unicodedata.normalize("NFD", c)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        letter = f"\\{parts[0]}{{}}" if parts[0] in "ij" else parts[0]
        return f"\\{_ACCENTS[parts[1]]}{{{letter}}}"
    near = "".join(part for part in unicodedata.normalize("NFKD", c).replace("\u2044", "/") if part.isascii())
    return "".join(_SPECIAL.get(part, part) for part in near or _named(c))


def _named(c: str) -> str:
    """A character in ASCII: a letter by its name (`zhe`), a symbol by its name in brackets, any other by its number."""
    name = unicodedata.name(c, "")
    letter = re.fullmatch(r"(?:.*? )?(?:(SMALL|CAPITAL) )?(?:LETTER|SYLLABLE) (.+?)(?: WITH .*)?", name)
    if unicodedata.combining(c) or unicodedata.category(c) == "Mn":
        return ""
    if letter:
        return letter[2].capitalize() if letter[1] == "CAPITAL" else letter[2].lower()
    if name and unicodedata.category(c).startswith("S"):
        return f"[{name.lower()}]"
    return f"[U+{ord(c):04X}]"


def first_column(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Escaped texts and their first column's format: a paragraph, broken at commas, where a title is too long.

    Args:
        frame: texts that are escaped already, titles first.
    """
    titles = frame.iloc[:, 0]
    if titles.str.len().max() <= LONG:
        return frame, "l"
    return frame.assign(**{str(frame.columns[0]): titles.str.replace(",", r",\allowbreak{}", regex=False)}), "p{5cm}"


def latex_label(text: str) -> str:
    """A name in `\\label`: letters, digits and what cannot end a macro's argument."""
    return re.sub(r"[^A-Za-z0-9_:.\-]+", "-", text)


def csv_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame for a CSV: a text that a spreadsheet would take for a formula gets an apostrophe, numbers are kept.

    A carriage return, which ends a row for a spreadsheet and is not quoted, becomes a line end, which is.
    """
    safe = frame.copy(deep=False)
    for name in frame.select_dtypes(exclude=["number", "bool"]):
        safe[name] = frame[name].map(csv_cell)
    return safe.rename(columns=csv_cell)


def csv_text(frame: pd.DataFrame) -> str:
    """The frame as a CSV that a spreadsheet may open, without its index."""
    return csv_safe(frame).to_csv(index=False, lineterminator="\n")


def csv_cell(value: object) -> object:
    """A value as `csv_safe` has it."""
    if not isinstance(value, str):
        return value
    return guarded(value.replace("\r\n", "\n").replace("\r", "\n"))
