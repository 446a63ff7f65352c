"""The cache of a dataset: flat arrays and a manifest, written once, renamed into place.

Segmentation: `<root>/<name>/images.npy` (float32) and `labels.npy` (uint8) hold all volumes one after another.
Classification: `images.npy` (uint8) holds all images; their classes stand in the manifest. `manifest.json` says where
each case begins, what it is, and the hash of its bytes. Nothing in it depends on the machine, the path or the time.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from bench.datasets.base import DatasetSpec, Prepared, Source, cache_name
from bench.datasets.cache.archives import opened
from bench.datasets.cache.manifest import FORMATS, form_of, is_cache, load_manifest, manifest_task, read_case
from bench.datasets.cache.resuming import adopt
from bench.datasets.cache.writing import Report, file_sha256, publish, write_cache
from bench.datasets.readers.folders import all_files, visible
from bench.datasets.stored import Values, broken, read_json
from bench.errors import UserError, unknown

ENVIRONMENT = "MEDBENCH_DATA"
T = TypeVar("T")


# -- where ---------------------------------------------------------------------------------------------------


def default_root() -> Path:
    """The user's data folder for medbench, as the platform has it."""
    import platformdirs

    return Path(platformdirs.user_data_dir("medbench"))


def resolve_root(data_root: str | Path | None, must_exist: bool = True) -> tuple[Path, bool]:
    """The folder of the caches and whether the user gave it: argument, else MEDBENCH_DATA, else the default.

    Raises:
        UserError: the user gave one that is no folder (with must_exist=False: that is a file).
    """
    from_environment = os.environ.get(ENVIRONMENT) or None
    named, origin = (data_root, "--data-root") if data_root is not None else (from_environment, ENVIRONMENT)
    if named is None:
        return default_root(), False
    if not str(named):
        raise UserError(f"Expected {origin} to name a folder, but it is empty.")
    try:
        root = Path(named).expanduser()
    except RuntimeError:
        line = f"Expected {origin} to be a folder, but {named} names the home of a user who has none."
        raise UserError(line) from None
    if root.exists() and not root.is_dir():
        raise UserError(f"Expected {origin} to be a folder, but {root} is a file.")
    if must_exist and not root.exists():
        raise UserError(f"The folder {root} of {origin} does not exist. {_similar_folders(root)}")
    return root, True


def _similar_folders(folder: Path) -> str:
    """The folders whose names resemble one that does not exist, or how to create it."""
    siblings = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    near = difflib.get_close_matches(folder.name, siblings, n=3, cutoff=0.5)
    if near:
        return f"Did you mean: {', '.join(str(folder.parent / name) for name in near)}?"
    return "Create it with `medbench data prepare NAME --from DIR --data-root ROOT`."


# -- write ---------------------------------------------------------------------------------------------------


def prepare(
    spec: DatasetSpec,
    source: Path,
    root: Path,
    *,
    name: str | None = None,
    kind: Literal["real", "phantom"] = "real",
    replace: bool = False,
    report: Report | None = None,
) -> Prepared:
    """Reads the original files and writes the cache `<root>/<name>`, case by case.

    Written beside its place and renamed, so that an interrupted run leaves no half cache; the next one goes on behind
    the cases that are finished. Where the same content is there already it is kept (`Prepared.kept`).

    Args:
        source: a folder in an original layout, or a .zip of one.
        report: called after each case with (case, done, total).

    Raises:
        UserError: bad source files, a place that cannot be written, other content there and not `replace`.
    """
    final = root / (name or cache_name(spec, kind))
    if final.exists() and not is_cache(final):
        raise UserError(
            f"{final} is not a medbench cache and would be overwritten: choose another --data-root, or move it away."
        )
    temporary = root / f"{final.name}.tmp-{os.getpid()}"
    interrupted = False
    try:
        adopt(root, final.name, temporary)
        with opened(source, root) as outer:
            folder, layout = _find(spec, outer)
            temporary.mkdir(parents=True, exist_ok=True)
            manifest = write_cache(spec, folder, layout, kind, temporary, report)
        kept = publish(temporary, final, manifest, replace)
    except OSError as error:
        raise UserError(_failure(error, source, root)) from error
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        if not interrupted:
            shutil.rmtree(temporary, ignore_errors=True)
    return _open(spec, final, kind, kept)


