"""The description of a user's own data set: a small TOML file beside its cache, which can be edited and shared.

Only `task` and `from` are needed; the rest is recognised and written down when the data set is added.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from bench.datasets.base import Task
from bench.errors import UserError, unknown

SUFFIX = ".toml"
LAYOUTS = {
    "class-folders": "a folder of images for each class",
    "images-masks": "images with a label map each",
    "nnunet": "nnU-Net's imagesTr and labelsTr with dataset.json",
    "npz": "an .npz archive as MedMNIST and MedSegBench have them",
    "table": "a table of paths",
}
MODALITIES = ("ct", "mri", "xray", "us", "photo", "dermoscopy", "endoscopy", "fundus", "oct", "histology", "other")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_RESERVED = re.compile(r".*-(phantom|substitute)")
_STANDS = re.compile(r"#[0-9a-fA-F]{6}|[0-9]{1,3}")
# Folders and words that results and options use themselves.
_TAKEN = {"all", "any", "phantom", "development", "tuning", "audits", "units"}
_KEYS = {"source": "from"}


@dataclass(frozen=True)
class Description:
    """A data set of the user's own, as its TOML file has it.

    Attributes:
        name: of the data set; small letters, digits, `-`, `_`, `.`.
        source: the folder, .zip, .npz or table that the data lie in; relative to the TOML file.
        task: `classification` or `segmentation`; empty before it is recognised.
        layout: one of `LAYOUTS`; empty: recognised by structure.
        classes: names by label id, in segmentation the background's first; empty: recognised.
        values: of label maps and class folders: class -> what stands for it: a value, a colour `#rrggbb`, a folder.
        channels: 1 grey, 3 colours; 0: as the images are.
        patients: a table of cases and their patients; relative to the TOML file.
        patient_pattern: a regular expression that finds the patient in a case's name, else in its folders too: its
            first group that took part, if it has groups.
        split: a table of cases (or patients) and their parts.
        has_parts: the files themselves say which part a case is of.
        allow_leak: a patient may stand in several parts of `split`; results are flagged then.
        modality: one of `MODALITIES`.
    """

    name: str
    task: str
    source: str
    title: str = ""
    layout: str = ""
    modality: str = ""
    channels: int = 0
    classes: tuple[str, ...] = ()
    values: Mapping[str, str] | None = None
    patients: str = ""
    patient_pattern: str = ""
    split: str = ""
    has_parts: bool = False
    allow_leak: bool = False
    citation: str = ""
    licence: str = ""
    homepage: str = ""
    note: str = ""


def described(root: Path) -> list[str]:
    """The names of the descriptions under a root, in alphabetical order."""
    files = root.glob(f"*{SUFFIX}") if root.is_dir() else ()
    return sorted(path.stem for path in files if _NAME.fullmatch(path.stem) and _says_a_task(path))


def _says_a_task(path: Path) -> bool:
    """Whether a TOML file describes a data set, a damaged one too, and is not a stranger's."""
    try:
        return re.search(r"^task\s*=", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE) is not None
    except OSError:
        return False


def check_name(name: str, published: list[str]) -> None:
    """Raises UserError for a name that a data set of one's own cannot have.

    Args:
        published: the names of data sets that packages bring.
    """
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or name in _TAKEN:
        raise UserError(
            f"Expected a name of small letters, digits, - and _, such as my-lesions, which does not end in -phantom or "
            f"-substitute, but got {name!r}."
        )
    if name in published:
        raise UserError(
            f"{name} is the name of a data set that is known already: choose another, or prepare its files with "
            f"`medbench data prepare {name} --from DIR`."
        )


