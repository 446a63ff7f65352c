"""A table float for a paper: aligned figures, a spread beside each, groups of rows, no wider than it is told."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.report.escaping import latex_label, latex_text
from bench.report.latex_widths import SIZES, line_count, points_of, text_width

GAPS = {"small": 4.0, "footnotesize": 3.0, "scriptsize": 2.5}  # pt to each side of a column, by the font's size
SMALLEST = 0.92  # of its natural width, below which columns are left out before a table is scaled down
CAPTION_LINES = 2
BELOW = "Published, not measured here, not ranked"
NUMBERED = "Table 10. "  # what the class sets before a caption
PARAGRAPH, SHORT = 0.42, 128.0  # of the width, and pt: beyond both the rows' names are broken
ARROWS = {1: "\\,$\\uparrow$", -1: "\\,$\\downarrow$", 0: ""}


@dataclass(frozen=True)
class Head:
    """A column: its header in lines, how many decimals its numbers have (None: words), which way is better.

    Attributes:
        needed: it stays where there is no room for all.
    """

    lines: tuple[str, ...]
    decimals: int | None = None
    merit: int = 0
    needed: bool = True


@dataclass(frozen=True)
class Entry:
    """A cell: a number, or words where there is none; a spread in small type; `best`, `second` or blank."""

    value: float = math.nan
    words: str = ""
    spread: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Float:
    """A table for a paper.

    Attributes:
        caption: sentences, the most needed first; those that two lines have no room for are said in comments.
        kept: sentences behind the first that are never left out, in a third line where two have no room for them.
        groups: a title, blank for none, and rows: a name and an entry for each column.
        first: the header of the names.
        below: rows under a rule that nothing of the table is compared with; cites: the citations of their names.
    """

    name: str
    caption: tuple[str, ...]
    heads: tuple[Head, ...]
    groups: tuple[tuple[str, tuple[tuple[str, tuple[Entry, ...]], ...]], ...]
    first: str = "Model"
    below: tuple[tuple[str, tuple[Entry, ...]], ...] = ()
    cites: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, tuple[Entry, ...]]]:
        """All rows, without their groups."""
        return [row for _, rows in (*self.groups, ("", self.below)) for row in rows]


@dataclass(frozen=True)
class Laid:
    """A float that fits: its font's size and by how much it is scaled; what the caption and the columns leave out."""

    table: Float
    size: str
    scale: float
    caption: str
    further: tuple[str, ...]
    dropped: tuple[str, ...]


def lay_out(table: Float, width: str) -> Laid:
    """The largest type in which a table fits; where none does, columns that are not needed go from the right."""
    room, dropped = points_of(width), list[str]()
    while _natural(table, "scriptsize", room) * SMALLEST > room and not all(head.needed for head in table.heads):
        last = max(k for k, head in enumerate(table.heads) if not head.needed)
        dropped.append(" ".join(table.heads[last].lines))
        table = _without(table, last)
    sizes = [size for size in GAPS if _natural(table, size, room) <= room] or ["scriptsize"]
    caption, further = _caption(table.caption, table.kept, room)
    scale = min(1.0, room / _natural(table, sizes[0], room))
    return Laid(table, sizes[0], scale, caption, further, tuple(dropped))


def _without(table: Float, column: int) -> Float:
    kept = [k for k in range(len(table.heads)) if k != column]
    groups = tuple(
        (title, tuple((name, tuple(entries[k] for k in kept)) for name, entries in rows))
        for title, rows in table.groups
    )
    below = tuple((name, tuple(entries[k] for k in kept)) for name, entries in table.below)
    return replace(table, heads=tuple(table.heads[k] for k in kept), groups=groups, below=below)


def _natural(table: Float, size: str, room: float) -> float:
    """About how wide the table is at a font's size, in pt."""
    points, gap = SIZES[size], GAPS[size]
    total = _names_width(table, points, room)
    for k, head in enumerate(table.heads):
        number, spread = _entry_widths(table, k, points)
        title = max(text_width(line, points) for line in head.lines) + (text_width("  ", points) if head.merit else 0)
        total += 2 * gap + max(number + spread, title)
    return total


