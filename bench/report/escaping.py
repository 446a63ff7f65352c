"""Text in Markdown and LaTeX: what a format would read as its own is escaped."""

from __future__ import annotations

import re


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
