"""What README and docs say: commands run or say why not, figures stand in a record, links and paths lead somewhere.

A block fenced as `sh` is run, page by page in one temporary folder, with a `smoke` preset of two steps; so is one
fenced as `python`, or it is written to the file that its first line names. `<!-- not run: REASON -->` above a block
leaves it out; its commands are parsed all the same. What a newcomer reads first runs always, all pages among the slow
tests; that each command of each page exists is always held.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from few_records import copy_example

from bench.cli.main import main
from bench.models import slots
from bench.report.protocol_page import field_meanings, protocol_page
from bench.runs.protocol import PRESETS
from bench.zoo.entry import MODELS

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "results" / "example"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FIRST = [ROOT / "README.md", *(ROOT / "docs" / page for page in ("ten-minutes.md",))]
FENCE = re.compile(r"(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page; `reason` says why it is not run."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[list[str]]:
        """The words of each line, comments left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match["language"], match["text"], match["reason"])


BLOCKS = [block for page in PAGES for block in blocks(page)]


def parse(words: list[str]) -> None:
    """Parses a command as click does, and runs nothing. Raises click's error for what does not exist."""
    context = click.Context(main)
    command: click.Command = main
    words = words[1:]
    while isinstance(command, click.Group) and not (command.invoke_without_command and words[0].startswith("-")):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, name
        command = found
    command.make_context("medbench", words)


@pytest.fixture
def _example(tmp_path: Path) -> None:
    """Stands for `results/example` where commands run; tests/test_example.py takes all of its records."""
    copy_example(tmp_path / "results" / "example", ("mednext_tiny", "unet_s", "resnet10t"))


