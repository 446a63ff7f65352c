"""The page of the protocol's fields, made from the code: meaning, type, what is allowed, the value in each preset."""

from __future__ import annotations

import dataclasses
import re
import textwrap

from bench.report.escaping import markdown_text
from bench.runs.protocol import CHOICES, PRESETS, PROTOCOL_VERSION, RANGES, SEGMENTATION_ONLY, Protocol

INTRODUCTION = """\
# The protocol

The protocol is every setting that changes a result; it is one and the same for all models of a table, and part of each
cell's key. A preset (`--preset`) fixes all fields for each task, and `--set FIELD=VALUE`, given once for each field,
overrides one. This page is written by `medbench plan --protocol`; a test holds it to the code.

The protocol's version is {version}: it is part of the key too, and is raised when the same fields come to mean
something else.
"""
FIELDS_HEAD = "| field | type | allowed | meaning |\n| --- | --- | --- | --- |"
NOT_IN_CLASSIFICATION = """\
In classification these fields have no meaning, and `--set` refuses them: {fields}.
"""
PRESETS_HEAD = "## The values in each preset\n\nA blank means that the field has no meaning for the task.\n"
MODELS = "Under `{preset}` `--models all` means the list `{models}`, with {seeds} {word} where `--seeds` is not given."


def protocol_page() -> str:
    """The whole page, as Markdown."""
    fields = [f for f in dataclasses.fields(Protocol) if f.name != "version"]
    meanings = field_meanings()
    rows = [(f.name, type(f.default).__name__, allowed_values(f.name), meanings[f.name]) for f in fields]
    lacking = ", ".join(f"`{name}`" for name in SEGMENTATION_ONLY)
    lines = [
        INTRODUCTION.format(version=PROTOCOL_VERSION),
        "## The fields",
        "",
        FIELDS_HEAD,
        *(f"| `{name}` | {kind} | {allowed} | {markdown_text(text)} |" for name, kind, allowed, text in rows),
        "",
        NOT_IN_CLASSIFICATION.format(fields=lacking),
        PRESETS_HEAD,
        *_preset_rows([f.name for f in fields]),
        "",
    ]
    for name, preset in PRESETS.items():
        word = "seed" if preset.seeds == 1 else "seeds"
        lines.append(f"- {MODELS.format(preset=name, models=preset.models, seeds=preset.seeds, word=word)}")
    return "\n".join(lines) + "\n"


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
    low, high = RANGES[name]
    return f"{low:,g} to {high:,.0f}" if high >= 1 else f"{low:,g} to {high:g}"


def _preset_rows(names: list[str]) -> list[str]:
    columns = [(preset, task) for preset in PRESETS for task in ("segmentation", "classification")]
    heads = [f"{preset}, {task}" for preset, task in columns]
    lines = [f"| field | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for name in names:
        values = [
            "" if task == "classification" and name in SEGMENTATION_ONLY else str(getattr(PRESETS[p].of(task), name))
            for p, task in columns
        ]
        lines.append(f"| `{name}` | {' | '.join(values)} |")
    return lines
