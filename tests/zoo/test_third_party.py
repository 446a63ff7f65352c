"""Models named by where they are: files, modules, an installed package; and the doctor who examines them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.errors import UserError
from bench.zoo.contract import examine
from bench.zoo.registry import build_model, canonical_name, model_entry, parse_model, select_models

EXAMPLE = Path(__file__).parents[2] / "docs" / "example"
NETS = EXAMPLE / "my_nets" / "nets.py"
HEAD = "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    tasks = ('classification',)\n\n"
BODY = "    def __init__(self, in_channels, num_classes):\n        super().__init__()\n"
LINEAR = "        self.head = nn.Linear(in_channels, num_classes)\n\n    def forward(self, x):\n        "


def write(folder: Path, forward: str, init: str = BODY + LINEAR) -> str:
    path = folder / "net.py"
    path.write_text(f"{HEAD}{init}{forward}\n")
    return f"{path}:Net"


def test_a_class_in_a_file_is_a_model_with_a_config() -> None:
    name = f"{NETS}:PlainNet"
    entry, config = parse_model(f"{name}[width=4]")
    assert (entry.title, entry.family, entry.tasks, config) == ("Plain net", "cnn", ("classification",), {"width": 4})
    assert canonical_name(entry, config) == "nets.py:PlainNet[width=4]"
    assert select_models(f"{name}[width=4],chance", "cpu", "classification") == [f"{name}[width=4]", "chance"]
    model = build_model(f"{name}[width=4]", "classification", 3, 5, 64)
    assert [tuple(p.shape) for p in model.parameters()] == [(4, 3, 3, 3), (4,), (5, 4), (5,)]
    with pytest.raises(UserError, match="does classification, but the dataset needs segmentation"):
        select_models(name, "cpu", "segmentation")


def test_an_edited_file_is_another_version(tmp_path: Path) -> None:
    first = model_entry(write(tmp_path, "return self.head(x.mean((2, 3)))")).version
    same = model_entry(write(tmp_path, "return self.head(x.mean((2, 3)))")).version
    other = model_entry(write(tmp_path, "return self.head(x.amax((2, 3)))")).version
    assert first == same != other


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere.py:Net", "Expected a file with a network, but nowhere.py does not exist"),
        ("nowhere.py", "Expected a file with a network, as nowhere.py:MyNet, but nowhere.py does not exist"),
        ("no_such_package.nets:Net", "Module 'no_such_package.nets' is not found"),
        (f"{NETS}:Plain", "Unknown network in .*Did you mean: PlainNet"),
        (f"{NETS}:PlainNet[depth=2]", "Unknown config field of"),
    ],
)
def test_a_wrong_place_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        parse_model(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            "def block():\n    pass\nclass _No:\n    pass\nclass Net:\n    def forward(self):\n        1 / 0\n",
            ["Net", "block"],
        ),
        ("from torch import nn\n1 / 0\n", ["MyNet"]),
        ("class Net(\n", ["MyNet"]),
        ("".join(f"def net{i}():\n    pass\n" for i in range(8)), [f"net{i}" for i in range(6)]),
    ],
)
def test_a_file_alone_is_told_what_it_defines(content: str, named: list[str], tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(content)
    for text in (str(file), f"{file}[width=4]"):
        with pytest.raises(
            UserError, match=r"Expected the name of a network behind the file .*/net\.py, but got"
        ) as got:
            select_models(text, "cpu", "segmentation")
        more = " or 2 more" if len(named) == 6 else ""
        assert str(got.value).endswith(f"give {' or '.join(f'{file}:{name}' for name in named)}{more}.")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1 / 0\n", "ended in ZeroDivisionError"),
        ("import sys\nsys.exit(0)\n", "ended in SystemExit: 0"),
        ("import no_such_package\n", "No module named 'no_such_package': install what it imports"),
        ("def Net(depth):\n    pass\n", "'depth' has none"),
        ("def Net():\n    pass\nNet.family = 'dog'\n", "Unknown family"),
    ],
)
def test_a_file_that_is_no_model_is_one_line(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(content)
    with pytest.raises(UserError, match=said):
        model_entry(f"{tmp_path / 'bad.py'}:Net")


def test_a_run_keeps_its_results_in_the_results_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    write(tmp_path, "return self.head(x.mean((2, 3)))")
    monkeypatch.chdir(tmp_path / "sub")
    options = ["--dataset", "large-covid-ct", "--preset", "smoke", "--data", "phantom", "--set", "steps=4"]
    options += ["--set", "image_size=32", "--threads", "1"]
    result = CliRunner().invoke(main, ["run", "--models", "../net.py:Net", "--results", "results", *options])
    assert result.exit_code == 0, result.output
    (record,) = (tmp_path / "sub" / "results").rglob("record.json")
    assert record.relative_to(tmp_path / "sub" / "results").parts[:3] == ("runs", "phantom", "large-covid-ct-phantom")


@pytest.mark.parametrize(
    ("forward", "failed"),
    [
        ("return self.head(x.mean((2, 3)))", ""),
        ("return self.head(x.mean((2, 3))).softmax(1)", "logits"),
        ("return self.head(x.mean((2, 3))).log_softmax(1)", "logits"),
        ("return self.head(x.mean((2, 3))).relu()", "logits"),
        ("return self.head(x.mean((2, 3)))[:, :2]", "shapes"),
        ("return self.head(x.mean((2, 3)).detach()).detach() + self.head.bias", "gradients"),
        ("return self.head(x.mean((2, 3))) + torch.rand(())", "determinism"),
        ("return self.head(x.mean((2, 3))) - x.mean()", "determinism"),
        ("return self.head(x)", "shapes"),
    ],
)
def test_the_doctor_finds_what_is_wrong(forward: str, failed: str, tmp_path: Path) -> None:
    found = {what.split(": ")[1]: holds for what, holds, _ in examine(write(tmp_path, forward))}
    assert list(found) == ["shapes", "logits", "gradients", "determinism"]
    assert all(found.values()) if not failed else not found[failed]


@pytest.mark.parametrize(
    ("returned", "holds"),
    [
        ("[self(x), self(x[..., ::2, ::2])]", True),
        ("(self(x), self(x[..., ::2, ::2]))", False),
        ("[self(x[..., ::2, ::2]), self(x)]", False),
        ("[self(x), self(x)[:, :1]]", False),
    ],
)
def test_the_doctor_looks_at_the_logits_of_deep_supervision(returned: str, holds: bool, tmp_path: Path) -> None:
    """The first of them is trained as the logits, the others at their own sizes."""
    head = "        self.head = nn.Conv2d(in_channels, num_classes, 1)\n\n    def forward(self, x):\n        "
    method = f"return self.head(x)\n\n    def training_logits(self, x):\n        return {returned}"
    name = write(tmp_path, method, BODY + head)
    path = Path(name.removesuffix(":Net"))
    path.write_text(path.read_text().replace("'classification'", "'segmentation'"))
    found = {what: fine for what, fine, _ in examine(name)}
    assert found["segmentation: shapes"] is holds
    assert all(fine for what, fine in found.items() if what != "segmentation: shapes")


def test_the_doctor_s_command_ends_in_2_for_a_sick_one(tmp_path: Path) -> None:
    sick = write(tmp_path, "return self.head(x.mean((2, 3))).softmax(1)")
    result = CliRunner().invoke(main, ["models", "--doctor", sick])
    assert result.exit_code == 2
    assert "FAILED classification: logits: outputs sum to 1" in result.output
    assert CliRunner().invoke(main, ["models", "--doctor", f"{NETS}:PlainNet"]).exit_code == 0


def test_what_an_installed_package_names_is_found(tmp_path: Path) -> None:
    """Its entry points and its module, as an installer leaves them on the path; the real installer is slow."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXAMPLE / "my_nets", tmp_path / "my_nets")
    about = tmp_path / "my_nets-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in points.items())
        for group, points in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    code = (
        "import torch; from bench.zoo.registry import build_model, model_entry; print(model_entry('my_net').title); "
        "model = build_model('my_nets.nets:PlainNet', 'classification', 1, 2, 32); "
        "print(tuple(model(torch.ones(1, 1, 32, 32)).shape))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.splitlines() == ["My net", "(1, 2)"]


@pytest.mark.slow
def test_the_example_package_is_found_when_it_is_installed(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    source = shutil.copytree(EXAMPLE, tmp_path / "example")
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(source)], check=True, capture_output=True)
    code = (
        "from bench.cli.main import main; import sys; model, dataset, root = sys.argv[1:]; "
        "main(['run', '--models', model, '--dataset', dataset, '--preset', 'smoke', '--data', 'phantom', "
        "'--set', 'steps=2', '--data-root', root, '--results', root])"
    )
    (tmp_path / "root").mkdir()
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    for model, dataset, title in (
        ("my_net", "acdc", "My net"),
        ("my_nets.nets:PlainNet", "large-covid-ct", "Plain net"),
    ):
        command = [sys.executable, "-c", code, model, dataset, str(tmp_path / "root")]
        run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert run.returncode == 0, run.stderr
        assert title in run.stdout