def read_description(path: Path, name: str = "") -> Description:
    """The description in a TOML file; paths in it are relative to its folder.

    Args:
        name: of the data set; else the file's own key, else the file's name.

    Raises:
        UserError: no such file, no TOML, an unknown key, a missing one, or a value of the wrong kind.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"The description {path} does not exist.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"Expected {path} to be a TOML file, but it cannot be read: {error}.") from None
    kinds = {_KEYS.get(field.name, field.name): field for field in fields(Description)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in kinds:
            raise unknown(f"key of {path}", key, kinds)
        values[kinds[key].name] = _checked(path, key, value, str(kinds[key].type))
    values["name"] = name or values.get("name") or path.stem
    for key in ("task", "from"):
        if not values.get(kinds[key].name):
            raise UserError(f'Expected {path} to say `{key} = "..."`, but it does not: task and from are needed.')
    return check_values(Description(**values), str(path))


def check_values(description: Description, origin: str) -> Description:
    """The description, its classes those of `values` where it names none.

    Raises:
        UserError: a task, layout or modality that there is not, values that are not the classes', or a bad pattern.
    """
    if description.task and description.task not in get_args(Task):
        raise UserError(f"Expected task to be {' or '.join(get_args(Task))} in {origin}, but got {description.task!r}.")
    if description.layout and description.layout not in LAYOUTS:
        raise unknown(f"layout in {origin}", description.layout, LAYOUTS)
    if description.modality and description.modality not in MODALITIES:
        raise unknown(f"modality in {origin}", description.modality, MODALITIES)
    if description.channels not in (0, 1, 3):
        raise UserError(f"Expected channels to be 1 (grey) or 3 (colours) in {origin}, but got {description.channels}.")
    if len(set(description.classes)) < len(description.classes) or not all(description.classes):
        raise UserError(f"Expected classes in {origin} to be distinct names, but got {list(description.classes)}.")
    values = description.values or {}
    strange = [name for name in values if name not in description.classes] if description.classes else []
    lacking = [name for name in description.classes if name not in values] if values else []
    if strange or lacking:
        wrong = f"{strange[0]!r}, which is no class" if strange else f"nothing for {lacking[0]!r}"
        listed = ", ".join(description.classes)
        raise UserError(
            f"Expected [values] in {origin} to say what stands for each of {listed}, but it has {wrong}: "
            "other keys stand before [values]."
        )
    if description.task == "segmentation":
        check_stands(values)
    check_pattern(description.patient_pattern)
    return replace(description, classes=description.classes or tuple(values))


def check_stands(values: Mapping[str, str]) -> None:
    """Raises UserError where what stands for a class in label maps is no level, no colour, and not several by `|`."""
    for stands in (part for value in values.values() for part in value.split("|")):
        if not _STANDS.fullmatch(stands) or (stands.isdecimal() and int(stands) > 255):
            raise UserError(f"Expected a class of label maps as NAME=LEVEL or NAME=#rrggbb, but got {stands!r}.")


def check_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression, compiled. Raises UserError where it is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"Expected the patients' pattern to be a regular expression, but {pattern!r} is none ({error}): "
            r"for `P012_left.png` it is '^(P\d+)'."
        ) from None


def patient_of(pattern: re.Pattern[str], case: str) -> str:
    """The first group that took part, else all that matches, in a case's name or in its folders too; empty: none."""
    for text in (Path(case).name, case):
        match = pattern.search(text)
        groups = (match.groups() if pattern.groups else (match[0],)) if match else ()
        if patient := next(filter(None, groups), ""):
            return str(patient)
    return ""


def _checked(path: Path, key: str, value: Any, kind: str) -> Any:
    """A value of the TOML file as the field's type."""
    if key == "values" and isinstance(value, dict):
        return {str(name): str(stands) for name, stands in value.items()}
    wanted: type = {"bool": bool, "int": int, "tuple[str, ...]": list}.get(kind, str)
    if type(value) is not wanted or (isinstance(value, list) and not all(isinstance(item, str) for item in value)):
        words = {bool: "true or false", int: "a whole number", list: "a list of texts", str: "a text"}[wanted]
        raise UserError(f"Expected {key} in {path} to be {words}, but got {value!r}.")
    return tuple(value) if isinstance(value, list) else value


def written(description: Description) -> str:
    """The description as TOML text, which `read_description` reads again; what is not said is left out."""
    lines = [
        f"# A data set of your own: `medbench data info {description.name}` says what is prepared of it.",
        f"# Edit this file and give `medbench data add {description.name} --spec FILE --replace` to prepare it anew.",
    ]
    for field in fields(Description):
        value = getattr(description, field.name)
        if field.name != "values" and value not in ("", (), None, 0, False):
            lines.append(f"{_KEYS.get(field.name, field.name)} = {_toml(value)}")
    if description.values:
        lines += ["", "[values]  # what stands for each class in the files"]
        lines += [f"{_toml(name)} = {_toml(stands)}" for name, stands in description.values.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A text, number, truth value or list as TOML writes it: like JSON, with DEL escaped."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False).replace("\x7f", "\\u007f")


def moved(description: Description, base: Path) -> Description:
    """The description with its paths made absolute, as they are read beside `base`."""
    paths = {key: getattr(description, key) for key in ("source", "patients", "split")}
    absolute: dict[str, Any] = {key: str((base / path).absolute()) for key, path in paths.items() if path}
    return replace(description, **absolute)