def _names_width(table: Float, points: float, room: float) -> float:
    names = [table.first, *(name for name, _ in table.rows)]
    return min(max(text_width(name, points) for name in names), _most(room))


def _most(room: float) -> float:
    """How wide the column of names may be, in pt."""
    return max(PARAGRAPH * room, min(SHORT, 0.6 * room))


def _entry_widths(table: Float, column: int, points: float) -> tuple[float, float]:
    entries = [entries[column] for _, entries in table.rows]
    decimals = table.heads[column].decimals
    numbers = [f"{e.value:.{decimals or 0}f}" if not math.isnan(e.value) else e.words for e in entries]
    bold = 1.15 if any(e.mark == "best" for e in entries) else 1.0
    small = min(points, SIZES["scriptsize"])
    spread = max((text_width(e.spread, small) + 2 for e in entries if e.spread), default=0.0)
    return bold * max((text_width(n, points) for n in numbers), default=0.0), spread


def _caption(sentences: Sequence[str], kept: Sequence[str], room: float) -> tuple[str, tuple[str, ...]]:
    """The sentences that two lines have room for, and the others; of a first one that is too long its beginning.

    Args:
        kept: what stands behind the first, whatever room there is.
    """
    said, further = sentences[0], list[str]()
    while not _fits(said, room) and " " in said:
        said = f"{said.removesuffix(' ...').rpartition(' ')[0]} ..."
    further += [sentences[0]] * (said != sentences[0])
    said = " ".join([said, *kept])
    for sentence in sentences[1:]:
        longer = f"{said} {sentence}"
        if _fits(longer, room):
            said = longer
        else:
            further.append(sentence)
    return said, tuple(further)


def _fits(caption: str, room: float) -> bool:
    return line_count(NUMBERED + caption, 0.96 * room) <= CAPTION_LINES


def to_float(laid: Laid, width: str) -> str:
    """The LaTeX of a float, for `booktabs`, `siunitx` and `graphicx`; the last scales down what is still too wide."""
    table, points = laid.table, SIZES[laid.size]
    star = "*" if width == "\\textwidth" else ""
    physical = 1 + sum(2 if _has_spread(table, k) else 1 for k in range(len(table.heads)))
    lines = [
        f"\\begin{{table{star}}}[tb]",
        "\\centering",
        f"\\caption{{{signs(latex_text(laid.caption))}}}",
        f"\\label{{tab:{latex_label(table.name)}}}",
        f"\\{laid.size}",
        f"\\setlength{{\\tabcolsep}}{{{GAPS[laid.size]:g}pt}}",
        f"\\resizebox{{\\ifdim\\width>{width} {width}\\else\\width\\fi}}{{!}}{{%",
        f"\\begin{{tabular}}{{@{{}}{_names_spec(table, points, points_of(width))}{_specs(table)}@{{}}}}",
        "\\toprule",
        _header(table),
        "\\midrule",
    ]
    for number, (title, rows) in enumerate(table.groups):
        if title:
            space = "\\addlinespace\n" if number else ""
            lines.append(f"{space}\\multicolumn{{{physical}}}{{@{{}}l@{{}}}}{{\\emph{{{latex_text(title)}}}}} \\\\")
        lines += [f"{_broken(signs(latex_text(name)))}{_row(table, entries)} \\\\" for name, entries in rows]
    if table.below:
        lines.append(f"\\midrule\n\\multicolumn{{{physical}}}{{@{{}}l@{{}}}}{{\\emph{{{BELOW}}}}} \\\\")
    for (name, entries), key in zip(table.below, table.cites, strict=True):
        cite = f"~\\cite{{{key}}}" if key else ""
        lines.append(f"{_broken(signs(latex_text(name)))}{cite}{_row(table, entries)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}}", f"\\end{{table{star}}}", ""])


