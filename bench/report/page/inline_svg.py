"""A figure as SVG inside a page: its text stays text, its colours follow the page's theme, no style is inline.

A strict content security policy forbids `style=`, so that matplotlib's become attributes. Names in a figure are the
user's: the tree is parsed and written by a library, which escapes them.
"""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG

from bench.report.drawing import style
from bench.report.figures import Drawing

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# Colour of the style -> what the page's style sheet calls it, in light and in dark.
THEMED = {
    style.INK.lower(): "currentColor",
    style.PAPER.lower(): "var(--paper)",
    style.BLUE.lower(): "var(--blue)",
    style.GREY.lower(): "var(--grey)",
    style.LIGHT.lower(): "var(--light)",
}
POINTED = ". Pointing at a point shows its case and figure; of many points, at the lowest of each row."
DROPPED = {"font-family", "font-style", "white-space"}
_NUMBERS = re.compile(r"(\d\.\d\d)\d+")
_PLACED = ("d", "x", "y", "width", "height", "transform", "viewBox")


@dataclass(frozen=True)
class InlineFigure:
    """An SVG element, or an image within the page, and what it shows in words, which stands below it."""

    element: Markup
    caption: str


def inline_image(png: bytes, caption: str, words: str) -> InlineFigure:
    """A picture as a part of the page; `words`, what can be said of it, are read aloud in its place."""
    data = base64.b64encode(png).decode()
    return InlineFigure(Markup('<img src="data:image/png;base64,{}" alt="{}">').format(data, words), caption)


def inline(drawing: Drawing) -> InlineFigure:
    """The figure of a drawing, whose title becomes the caption."""
    figure = drawing.figure
    caption = " ".join(figure.get_suptitle().split())
    lines = figure.get_suptitle().count("\n") + 1
    figure.suptitle("")
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() - 0.14 * lines)
    style.lay_out(figure)
    buffer = io.StringIO()
    for patch in (figure.patch, *(axis.patch for axis in figure.axes)):
        patch.set_visible(False)  # the page's paper
    with matplotlib.rc_context({**style.STYLE, "svg.hashsalt": drawing.name}):
        # not by savefig, which draws all of it once more before
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    words = style.named_points(figure)
    return InlineFigure(Markup(_clean(buffer.getvalue(), caption, words)), f"{caption}{POINTED * bool(words)}")


def _with_words(root: ET.Element, words: Mapping[str, Sequence[str]]) -> None:
    """Gives each point of a line that has words a title, which browsers show and read."""
    for group in root.iter(f"{{{SVG}}}g"):
        texts, points = words.get(group.get("id", ""), ()), list(group.iter(f"{{{SVG}}}use"))
        if len(points) == len(texts):
            for point, text in zip(points, texts, strict=True):
                ET.SubElement(point, f"{{{SVG}}}title").text = text


def _clean(text: str, caption: str, words: Mapping[str, Sequence[str]]) -> str:
    """The SVG element alone, with attributes for styles, the page's colours, short numbers and used ids alone."""
    root = ET.fromstring(text)
    _with_words(root, words)
    used = set(re.findall(r"(?:url\(#|href=\"#)([\w-]+)", text))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        _tidy(element, used)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "group" if words else "img")  # what is within an image is not read aloud
    root.set("aria-label", caption)
    ET.register_namespace("", SVG)
    return ET.tostring(root, encoding="unicode")


def _tidy(element: ET.Element, used: set[str]) -> None:
    attributes = element.attrib
    for pair in attributes.pop("style", "").split(";"):
        name, _, value = (part.strip() for part in pair.partition(":"))
        if name and name not in DROPPED:
            attributes[name] = value
    for name in ("fill", "stroke"):
        if name in attributes:
            attributes[name] = THEMED.get(attributes[name].lower(), attributes[name])
    if attributes.get("id") not in used:
        attributes.pop("id", None)
    if f"{{{XLINK}}}href" in attributes:
        attributes["href"] = attributes.pop(f"{{{XLINK}}}href")
    for name in _PLACED:
        if name in attributes:
            attributes[name] = " ".join(_NUMBERS.sub(r"\1", attributes[name]).split())
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    if element.text is not None and not element.text.strip():
        element.text = None
    element.tail = None
