"""What is stored of networks is what their modules say, counts again to the same, and is void once code changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.cost.cataloguing import asked_checks, asked_costs, facts
from bench.cost.published import check_shape, count_three
from bench.zoo import catalogue as module
from bench.zoo.catalogue import catalogue, content_hash, known_check, known_cost, known_entry, shape_key
from bench.zoo.complexity import complexity
from bench.zoo.costs import cache_file, cost_at
from bench.zoo.entry import MODELS, ModelEntry, register_model
from bench.zoo.registry import canonical_name, imported_entry, model_entry, model_names, parse_model

OURS = [name for name in model_names() if name in catalogue()["entries"]]
FEW = ("chance", "unet_s", "mednext_tiny[sem=strip]", "resnet10t", "segresnet_s")  # counted anew in the quick tests


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the packages' sources, in which a test may change a file, in place of them."""
    for source in catalogue()["sources"].values():
        for name in source["files"]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((module.ROOT / name).read_bytes())
    monkeypatch.setattr(module, "ROOT", tmp_path)
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    module.is_unchanged.cache_clear()
    module.identity.cache_clear()


def test_the_catalogue_is_of_this_code() -> None:
    """Where this fails: `make catalogue`."""
    stale = [
        name for name, source in catalogue()["sources"].items() if content_hash(source["files"]) != source["sha256"]
    ]
    assert stale == []
    named = {shape_key(canonical_name(*parse_model(name)), *shape) for name, shape in asked_costs()}
    assert named == set(catalogue()["costs"])
    checked = {_check_key(entry, task) for entry, task in asked_checks() if entry.name in OURS}
    assert checked == set(catalogue()["checks"])


def _check_key(entry: ModelEntry, task: str) -> str:
    channels, size, classes = check_shape(entry)
    return shape_key(entry.name, task, channels, classes, size)


@pytest.mark.parametrize("name", OURS)
def test_an_entry_is_stored_as_its_module_registers_it(name: str) -> None:
    real = imported_entry(name)
    stored = known_entry(name, catalogue()["entries"][name]["module"], lambda: real)
    assert stored is not None
    assert facts(stored) == facts(real)
    assert stored.defaults == real.defaults  # tuples are tuples
    assert list(stored.defaults) == list(real.defaults)
    if real.pretrained is not None:
        assert stored.pretrained is not None
        assert stored.pretrained.heads() == real.pretrained.heads()


def _recount(name: str, task: str, channels: int, classes: int, size: int) -> dict[str, object]:
    entry, config = parse_model(name)
    return complexity(entry.build(task, channels, classes, size, **config), (1, channels, size, size)).stored()


@pytest.mark.parametrize("name", FEW)
def test_a_few_networks_count_again_to_what_is_stored(name: str) -> None:
    shape = next(shape for asked, shape in asked_costs() if asked == name)
    stored = known_cost(model_entry(name.partition("[")[0]), shape_key(name, *shape))
    assert stored == _recount(name, *shape)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), [*asked_costs()], ids=str)
def test_every_network_counts_again_to_what_is_stored(name: str, shape: tuple[str, int, int, int]) -> None:
    assert catalogue()["costs"][shape_key(canonical_name(*parse_model(name)), *shape)] == _recount(name, *shape)


@pytest.mark.parametrize("name", ["unet_s", "mobilenetv3_small"])
def test_three_counters_count_again_to_what_is_stored(name: str) -> None:
    entry = model_entry(name)
    task = entry.tasks[0]
    again = json.loads(json.dumps(asdict(count_three(entry, task, *check_shape(entry)))))
    assert known_check(entry, _check_key(entry, task)) == again


@pytest.mark.slow
@pytest.mark.parametrize(("entry", "task"), [*asked_checks()], ids=lambda value: getattr(value, "name", value))
def test_three_counters_of_every_network_count_again(entry: ModelEntry, task: str) -> None:
    again = json.loads(json.dumps(asdict(count_three(entry, task, *check_shape(entry)))))
    assert catalogue()["checks"][_check_key(entry, task)] == again


def test_of_an_edited_network_nothing_is_known(edited: Path) -> None:
    key = shape_key("unet_s", "segmentation", 1, 4, 128)
    entry = known_entry("unet_s", "baselines.unet", lambda: imported_entry("unet_s"))
    assert entry is not None
    assert known_cost(entry, key) is not None
    file = edited / "baselines" / "unet.py"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    _forget()
    assert known_cost(entry, key) is not None, "line endings are no edit"
    file.write_text(file.read_text() + "WIDTH = 1\n")
    _forget()
    assert known_entry("unet_s", "baselines.unet", lambda: imported_entry("unet_s")) is None
    assert known_cost(entry, key) is None
    assert known_entry("nnunet_s", "baselines.nnunet", lambda: imported_entry("nnunet_s")) is None, "it imports unet"