@pytest.mark.usefixtures("_forget", "_example")
@pytest.mark.parametrize("pages", [FIRST, pytest.param(PAGES, marks=pytest.mark.slow)], ids=["first", "all"])
def test_every_command_of_the_pages_runs(
    pages: Sequence[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    smoke, tiny = PRESETS["smoke"], {"steps": 2, "evaluations": 1, "threads": 1}
    both = {field: dataclasses.replace(getattr(smoke, field), **tiny) for field in ("protocol", "classification")}
    monkeypatch.setitem(PRESETS, "smoke", dataclasses.replace(smoke, **both))
    for block in (block for block in BLOCKS if block.reason is None and block.page in pages):
        if block.language == "python":
            _run_python(block)
        for words in block.commands() if block.language == "sh" else ():
            assert words[0] == "medbench", f"{block.place}: only medbench is run here; mark the block as not run"
            result = CliRunner().invoke(main, words[1:])
            assert result.exit_code == 0, f"{block.place}: {shlex.join(words)}\n{result.output}\n{result.exception!r}"


@pytest.fixture
def _forget() -> Iterator[None]:
    """What the pages register is gone afterwards; what they made load stays."""
    yield
    MODELS.pop("registered_net", None)
    slots._FILLINGS["sem"].pop("dw9", None)


def _run_python(block: Block) -> None:
    named = re.match(r"# ([\w./]+\.py)\n", block.text)
    if named:
        Path(named[1]).write_text(block.text)
    else:
        exec(compile(block.text, block.place, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "sh"], ids=lambda b: b.place)
def test_commands_exist_and_those_that_are_not_run_say_why(block: Block) -> None:
    assert block.reason is None or len(block.reason.split()) >= 3, "a reason, in words"
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert targets is not None
    for words in block.commands():
        if words[0] == "medbench":
            parse(words)
        elif words[0] == "make":
            assert words[1] in targets[1].split()
        else:
            assert words == ["source", ".venv/bin/activate"], f"{block.place}: {words}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_stands_in_a_block_and_its_options_in_sentences_exist(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    names = "|".join(main.commands)
    assert not re.findall(rf"^ *medbench (?:{names})\b.*$", prose, re.M), "a command outside of a block is not tested"
    for text in re.findall(r"`(medbench [^`]+)`", prose):
        words = text.split()[1:]
        command: click.Command = main
        while words and isinstance(command, click.Group) and words[0].islower():
            assert words[0] in command.commands, text
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, text


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_path_of_the_code_that_is_named_exists(page: Path) -> None:
    paths = re.findall(r"(?<![\w./])((?:bench|ablations|baselines|tests)/[\w/.]*)", page.read_text(encoding="utf-8"))
    missing = [path for path in paths if "NAME" not in path and not (ROOT / path.rstrip(".")).exists()]
    assert not missing


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert all(f"]({page.name})" in index for page in PAGES if page.name != "README.md")


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def figures_without_source(text: str, sources: Iterable[Path]) -> list[str]:
    """The figures with a decimal point of a text, code left out, that stand in none of these files."""
    known = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    figures = re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", FENCE.sub("", text))
    assert len(figures) >= 10
    return [figure for figure in figures if not re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", known)]


def test_every_figure_of_what_we_found_stands_in_a_generated_file() -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("## What we found")[2].partition("\n## ")[0]
    sources = [*EXAMPLE.glob("*.md"), *EXAMPLE.glob("ablations/*.md"), ROOT / "results" / "design" / "README.md"]
    assert not figures_without_source(section, sources)


ELSEWHERE = {  # figures of docs that no generated file has, and where each is from
    **dict.fromkeys(("10.55", "9.74", "5.84"), "differences of two figures of tables.md"),
    "94.76": "accuracy by seed, `medbench report --dataset sars-cov2-ct --split random-80-20 --seeds 1,`",
    "89.39": "one seed, `medbench report --dataset acdc --preset standard --models mednext_tiny --seeds 0,`",
    **dict.fromkeys(("83.04", "82.89", "82.31", "82.14"), "records under results/example/again"),
    **dict.fromkeys(("91.28", "98.12", "98.39"), "published figures"),
    **dict.fromkeys(("90.5", "91.5"), "aims of ours"),
    "2503.01835": "a paper's number",
}


@pytest.mark.parametrize("page", ["findings.md", "ablations.md", "splits-and-leaks.md"])
def test_every_figure_of_the_findings_stands_in_a_generated_file(page: str) -> None:
    sources = [*EXAMPLE.rglob("*.md"), *(ROOT / "results" / "design").rglob("*.md")]
    missing = figures_without_source((ROOT / "docs" / page).read_text(encoding="utf-8"), sources)
    assert not [figure for figure in missing if figure not in ELSEWHERE]


def test_the_findings_say_of_outputs_that_overflow_what_their_code_prints() -> None:
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    grown, counted = (block.text for block in blocks(ROOT / "docs" / "findings.md") if block.language == "python")
    said = dict(line.split() for line in printed_by(grown).splitlines())
    assert {name: int(factor) for name, factor in said.items()}.keys() == {"sem", "laffn", "sdffn"}
    assert max(int(said["sem"]), int(said["sdffn"])) < 150 < 3000 < int(said["laffn"]), "a product squares"
    counts = re.fullmatch(r"(\d+) (\d+) (\d+) Counter\(\{'mednext_tiny': (\d+)\}\)\n", printed_by(counted))
    assert counts is not None, "none without a product, and of no other network"
    curves, own, others, odd = counts.groups()
    assert (
        f"Of {curves} validation curves that are committed, {odd} have such a round: all are among the {own} " in text
    )
    assert f"none is among its {others} others" in text


def printed_by(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_protocol_s_page_is_that_of_the_code_and_explains_every_field() -> None:
    assert (ROOT / "docs" / "protocol.md").read_text() == protocol_page(), "run `make example`"
    fields = {field.name for field in dataclasses.fields(PRESETS["quick"].protocol)} - {"version"}
    meanings = field_meanings()
    assert fields <= set(meanings)
    assert all(meanings[field] for field in fields)


def test_the_citation_names_this_version() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    for line in (f"version: {project['version']}", f"license: {project['license']}", f"title: {project['name']}"):
        assert f"\n{line}\n" in citation
