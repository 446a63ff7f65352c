"""A trained network for elsewhere: ONNX, TorchScript or safetensors, with what has to be done before and after it.

Nothing is left behind that was not compared: the file is opened again, by the program that will run it, and its logits
and what is scored of them are held against the network's own, on test cases where these are here.
"""

from __future__ import annotations

import copy
import io
import json
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from bench.datasets.base import Prepared
from bench.datasets.loading import batch_input, label_map, network_input
from bench.errors import UserError
from bench.metrics.segmentation import dice
from bench.models.fuse import fuse
from bench.records.environment import installed_version
from bench.records.named_file import write_named
from bench.runs.evaluate import BATCH
from bench.runs.held import cases_of_test
from bench.runs.trained import Trained, known_spec, using_threads

LARGEST = 1e-3  # difference of a logit, of Dice, or of a probability, over which a file is refused
VOLUMES, IMAGES = 4, 64  # test cases that are compared
INPUT, OUTPUT = "images", "logits"
Run = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Exported:
    """One file.

    Attributes:
        kind: `onnx`, `torchscript` or `state-dict`.
        form: `fused`, or `training` where there is no fused form that is proved equal.
        opset: of ONNX, else None.
        logits, scores: the largest differences: of a logit, and of Dice or a probability; None: there was no reference.
        checked: on what.
    """

    path: Path
    kind: str
    form: str
    size: int
    opset: int | None
    logits: float
    scores: float | None
    checked: str
    why_not_fused: str = ""


@dataclass(frozen=True, eq=False)
class Probe:
    """An input of the network, and what is scored of its logits: a function of logits to scores, or None."""

    inputs: torch.Tensor
    score: Callable[[torch.Tensor], np.ndarray] | None


def export_run(trained: Trained, files: Mapping[str, Path], data_root: str | Path | None = None) -> list[Exported]:
    """Writes the files, kind -> path.

    Raises:
        UserError: a network that cannot be exported, a file whose outputs differ by more than `LARGEST`, which is not
            kept, a package that is missing, or a folder that cannot be written to.
    """
    plain = _plain(trained)
    example = torch.randn(
        2, trained.channels, *[trained.protocol.image_size] * 2, generator=torch.Generator().manual_seed(0)
    )
    network, why = _fused(plain, example)
    probes, checked = _probes(trained, data_root)
    exported = []
    with using_threads(trained.protocol.threads):
        for kind, path in files.items():
            own, reason = (plain, "") if kind == "state-dict" else (network, why)
            form = "training" if own is plain else "fused"
            about = description(trained, form)
            content, run, opset = WRITERS[kind](own, example, about)
            logits, scores = _differences(plain, run, probes)
            _check(path, logits, scores)
            write_named(path, content)
            exported.append(Exported(path, kind, form, len(content), opset, logits, scores, checked, reason))
    return exported


def description(trained: Trained, form: str) -> dict[str, Any]:
    """What a file says of itself: what it is, what goes in, what comes out, what is to be done before and after."""
    protocol = trained.protocol
    size, channels = protocol.image_size, trained.channels
    each = "slice" if trained.task == "segmentation" else "image"
    spread = {
        "zscore": f"each {each} less its mean, over its standard deviation + 1e-6",
        "minmax": "scaled to [0, 1] by the smallest and largest value of the "
        + ("volume" if trained.task == "segmentation" else "image"),
    }[protocol.normalise]
    resized = {
        "linear": "bilinear, antialiased, corners not aligned",
        "transunet": "cubic spline, scipy's zoom of order 3",
    }
    spec = known_spec(trained.dataset)
    windowing = f"intensities {spec.windowing}; " if spec and spec.windowing else ""
    after = "softmax over the classes"
    if trained.task == "segmentation":
        way = {
            "logits": "resized to the image's grid, bilinear, then argmax",
            "labels": "argmax, then nearest neighbour",
        }
        after = way[protocol.output]
    return {
        "model": trained.name,
        "title": trained.title,
        "cell": trained.key,
        "dataset": trained.dataset,
        "weights": trained.weights,
        "form": form,
        "task": trained.task,
        "classes": list(trained.classes),
        "input": f"{INPUT}: float32 (N, {channels}, {size}, {size})",
        "output": f"{OUTPUT}: float32 (N, {len(trained.classes)}{'' if each == 'image' else f', {size}, {size}'})",
        "preprocessing": f"{windowing}{spread}; then resized to {size} x {size}, {resized[protocol.resize]}",
        "postprocessing": after,
        "medbench": installed_version("medbench"),
    }


def _plain(trained: Trained) -> nn.Module:
    """The network without Fabric, on the CPU, in float32."""
    model = getattr(trained.model, "module", trained.model)
    return copy.deepcopy(model).cpu().float().to(memory_format=torch.contiguous_format).eval()


