"""How fast networks are beside a reference: child processes of a candidate hold both and time them by turns."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cost.measurement import Measurement, make_settings
from bench.cost.rounds import PROCESSES, Samples, figures, together
from bench.errors import UserError
from bench.records.environment import too_few_idle
from bench.records.profiles import SCHEMA, Setting, cost_row, profile_row, write_profile
from bench.records.store import check_writable, read_records
from bench.runs.arguments import FLAG, FOLDER, NUMBER, REPORT, make_request, or_none, read_arguments
from bench.zoo.registry import canonical_name, placed_name, resolved_entry

if TYPE_CHECKING:
    import pandas as pd

PROFILE = {"results": FOLDER, "seconds": NUMBER, "sweep": FLAG, "data_root": or_none(FOLDER), "report": REPORT}
# Large blocks of their own mapping, given back when they are freed: else the C library keeps some of them resident, and
# the peak of resident memory says less of what was in use.
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072"}
# The other way round while passes are timed: what is freed is kept. By default it depends on the process's history
# whether a buffer is mapped anew for each pass, and thousands of page faults are timed, or none.
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)}
BLOCKS = ("passes", "reference_passes")  # of a block, a number for each process


def profile(
    models: str | Sequence[str],
    results: str | Path = "results",
    seconds: float = 60.0,
    sweep: bool = False,
    data_root: str | Path | None = None,
    report: Callable[[str], None] = lambda line: None,
    **request: Any,
) -> pd.DataFrame:
    """Measures models against a reference, each in processes of its own; stores each profile as it is measured.

    Args:
        models: names as elsewhere, by commas or in a list: `all`, globs, `mednext_tiny[sem=none]`.
        results: where profiles are stored, and weights are looked for on which faster variants are scored.
        seconds: most that the rounds of one candidate take, beside building and warming up, where ten in each of
            its processes do not take longer; latency takes a sixth of it after them, larger batches a third.
        sweep: try larger batches until there is no gain, however long it takes.
        data_root: as `bench.run` takes it: prepared data that weights are scored on.
        report: takes a line of progress.
        request: the other fields of `bench.cost.measurement.Measurement`.

    Returns:
        One row per candidate and form (`bench.records.profiles.profile_row`). A candidate that cannot be built or timed
        has its reason in `error`, is not stored, and the others go on.

    Raises:
        UserError: any name or value that is not right, before anything is measured.
    """
    import pandas as pd

    where = {"results": results, "seconds": seconds, "sweep": sweep, "data_root": data_root, "report": report}
    read_arguments(where, PROFILE)
    if not seconds > 0:
        raise UserError(f"Expected seconds to be positive, but got {seconds}.")
    settings = make_settings(make_request(Measurement, {"models": models, **request}, PROFILE))
    check_writable(Path(results))
    if data_root is not None:
        from bench.datasets.cache.prepared import resolve_root

        resolve_root(data_root)
    _warn_of_load(settings[0].threads, report)
    for note in read_records(results).notes:  # their weights, on which faster variants are scored
        report(note)
    rows = []
    for number, setting in enumerate(settings, 1):
        name = _shown(setting.model, setting.task)["name"]
        report(f"measuring {name} ({setting.form} form), {number} of {len(settings)}")
        try:
            measured = measure(setting, seconds, sweep, (results, data_root))
        except UserError as error:
            rows.append({"key": setting.key, "model": name, "form": setting.form, "error": str(error)})
            continue
        write_profile(Path(results), measured)
        rows.append(profile_row(measured))
    return pd.DataFrame(rows)


def _warn_of_load(threads: int, report: Callable[[str], None]) -> None:
    """Reports when fewer cores are idle than there are threads: threads that wait for a core hold up the others."""
    few = too_few_idle(threads)
    if few:
        report(
            f"note: {few}, but --threads is {threads}: ratios mean little when "
            f"threads wait for a core. Wait until the machine is idle{', or take fewer threads' * (threads > 1)}."
        )


def count(
    models: str | Sequence[str], report: Callable[[str], None] = lambda line: None, **request: Any
) -> pd.DataFrame:
    """Counts parameters and MACs by three counters, one network after another; times and stores nothing.

    Args:
        models, report, request: as `profile` takes them; what is of timing alone is not looked at.

    Returns:
        One row per model and form: `model`, `title`, `form`, `task`, `input` (of one image), `classes`, the columns of
        `bench.records.profiles.cost_row`, and `error`.
    """
    import pandas as pd

    from bench.cost.worker import respond

    counted = {name: value for name, value in request.items() if name not in PROFILE}
    settings = make_settings(make_request(Measurement, {"models": models, **counted}, PROFILE))
    rows = []
    for number, setting in enumerate(settings, 1):
        shown, size = _shown(setting.model, setting.task), setting.image_size
        name = shown["name"]
        report(f"counting {name} ({setting.form} form), {number} of {len(settings)}")
        row: dict[str, Any] = {"model": name, "title": shown["title"], "form": setting.form, "task": setting.task}
        row |= {"input": f"1x{setting.channels}x{size}x{size}", "classes": setting.classes}
        with contextlib.redirect_stdout(sys.stderr):  # what a network's own code prints
            answer = respond(_request("complexity", setting))
        failed = f"Cannot count {name}: {answer['error']}" if "error" in answer else None
        rows.append(row | ({} if failed else cost_row(answer["cost"])) | {"error": failed})
    return pd.DataFrame(rows)


def measure(
    setting: Setting,
    seconds: float,
    sweep: bool = False,
    weights: tuple[str | Path, str | Path | None] | None = None,
) -> dict[str, Any]:
    """The profile of one setting, measured in child processes: several for the speed, one for each peak of memory.

    Args:
        seconds, sweep: as `profile` takes them.
        weights: results folder and data root, in which a faster variant's change of a metric is looked for.

    Raises:
        UserError: the model does not build or run, or a child that times it died.
    """
    model, reference = (_shown(network, setting.task) for network in (setting.model, setting.reference))
    purpose = f"time {model['name']} ({setting.form} form, against {reference['name']})"
    timed = {"reference": _placed(setting.reference), "seconds": seconds}
    answer = _ask(_request("speed", setting, sweep=sweep, **timed), purpose)
    parts = [answer] + [_ask(_request("rounds", setting, **timed), purpose) for _ in range(PROCESSES - 1)]
    samples = together([_samples(part) for part in parts])
    measured = ("latency", "sweep", "cost", "change", "peak_bytes", "environment")
    return {
        "schema": SCHEMA,
        "key": setting.key,
        "setting": asdict(setting),
        "model": model,
        "reference": reference,
        "figures": figures(samples, setting.batch),
        "samples": asdict(samples) | {name: [part["samples"][name] for part in parts] for name in BLOCKS},
        "load": {"start": answer["load"]["start"], "end": parts[-1]["load"]["end"]},
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "memory": _memory(setting, model["name"]),
        "metric": None if answer["change"] is None or weights is None else _metric(setting, model["name"], *weights),
        **{key: answer[key] for key in measured},
    }


def _samples(answer: dict[str, Any]) -> Samples:
    return Samples(**{name: value for name, value in answer["samples"].items() if name not in BLOCKS})


def _metric(setting: Setting, name: str, results: str | Path, data_root: str | Path | None) -> dict[str, Any] | None:
    """What the variant makes of trained weights' scores; None where no weights fit; a failure is a line in `error`."""
    folders = {"results": str(results), "data_root": None if data_root is None else str(data_root)}
    answer = _try(_request("metric", setting, **folders), f"score {name} ({setting.form} form)")
    return answer if "error" in answer else answer["metric"]


