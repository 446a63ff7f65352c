"""What a third party's model is: its own code and all own code that it imports, by one name, with a cell of its own."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.analysis.aside import name_versions
from bench.analysis.comparison import titles_of
from bench.cli.main import main
from bench.cost.speed import count
from bench.errors import UserError
from bench.records import store
from bench.runs import runner
from bench.runs.job import Job
from bench.runs.request import Request
from bench.zoo.entry import MODELS, register_model
from bench.zoo.registry import build_model, canonical_name, model_entry, parse_model, select_models

NET = """from torch import nn
{imports}

class Net(nn.Module):
    title = "My net"

    def __init__(self, in_channels, num_classes, width=4):
        super().__init__()
        self.body = block(in_channels, width)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, x):
        return self.head(self.body(x))
"""
BLOCKS = "from torch import nn\n\n\ndef block(i, o):\n    return nn.Conv2d(i, o, {size}, padding='same')\n"
REQUEST: dict[str, Any] = {"dataset": "acdc", "preset": "smoke", "data": "phantom", "threads": 1}
TINY = ("steps=2", "evaluations=1", "batch_size=2")


def write(folder: Path, imports: str = "from blocks import block", size: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "blocks.py").write_text(BLOCKS.format(size=size))
    (folder / "net.py").write_text(NET.format(imports=imports))
    return folder / "net.py"


def params(name: str) -> int:
    return sum(p.numel() for p in build_model(name, "segmentation", 1, 4, 32).parameters())


def version(place: str | Path) -> int:
    return model_entry(f"{place}:Net").version


def jobs(models: str, results: Path, **changes: Any) -> list[Job]:
    return runner.make_jobs(Request(models, settings=TINY, results=results, **{**REQUEST, **changes}))


LAYOUTS = {
    "beside": ("", "from blocks import block"),
    "relative, no package": ("", "from .blocks import block"),
    "relative in a package": ("nets", "from .blocks import block"),
    "absolute in a package": ("nets", "from nets.blocks import block"),
    "beside, in a package": ("nets", "import nets.blocks\nblock = nets.blocks.block"),
    "inside a function": ("", "def block(i, o):\n    from blocks import block\n    return block(i, o)"),
    "by a text": ("", "import importlib\nblock = importlib.import_module('.blocks', __package__).block"),
    "by a computed name": ("", "import importlib\nblock = importlib.import_module(__package__ + '.blocks').block"),
}


@pytest.mark.parametrize(("package", "imports"), LAYOUTS.values(), ids=LAYOUTS)
def test_what_a_file_imports_is_found_and_is_part_of_it(package: str, imports: str, tmp_path: Path) -> None:
    if package:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    path = write(tmp_path / package, imports)
    first = version(path)
    assert params(f"{path}:Net") == 1 * 4 * 9 + 4 + 4 * 4 + 4
    write(tmp_path / package, imports, size=5)
    assert version(path) != first
    assert params(f"{path}:Net") == 1 * 4 * 25 + 4 + 4 * 4 + 4
    assert "blocks" not in sys.modules, "a file's own modules are nobody else's"


def test_imports_from_the_current_folder_count_where_the_file_is_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "common")
    path = write(tmp_path / "models", "from common.blocks import block")
    with pytest.raises(
        UserError, match=r"No module named 'common': install what it imports, or put it into .*models\."
    ):
        version(path)
    monkeypatch.chdir(tmp_path)
    first = version("models/net.py")
    write(tmp_path / "common", size=1)
    assert version("models/net.py") != first


def test_modules_of_one_name_beside_two_files_are_two(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", size=3), write(tmp_path / "2", size=7)
    built = [params(f"{path}:Net") for path in (one, two, one)]
    assert built == [60, 220, 60]
    assert select_models(f"{one}:Net,{two}:Net", "cpu", "segmentation") == [f"{one}:Net", f"{two}:Net"]
    copy = write(tmp_path / "3", size=3)
    assert select_models(f"{one}:Net,{copy}:Net", "cpu", "segmentation") == [f"{one}:Net"], "a copy is the same model"


def test_comments_docstrings_layout_and_titles_are_no_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path)
    first, text = version(path), path.read_text()
    same = text.replace('"My net"', "'Better name'").replace("import nn", "import nn  # layers")
    same = same.replace("super()", '"""Two layers."""\n        super()').replace(
        "(in_channels, width)", "(\n in_channels,width)"
    )
    path.write_text(same + '\n\nNet.family = "cnn"\nNet.citation = "this work"\n')
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    assert version(path) == first
    assert (model_entry(f"{path}:Net").title, model_entry(f"{path}:Net").family) == ("Better name", "cnn")
    path.write_text(text.replace("self.head(self.body(x))", "self.head(self.body(-x))"))
    assert version(path) != first
    path.write_text(text.replace("class Net", 'title = "a variable"\n\n\nclass Net'))
    assert version(path) != first, "a variable of that name may be anything"


def test_three_spellings_are_one_model_and_one_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a [1]")
    monkeypatch.chdir(path.parent)
    names = [canonical_name(*parse_model(f"{place}:Net[width=8]")) for place in ("net.py", "./net.py", path)]
    assert set(names) == {"net.py:Net[width=8]"}
    first = jobs("net.py:Net,./net.py:Net", tmp_path / "r")
    monkeypatch.chdir(tmp_path)
    second = jobs("a [1]/net.py:Net", tmp_path / "r")
    assert [job.cell.key for job in first] == [job.cell.key for job in second]
    assert first[0].folder == second[0].folder


def test_a_file_is_run_once_in_a_process(tmp_path: Path) -> None:
    path = write(tmp_path)
    log = tmp_path / "log"
    path.write_text(path.read_text() + f"\n\nopen({str(log)!r}, 'a').write('run ')\n")
    work = jobs(f"{path}:Net", tmp_path / "r", seeds="3")
    assert runner.run_jobs(work)["complete"] == 3
    assert log.read_text() == "run "


def test_a_record_keeps_the_code_that_it_can_be_built_from(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "__init__.py").write_text("")
    path = write(tmp_path / "nets", "from .blocks import block")
    (job,) = jobs(f"{path}:Net[width=8]", tmp_path / "r")
    assert runner.run_jobs([job])["complete"] == 1
    record = store.read_record(job.folder)
    assert record is not None
    assert (record["model"]["name"], record["model"]["title"]) == ("net.py:Net[width=8]", "My net")
    assert version(job.folder / "sources" / "nets" / "net.py") == record["cell"]["model"]["version"]
    assert not list((job.folder / "sources").rglob("*.json"))


@pytest.mark.slow
def test_files_of_one_name_run_beside_each_other_in_another_process_and_changed_code_is_one_line(
    tmp_path: Path,
) -> None:
    """Two classes, a registered builder, which keeps its name and version, and code that is not that of its job."""
    one, two = write(tmp_path / "1", size=3), write(tmp_path / "2", size=7)
    kept = tmp_path / "3" / "net.py"
    kept.parent.mkdir()
    kept.write_text(
        "from torch import nn\nfrom bench import register_model\n\n\n"
        "@register_model(title='Kept', family='cnn', citation='none', version=7)\n"
        "def kept_net(task, in_channels, num_classes, image_size):\n    return nn.Conv2d(in_channels, num_classes, 1)\n"
    )
    try:
        work = jobs(f"{one}:Net,{two}:Net,{kept}:kept_net", tmp_path / "r")
        changed = write(tmp_path / "4", size=5)
        work += jobs(f"{changed}:Net", tmp_path / "r")
    finally:
        MODELS.pop("kept_net", None)
    write(tmp_path / "4", size=9)
    code = "import pickle, sys; from bench.runs.job import run_cell\n"
    code += "for job in pickle.load(sys.stdin.buffer): run_cell(job)"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(work), capture_output=True, check=False)
    assert b"UserError: The code of net.py:Net changed while running" in done.stderr
    cells = store.load_cells(tmp_path / "r").set_index("params")
    assert cells["model"].to_dict() == {60: "net.py:Net", 220: "net.py:Net", 8: "kept_net"}
    assert cells["version"][8] == 7
    assert cells["version"].is_unique


def test_a_record_of_another_cost_is_not_reused(tmp_path: Path) -> None:
    """A version kept by hand, and not raised."""

    def register(width: int) -> None:
        def hand_kept(task: str, in_channels: int, num_classes: int, image_size: int) -> Any:
            from torch import nn

            return nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.Conv2d(width, num_classes, 1))

        register_model(title="Hand-kept", family="cnn", citation="none")(hand_kept)

    try:
        register(4)
        assert runner.run_jobs(jobs("hand_kept", tmp_path))["complete"] == 1
        assert runner.run_jobs(jobs("hand_kept", tmp_path))["reused"] == 1
        register(5)
        with pytest.raises(
            UserError, match=r"is of a network with 28 parameters, but hand_kept has 34 now and the same"
        ):
            runner.run_jobs(jobs("hand_kept", tmp_path))
        assert runner.run_jobs(jobs("hand_kept", tmp_path), force=True)["complete"] == 1
    finally:
        MODELS.pop("hand_kept", None)


@pytest.mark.parametrize("default", ["nn.ReLU", "float('nan')", "{1, 2}", "{1: 2}", "[nn.ReLU]"])
def test_a_default_that_no_record_holds_is_one_line_and_the_doctor_says_so(default: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("width=4", f"width=4, act={default}"))
    with pytest.raises(UserError, match=r"Expected the defaults of net\.py:Net to be .* but act is"):
        jobs(f"{path}:Net", tmp_path / "r")
    found = CliRunner().invoke(main, ["models", "--doctor", f"{path}:Net"])
    assert found.exit_code == 2
    assert found.stderr.startswith("Error: Expected the defaults of net.py:Net")
    assert found.stderr.count("\n") == 1


def test_defaults_in_lists_and_dicts_have_one_name(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("width=4", "width=4, parts=[1, 2], more={'a': 1, 'b': 2}"))
    entry, config = parse_model(f"{path}:Net[parts=[3, 4],more={{'a': 5, 'b': 6}}]")
    assert (config["parts"], config["more"]) == ([3, 4], {"a": 5, "b": 6})
    assert parse_model(f"{path}:Net{canonical_name(entry, config).removeprefix('net.py:Net')}") == (entry, config)


def test_every_config_of_a_model_shows_its_version_where_one_does(tmp_path: Path) -> None:
    import pandas as pd

    rows = [("net.py:Net", 1), ("net.py:Net", 2), ("net.py:Net[width=8]", 2), ("unet", 5)]
    cells = pd.DataFrame([{"comparison": "k", "model": m, "title": m.partition("[")[0], "version": v} for m, v in rows])
    named = name_versions(cells)
    assert list(named["model"]) == ["net.py:Net v1", "net.py:Net v2", "net.py:Net[width=8] v2", "unet"]
    assert list(titles_of(named).values()) == ["net.py:Net v1", "net.py:Net v2", "net.py:Net [width=8] v2", "unet"]


def test_a_file_is_profiled_from_another_folder(tmp_path: Path) -> None:
    path = write(tmp_path)
    rows = count(f"{path}:Net[width=8]", task="segmentation", image_size=32, channels=1, classes=4)
    assert list(rows["model"]) == ["net.py:Net[width=8]"]
    assert rows["error"].isna().all()
    assert rows["params"].iloc[0] == 8 * 9 + 8 + 8 * 4 + 4