@pytest.mark.parametrize("name", ["ablations/fillings.py", "bench/models/layers.py", "bench/models/readings.py"])
def test_an_edited_filling_makes_the_proposed_model_another(edited: Path, name: str) -> None:
    (edited / name).write_text((edited / name).read_text() + "X = 1\n")
    assert module.known_fillings() is None
    assert known_entry("mednext_tiny", module.PROPOSED, lambda: imported_entry("mednext_tiny")) is None


def test_another_rule_of_counting_or_library_makes_costs_unknown(edited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, key = imported_entry("resnet10t"), shape_key("resnet10t", "classification", 3, 2, 128)
    assert known_cost(entry, key) is not None
    monkeypatch.setattr(module, "installed_version", lambda name: "0.0.1")
    _forget()
    assert known_cost(entry, key) is None
    assert known_entry("resnet10t", "baselines.classifiers", lambda: entry) is not None, "what it is called stays"
    monkeypatch.undo()
    _forget()


def test_a_network_registered_under_a_stored_name_is_not_taken_for_it() -> None:
    kept = imported_entry("unet_s")

    def unet_s(task: str, in_channels: int, num_classes: int, image_size: int) -> object:
        from torch import nn

        return nn.Conv2d(in_channels, num_classes, 1)

    try:
        register_model(title="Mine", family="cnn", citation="me")(unet_s)  # type: ignore[arg-type]
        assert cost_at(model_entry("unet_s"), {}, "segmentation", 1, 4, 128).params == 8
    finally:
        MODELS["unet_s"] = kept


def test_a_counted_cost_is_remembered_and_a_damaged_file_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    entry, config = parse_model("mednext_tiny[depths=1-1-1-1]")
    first = cost_at(entry, config, "segmentation", 1, 2, 32)
    stored = json.loads(cache_file().read_text())
    assert list(stored.values()) == [first.stored()]
    broken = replace(entry, build=_never)
    broken.build.__module__ = module.PROPOSED
    assert cost_at(broken, config, "segmentation", 1, 2, 32) == first, "nothing is built"
    assert cost_at(entry, config, "segmentation", 1, 3, 32) != first, "another input is another cost"
    for damage in ("{", "[]", '{"a": {"params": 1}}'):
        cache_file().write_text(damage)
        assert cost_at(entry, config, "segmentation", 1, 2, 32) == first
        assert first.stored() in json.loads(cache_file().read_text()).values()


def _never(*shape: object, **config: object) -> object:
    raise AssertionError("built")


def test_a_third_party_s_cost_is_known_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "net.py"
    text = (
        "from torch import nn\ndef Net(in_channels, num_classes):\n"
        "    return nn.Conv2d(in_channels, num_classes, {}, padding='same')\n"
    )
    found = []
    for size in (1, 3, 1):
        file.write_text(text.format(size))
        found.append(cost_at(model_entry(f"{file}:Net"), {}, "segmentation", 1, 2, 32).params)
    assert found == [4, 20, 4]
    assert len(json.loads(cache_file().read_text())) == 2


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "file" / "cache"))
    entry, config = parse_model("mednext_tiny[depths=1-1-1-1]")
    assert cost_at(entry, config, "segmentation", 1, 2, 32).params > 0


RUN = ["run", "--models", "chance,unet_s", "--dataset", "acdc", "--preset", "smoke", "--data", "phantom"]
RUN += ["--set", "steps=1", "--set", "evaluations=1"]
HEAVY = ("torch", "monai", "timm", "segmentation_models_pytorch", "optuna")


def _imported(*commands: list[str]) -> dict[str, list[str]]:
    """Command -> the heavy libraries that are imported after it, in one process that runs them in turn."""
    code = (
        f"import json, sys; from bench.cli.main import main\nfound = {{}}\nfor words in {list(commands)!r}:\n"
        " try: main(words)\n except SystemExit as end: assert not end.code, words\n"
        f" found[' '.join(words[:2])] = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_stored_is_printed_without_torch() -> None:
    commands = (["models"], ["models", "--check"], ["ablate", "--list"])
    assert _imported(*commands) == {"models": [], "models --check": [], "ablate --list": []}


@pytest.mark.slow
def test_a_run_whose_cells_are_done_imports_no_torch(tmp_path: Path) -> None:
    results = ["--results", str(tmp_path / "results")]
    first = CliRunner().invoke(main, [*RUN, *results])
    assert "2 complete" in first.output, first.output
    again = _imported([*RUN, *results], ["plan", *RUN[1:], *results], ["report", *results])
    assert again == {"run --models": [], "plan --models": [], "report --results": []}