def _memory(setting: Setting, name: str) -> dict[str, Any] | None:
    """Peaks of inference and of a training step, where the form has one; a failure is a line in `error`.

    Compiled networks have none: compiling takes memory in the same process.
    """
    if setting.compiled:
        return None
    peaks: dict[str, Any] = {"inference": None, "training": None}
    works = {"inference": "inference"} | ({"training": "training-step"} if setting.form == "training" else {})
    for part, work in works.items():
        peaks[part] = _try(_request("memory", replace(setting, work=work)), f"measure the memory of {name} ({part})")
    return peaks


def _request(what: str, setting: Setting, **more: Any) -> dict[str, Any]:
    """A request as `bench.cost.worker` takes it."""
    return {"what": what, "setting": asdict(setting), "model": _placed(setting.model), **more}


def _try(request: dict[str, Any], purpose: str) -> dict[str, Any]:
    """Asks a child, and returns its answer; what goes wrong is a line in `error`."""
    try:
        return _ask(request, purpose)
    except UserError as error:
        return {"error": str(error)}


def _ask(request: dict[str, Any], purpose: str) -> dict[str, Any]:
    """Asks a child, which sees the same import paths as this process and no folder more.

    Raises:
        UserError: the child died, or answered with an error; `purpose` says what it cannot do.
    """
    threads = str(request["setting"]["threads"])
    paths = os.pathsep.join(path for path in sys.path if path)
    child = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    child |= {"memory": RETURNED, "metric": {}}.get(request["what"], KEPT)
    command = [sys.executable, "-P", "-m", "bench.cost.worker"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, env=child)
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise UserError(f"Cannot {purpose}: its process was killed by {name} (out of memory?).")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"Cannot {purpose}: its process ended with code {done.returncode}: {last}") from None
    if "error" in answer:
        raise UserError(f"Cannot {purpose}: {answer['error']}")
    return answer


def _placed(model: dict[str, Any]) -> str:
    """The name under which a child finds a resolved model."""
    return placed_name(resolved_entry(model), model["config"])


def _shown(model: dict[str, Any], task: str) -> dict[str, str]:
    entry = resolved_entry(model)
    name = canonical_name(entry, model["config"])
    config = f" [{name.partition('[')[2]}" if "[" in name else ""
    return {"name": name, "title": entry.title_of(task) + config, "family": entry.family}