def _failure(error: OSError, source: Path, root: Path) -> str:
    """The line for a file of the source that cannot be read, or else for a root that cannot be written."""
    if isinstance(error.filename, str | bytes) and Path(os.fsdecode(error.filename)).is_relative_to(source):
        return f"Cannot read {os.fsdecode(error.filename)}: {error.strerror}."
    return f"Cannot write the cache under {root}: {error}."


# -- open ----------------------------------------------------------------------------------------------------


def open_prepared(spec: DatasetSpec, root: Path, kind: Source = "real") -> Prepared:
    """Opens `<root>/<name>`; reads the manifest, opens the arrays.

    Raises:
        UserError: nothing there, original files instead of a cache, or a cache that is broken or outdated.
    """
    folder = root / cache_name(spec, kind)
    if not folder.exists():
        option = "" if root == default_root() else f" --data-root {root}"
        raise UserError(
            f"No prepared {spec.name} in {root}: run `medbench data prepare {spec.name} --from DIR{option}`"
            f"{'' if spec.draw_phantom is None else ', or pass --data phantom'}."
        )
    if not is_cache(folder):
        raise UserError(
            f"{folder} holds other files than a prepared cache: run `medbench data prepare {spec.name} "
            f"--from {folder} --data-root ROOT` with another ROOT, and give that ROOT."
        )
    return _open(spec, folder, kind, kept=False)


def _open(spec: DatasetSpec, folder: Path, kind: Source, kept: bool) -> Prepared:
    manifest = load_manifest(folder)
    task = manifest_task(manifest)
    if (manifest["dataset"], manifest["kind"], task) != (spec.name, kind, spec.task):
        raise broken(folder, f"it is {manifest['dataset']} ({manifest['kind']}, {task})")
    if manifest["layout"] not in list(spec.default_split) or manifest["classes"] != list(spec.classes):
        raise broken(folder, f"manifest.json names a layout or classes that {spec.name} does not have")
    form = form_of(task, spec.channels)
    arrays = {name: _values(folder / name, dtype, manifest) for name, dtype in form.arrays.items()}
    return Prepared(
        spec=spec,
        folder=folder,
        kind=kind,
        layout=manifest["layout"],
        fingerprint=manifest["fingerprint"],
        cases=tuple(read_case(entry, task) for entry in manifest["cases"]),
        manifest=manifest,
        images=arrays["images.npy"],
        labels=arrays.get("labels.npy"),
        kept=kept,
    )


def _values(path: Path, dtype: str, manifest: dict[str, Any]) -> Values:
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no file")  # a pipe would be waited for
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # which reads the header alone
    except (OSError, ValueError, EOFError) as error:
        raise broken(path.parent, f"{path.name} cannot be read ({error})") from error
    if array.shape != (manifest["counts"]["voxels"],) or array.dtype.str != dtype:
        raise broken(path.parent, f"{path.name} has {array.size} values instead of {manifest['counts']['voxels']}")
    return Values(path, dtype, array.offset)


def verify(prepared: Prepared) -> list[str]:
    """Hashes the cache again; one line for each array of a case whose bytes are not those that were prepared."""
    problems = []
    for i, entry in enumerate(prepared.manifest["cases"]):
        arrays = {"image": prepared.stored_image(i)}
        if prepared.labels is not None:
            arrays["label"] = prepared.label(i)
        for role, array in arrays.items():
            if hashlib.sha256(array.view(np.uint8).data).hexdigest() != entry[f"{role}_sha256"]:
                problems.append(f"{prepared.folder / (role + 's.npy')}: the {role} of {entry['case']} has changed.")
    return problems


def compare_source(prepared: Prepared, source: Path, root: Path) -> list[str]:
    """Hashes the original files and compares with the manifest; one line for each that is missing, changed or new.

    Raises:
        UserError: no folder or archive of a layout of the data set.
    """
    with opened(source, root) as outer:
        spec = prepared.spec
        folder, layout = _find(spec, outer)
        if layout != prepared.layout:
            return [f"its layout is {layout}, not {prepared.layout}"]
        present = {path.relative_to(folder).as_posix(): file_sha256(path) for path in all_files(folder)}
        prepared_from = {name: sha for entry in prepared.manifest["cases"] for name, sha in entry["files"].items()}
        hashes = set(present.values())
        changes = [f"{name} is missing or changed" for name, sha in sorted(prepared_from.items()) if sha not in hashes]
        changes = changes or _changed_cases(prepared, folder)
        added = len(spec.list_cases(folder, layout)) - len(prepared.cases)
        return [*changes, *([f"it has {added} cases more"] if added > 0 else [])]


