"""Text in Markdown and LaTeX: what a format would read as its own is escaped."""

from __future__ import annotations

import re

import pandas as pd

LONG = 80  # characters of a title, beyond which it takes several lines


def markdown_text(text: str) -> str:
    """Text in a table or a line of GitHub's Markdown."""
    return "".join(f"\\{c}" if c in "\\|_*<" else c for c in text)


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
    """Text in LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "]": "{]}"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"}
    return "".join(special.get(c, c) for c in text)


def first_column(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Escaped texts and their first column's format: a paragraph, broken at commas, where a title is too long.

    Args:
        frame: texts that are escaped already, titles first.
    """
    titles = frame.iloc[:, 0]
    if titles.str.len().max() <= LONG:
        return frame, "l"
    return frame.assign(**{str(frame.columns[0]): titles.str.replace(",", r",\allowbreak{}", regex=False)}), "p{5cm}"