def _fused(model: nn.Module, example: torch.Tensor) -> tuple[nn.Module, str]:
    """The fused form, or the model itself and why there is none that is proved equal."""
    try:
        return fuse(model, example), ""
    except UserError as error:
        return model, str(error)


# -- what it is compared on ----------------------------------------------------------------------------------


def _probes(trained: Trained, data_root: str | Path | None) -> tuple[list[Probe], str]:
    try:
        data, cases = cases_of_test(trained, data_root)
    except UserError as error:
        noise = torch.randn(3, trained.channels, *[trained.protocol.image_size] * 2)
        reason = str(error).partition(":")[0].rstrip(".")
        return [Probe(noise, None), Probe(noise[:1], None)], f"4 random images (no test cases: {reason})"
    if trained.task == "classification":
        chosen = cases[:IMAGES]
        inputs = batch_input([data.image(i) for i in chosen], trained.protocol)
        return [Probe(inputs, _probabilities), Probe(inputs[:1], _probabilities)], f"{len(chosen)} test images"
    chosen = cases[:VOLUMES]
    return [_volume_probe(trained, data, i) for i in chosen], f"{len(chosen)} test volumes"


def _probabilities(logits: torch.Tensor) -> np.ndarray:
    return logits.softmax(dim=1).numpy()


def _volume_probe(trained: Trained, data: Prepared, i: int) -> Probe:
    reference, protocol = np.asarray(data.label(i)), trained.protocol

    def score(logits: torch.Tensor) -> np.ndarray:
        labels = label_map(logits, (reference.shape[1], reference.shape[2]), protocol)
        return np.array([dice(labels == k, reference == k) for k in range(1, len(trained.classes))])

    return Probe(network_input(data.image(i), protocol), score)


def _differences(model: nn.Module, run: Run, probes: Sequence[Probe]) -> tuple[float, float | None]:
    """The largest difference of a logit, and of a score, between a network and an exported file."""
    logits, scores = 0.0, []
    for probe in probes:
        batches = probe.inputs.split(BATCH)
        with torch.no_grad():
            expected = torch.cat([model(batch) for batch in batches])
        got = torch.cat([run(batch) for batch in batches])
        if got.shape != expected.shape or not got.isfinite().all():
            return float("inf"), None
        logits = max(logits, float((got - expected).abs().max()))
        if probe.score is not None:
            scores.append(np.nanmax(np.abs(probe.score(got) - probe.score(expected)), initial=0.0))
    return logits, float(max(scores)) if scores else None


def _check(path: Path, logits: float, scores: float | None) -> None:
    if max(logits, scores or 0.0) > LARGEST:
        raise UserError(
            f"{path} was not written: its outputs differ from the network's by {logits:.2g} in a logit and "
            f"{scores or 0.0:.2g} in a score, and {LARGEST:g} is the most that is taken for rounding."
        )


# -- kinds of files ------------------------------------------------------------------------------------------


def _onnx(model: nn.Module, example: torch.Tensor, about: dict[str, Any]) -> tuple[bytes, Run, int | None]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}: pip install 'medbench[export]'.") from None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        path = Path(folder) / "model.onnx"
        shapes = ({0: torch.export.Dim("batch")},)
        names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT]}
        _tried(
            "ONNX",
            lambda: torch.onnx.export(
                model, (example,), path, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False, **names
            ),
        )
        stored = onnx.load(path)
    for name, value in about.items():
        stored.metadata_props.add(key=name, value=value if isinstance(value, str) else json.dumps(value))
    content = stored.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(inputs: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(_tried("ONNX", lambda: session.run([OUTPUT], {INPUT: inputs.numpy()}))[0])

    return content, run, next(opset.version for opset in stored.opset_import if opset.domain in ("", "ai.onnx"))


def _torchscript(model: nn.Module, example: torch.Tensor, about: dict[str, Any]) -> tuple[bytes, Run, int | None]:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a trace fixes, which the comparison finds; TorchScript is deprecated
        traced = _tried("TorchScript", lambda: torch.jit.trace(model, example))
        torch.jit.save(traced, buffer, _extra_files={"medbench.json": json.dumps(about)})
        loaded = torch.jit.load(io.BytesIO(buffer.getvalue()))

    def run(inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return cast(torch.Tensor, _tried("TorchScript", lambda: loaded(inputs)))

    return buffer.getvalue(), run, None


def _state_dict(model: nn.Module, example: torch.Tensor, about: dict[str, Any]) -> tuple[bytes, Run, int | None]:
    from safetensors.torch import load, save

    state = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    content = save(state, metadata={"medbench": json.dumps(about)})
    again = copy.deepcopy(model)
    again.load_state_dict(load(content))

    def run(inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return cast(torch.Tensor, again(inputs))

    return content, run, None


WRITERS = {"onnx": _onnx, "torchscript": _torchscript, "state-dict": _state_dict}


def _tried(what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # any network's own code, or an operator that the format lacks
        line = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        raise UserError(f"This network cannot be exported as {what}: {line[:300]}") from error
