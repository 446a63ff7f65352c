"""The page of the protocol's fields, made from the code: meaning, type, what is allowed, the value in each preset."""

from __future__ import annotations

import dataclasses
import re
import textwrap

from bench.report.escaping import markdown_text
from bench.runs.protocol import (
    CHOICES,
    CLASSIFICATION_ONLY,
    PRESETS,
    PROTOCOL_VERSION,
    RANGES,
    SEGMENTATION_ONLY,
    Protocol,
)

INTRODUCTION = """\
# The protocol

The protocol is every setting that changes a result; it is one and the same for all models of a table, and part of each
cell's key. A preset (`--preset`) fixes all fields for each task, and `--set FIELD=VALUE`, given once for each field,
overrides one. This page is written by `medbench plan --protocol`; a test holds it to the code.

The protocol's version is {version}: it is part of the key too, and is raised when the same fields come to mean
something else.
"""
FIELDS_HEAD = "| field | type | allowed | meaning |\n| --- | --- | --- | --- |"
NO_MEANING = "In {task} these fields have no meaning, and `--set` refuses them: {fields}."
PRESETS_HEAD = "## The values in each preset\n"
LACKING = {"segmentation": CLASSIFICATION_ONLY, "classification": SEGMENTATION_ONLY}
MODELS = "Under `{preset}` `--models all` means the list `{models}`, with {seeds} {word} where `--seeds` is not given."


def protocol_page() -> str:
    """The whole page, as Markdown."""
    fields = [f for f in dataclasses.fields(Protocol) if f.name != "version"]
    meanings = field_meanings()
    rows = [(f.name, type(f.default).__name__, allowed_values(f.name), meanings[f.name]) for f in fields]
    lines = [
        INTRODUCTION.format(version=PROTOCOL_VERSION),
        "## The fields",
        "",
        FIELDS_HEAD,
        *(f"| `{name}` | {kind} | {allowed} | {_escaped(text)} |" for name, kind, allowed, text in rows),
        "",
        PRESETS_HEAD,
    ]
    for task, lacking in LACKING.items():
        names = ", ".join(f"`{name}`" for name in lacking)
        lines += [f"### {task.capitalize()}", "", NO_MEANING.format(task=task, fields=names), ""]
        lines += [*_preset_rows(task, [f.name for f in fields if f.name not in lacking]), ""]
    for name, preset in PRESETS.items():
        word = "seed" if preset.seeds == 1 else "seeds"
        lines.append(f"- {MODELS.format(preset=name, models=preset.models, seeds=preset.seeds, word=word)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Markdown's own characters escaped, but for code, which takes them as they are."""
    parts = text.split("`")
    return "`".join(part if i % 2 else markdown_text(part) for i, part in enumerate(parts))


def field_meanings() -> dict[str, str]:
    """Field -> its meaning, from the class's docstring; fields that share a line share the meaning."""
    section = (Protocol.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    meanings: dict[str, str] = {}
    for entry in re.split(r"\n(?=\w)", textwrap.dedent(section)):
        names, _, text = entry.partition(": ")
        meanings |= dict.fromkeys(names.split(", "), " ".join(text.split()))
    return meanings


def allowed_values(name: str) -> str:
    """The choices of a field, or the range of its numbers."""
    if name in CHOICES:
        return ", ".join(f"`{choice}`" for choice in CHOICES[name])
    if isinstance(getattr(Protocol, name), bool):
        return "true, false"
    low, high = RANGES[name]
    return f"{low:,g} to {high:,.0f}" if high >= 1 else f"{low:,g} to {high:g}"


def _preset_rows(task: str, names: list[str]) -> list[str]:
    """A row for each field with its value in each preset; `steps` are those of its epochs where it has some."""
    lines = [f"| field | {' | '.join(PRESETS)} |", f"| --- |{' ---: |' * len(PRESETS)}"]
    for name in names:
        recipes = [preset.of(task) for preset in PRESETS.values()]
        values = ["by epochs" if name == "steps" and r.epochs else str(getattr(r, name)) for r in recipes]
        lines.append(f"| `{name}` | {' | '.join(values)} |")
    return lines