def _names_spec(table: Float, points: float, room: float) -> str:
    wide = max(text_width(name, points) for name in [table.first, *(name for name, _ in table.rows)])
    return "l" if wide <= _most(room) else f">{{\\raggedright\\arraybackslash}}p{{{_most(room):.0f}pt}}"


def _broken(name: str) -> str:
    """A long name may be broken behind its commas and plus signs."""
    return re.sub(r"([,+])(?=\S)", r"\1\\allowbreak{}", name)


def _has_spread(table: Float, column: int) -> bool:
    return any(entries[column].spread for _, entries in table.rows)


def _specs(table: Float) -> str:
    specs = []
    for k, head in enumerate(table.heads):
        if head.decimals is None:
            specs.append("l")
            continue
        specs.append(f"S[table-format={_format(table, k)},mode=text,detect-weight]")
        specs.append("@{\\,}l" if _has_spread(table, k) else "")
    return "".join(specs)


def _format(table: Float, column: int) -> str:
    """siunitx's format of a column: sign, digits before the point, decimals."""
    decimals = table.heads[column].decimals or 0
    texts = [f"{e.value:.{decimals}f}" for _, entries in table.rows if not math.isnan((e := entries[column]).value)]
    digits = max((len(text.lstrip("-").partition(".")[0]) for text in texts), default=1)
    sign = "-" if any(text.startswith("-") for text in texts) else ""
    return f"{sign}{digits}.{decimals}" if decimals else f"{sign}{digits}"


def _header(table: Float) -> str:
    cells = [latex_text(table.first)]
    for k, head in enumerate(table.heads):
        lines = [signs(latex_text(line)) for line in head.lines]
        lines[-1] += ARROWS[head.merit]
        side = "l" if head.decimals is None else "c"
        stack = f"\\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}" + "\\\\".join(lines) + "\\end{tabular}"
        text = lines[0] if len(lines) == 1 else stack
        cells.append(f"\\multicolumn{{{2 if _has_spread(table, k) else 1}}}{{{side}}}{{{text}}}")
    return " & ".join(cells) + " \\\\"


def _row(table: Float, entries: Sequence[Entry]) -> str:
    cells = []
    for k, (head, entry) in enumerate(zip(table.heads, entries, strict=True)):
        if head.decimals is None:
            cells.append(signs(latex_text(entry.words)))
            continue
        cells.append(_number(entry, head.decimals, _format(table, k)))
        if _has_spread(table, k):
            spread = signs(latex_text(entry.spread))
            cells.append(f"{{\\scriptsize {spread}}}" if spread else "")
    return "".join(f" & {cell}" for cell in cells)


def _number(entry: Entry, decimals: int, form: str) -> str:
    """A number as siunitx aligns it; an underlined one is padded by hand, which siunitx cannot underline."""
    if math.isnan(entry.value):
        return f"{{{signs(latex_text(entry.words))}}}"
    text = f"{entry.value:.{decimals}f}"
    if entry.mark == "best":
        return f"\\bfseries {text}"
    if entry.mark != "second":
        return text
    lacking = int(form.lstrip("-").partition(".")[0]) - len(text.lstrip("-").partition(".")[0])
    sign = "\\phantom{$-$}" if form.startswith("-") and not text.startswith("-") else ""
    pad = f"{sign}\\phantom{{{'0' * lacking}}}" if lacking else sign
    return f"{{{pad}\\underline{{{signs(text)}}}}}"


def signs(text: str) -> str:
    """Escaped text with true minus and times signs: `-1.1` and `3x224x224`, `x U-Net`."""
    text = re.sub(r"(?<![\w.\-])-(?=\d)", "$-$", text)
    text = re.sub(r"(?<=\d)x(?=\d)", r"$\\times$", text)
    return re.sub(r"(?<![\w\\])x (?=\w)", r"$\\times$ ", text)