def _changed_cases(prepared: Prepared, folder: Path) -> list[str]:
    """A line for each case that is no longer made of the same files, or whose patient, class or part is another one.

    Files may have other names by now; patients, classes and parts may stand in tables beside them.
    """
    sources = {
        case.case: (
            sorted(map(file_sha256, case.files)), case.patient, getattr(case, "label", None), case.part,
        )
        for case in prepared.spec.read_cases(folder, prepared.layout)
    }  # fmt: skip
    changes = []
    for entry in prepared.manifest["cases"]:
        files, patient, label, part = sources.get(entry["case"], ([], "", None, None))
        if files != sorted(entry["files"].values()):
            changes.append(f"{entry['case']} is made of other files")
        elif "label" in entry and label != entry["label"]:
            changes.append(f"{entry['case']} is of another class")
        elif (patient, part) != (entry["patient"], entry.get("part")):
            changes.append(f"{entry['case']} is of another {'part' if patient == entry['patient'] else 'patient'}")
    return changes


def _find(spec: DatasetSpec, folder: Path) -> tuple[Path, str]:
    """A folder and its layout: the given folder, or the only one inside it where an archive wrapped the files."""
    try:
        return folder, spec.find_layout(folder)
    except UserError:
        inner = [path for path in visible(folder) if path.is_dir()] if folder.is_dir() else []
        if len(inner) != 1:
            raise
        try:
            return _find(spec, inner[0])
        except UserError:
            pass
        raise


# -- real or phantom -----------------------------------------------------------------------------------------


def locate(
    spec: DatasetSpec, source: str, data_root: str | Path | None = None, report: Report | None = None
) -> Prepared:
    """The cache that a run uses: `real`, `phantom`, or `auto`.

    `auto` takes phantoms only where the user gave no root and the default root has nothing of the dataset.

    Raises:
        UserError: no such cache under a root that was given, or a broken one; no such root, but for phantoms, which
            are drawn into one that is made.
    """
    if source not in ("auto", "real", "phantom"):
        raise unknown("data source", source, ("auto", "real", "phantom"))
    if spec.draw_phantom is None:
        _reject_phantoms(spec, source)
        return open_prepared(spec, resolve_root(data_root)[0], "real")
    root, chosen = resolve_root(data_root, must_exist=source != "phantom")
    if source == "phantom" or (source == "auto" and not chosen and not (root / spec.name).exists()):
        return _phantom(spec, root, report)
    return open_prepared(spec, root, "real")


def _reject_phantoms(spec: DatasetSpec, source: str) -> None:
    if source == "phantom":
        raise UserError(
            f"No phantoms can be drawn of {spec.name}: nothing here knows how its images look. Pass --data real."
        )


def _phantom(spec: DatasetSpec, root: Path, report: Report | None) -> Prepared:
    """The phantoms of this version, drawn when they are not there yet or older."""
    folder = root / cache_name(spec, "phantom")
    drawn = folder.exists()
    if drawn and not _outdated(spec, folder):
        return open_prepared(spec, root, "phantom")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        line = f"Cannot make the folder {root} for phantoms: {error.strerror}."
        raise UserError(f"{line} Name another with --data-root or {ENVIRONMENT}.") from None
    assert spec.draw_phantom is not None
    with tempfile.TemporaryDirectory(prefix=f"medbench-{spec.name}-") as raw:
        spec.draw_phantom(Path(raw), 0)
        return prepare(spec, Path(raw), root, kind="phantom", replace=drawn, report=report)


def _outdated(spec: DatasetSpec, folder: Path) -> bool:
    """Whether another version wrote these phantoms; an unreadable manifest is broken, not outdated."""
    try:
        manifest = read_json(folder / "manifest.json")
        versions = (manifest["schema"], manifest["preparation_version"], manifest["phantom_version"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    form = FORMATS[spec.task]
    return versions != (form.schema, form.preparation, spec.phantom_version)
