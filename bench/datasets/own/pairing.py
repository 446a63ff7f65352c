"""Which label map is an image's, by their names: a map of another case's name is never taken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from bench.datasets.own.class_folders import pictures
from bench.errors import UserError

_MASK_WORD = "mask|masks|seg|segmentation|label|labels|labelmap|gt|groundtruth|annotation|manual"
_IMAGE_WORD = "img|image|volume|vol|scan"
_MASK_END = re.compile(rf"(?i)[-_. ](?:{_MASK_WORD})$")
_MASK_BEGIN = re.compile(rf"(?i)^(?:{_MASK_WORD})(?=[-_. 0-9])[-_. ]?")
_MASK_MORE = re.compile(rf"(?i)(.*[-_. ](?:{_MASK_WORD}))[-_. ]?[0-9]+")
_IMAGE_END = re.compile(rf"(?i)[-_. ](?:{_IMAGE_WORD})$")
_IMAGE_BEGIN = re.compile(rf"(?i)^(?:{_IMAGE_WORD})(?=[-_. 0-9])[-_. ]?")
_CHANNEL = re.compile(r"(.*)([-_. ])0000")  # of nnU-Net, an image's first
_NUMBERED = re.compile(r"(.*[-_. ])[0-9]{4}")
_FILLING = {*_MASK_WORD.split("|"), *_IMAGE_WORD.split("|"), "case", "dicom", "dcm"}
_SHOWN = 3
Words = list[tuple[str, bool]]  # each with whether it is a number that stands alone
Keys = Mapping[str, object]
Pairs = dict[str, tuple[Path, Path]]


def pair(images: Mapping[str, Path], masks: Mapping[str, Path], folder: Path) -> tuple[Pairs, list[Path]]:
    """Name -> image and its label map; and the label maps that no image has.

    Args:
        images, masks: way from their folders without suffix -> file.
        folder: that of the images, for the line that says which lack a map.

    Raises:
        UserError: images without a label map, or none at all.
    """
    paired, unused = paired_by_name(images, masks)
    missing = [name for name in images if name not in paired]
    if missing or not paired:
        raise unpaired(folder, missing, len(images))
    return paired, unused


def unpaired(folder: Path, missing: Sequence[str], count: int, or_else: str = "") -> UserError:
    """The error for images without a label map.

    Args:
        missing: their names. count: how many images there are. or_else: what else the user may do.
    """
    listed = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
    return UserError(
        f"Expected a label map for every image in {folder}, but {len(missing)} of {count} have none "
        f"({listed or 'there are no images'}): a map has its image's name, or that and _mask, _seg, _label or _gt. "
        f"Move images without one away{or_else}."
    )


def paired_by_name(images: Mapping[str, Path], masks: Mapping[str, Path]) -> tuple[Pairs, list[Path]]:
    """As `pair`, without those images that have no label map.

    Names are the same, or the same but for words such as `_mask`; or an image's words and numbers are its map's, or
    begin them. The folders on the way are part of a name, unless all images or all maps lie in one folder.
    """
    found: dict[str, str] = {}
    first = _without_channel(images)
    is_flat = not all(any("/" in name for name in names) for names in (images, masks))
    for cut in (_whole, _last) if is_flat else (_whole,):
        for way, has_channel in _WAYS:
            keys = {name: way(cut(name if has_channel else first[name]), False) for name in images}
            found |= _matching(keys, {name: way(cut(name), True) for name in masks}, found)
        begins = {name: _words(cut(first[name])) for name in images}
        found |= _begun(begins, {mask: _words(cut(further_mask(mask) or mask)) for mask in masks}, found)
    used = set(found.values())
    paired = {name: (images[name], masks[found[name]]) for name in images if name in found}
    return paired, [path for name, path in masks.items() if name not in used]


def _whole(name: str) -> str:
    return name


def _last(name: str) -> str:
    """A name without the folders before it."""
    return name.rpartition("/")[2]


def _without_channel(images: Iterable[str]) -> dict[str, str]:
    """Name -> the name without `_0000`, a channel's where no other image has another number there, else as it is."""
    ends = Counter(match[1] for name in images if (match := _NUMBERED.fullmatch(name)))
    matches = {name: _CHANNEL.fullmatch(name) for name in images}
    return {name: match[1] if match and ends[match[1] + match[2]] == 1 else name for name, match in matches.items()}


def _matching(of_images: Keys, of_masks: Keys, done: Mapping[str, str]) -> dict[str, str]:
    """Image -> label map of those that are not done and that have a key, other than an empty one, to themselves."""
    used = set(done.values())
    images: dict[object, list[str]] = {}
    masks: dict[object, list[str]] = {}
    for name, key in of_images.items():
        if key and name not in done:
            images.setdefault(key, []).append(name)
    for name, key in of_masks.items():
        if name not in used:
            masks.setdefault(key, []).append(name)
    return {names[0]: masks[key][0] for key, names in images.items() if len(names) == len(masks.get(key, ())) == 1}


def _begun(begins: Mapping[str, Words], masks: Mapping[str, Words], done: Mapping[str, str]) -> dict[str, str]:
    """Image -> the only label map whose words begin with the image's, where what follows is no number of a case.

    A number that follows is none of a case where it is part of a word and ends all maps' names: `9001_totalseg117`.
    """
    used = set(done.values())
    found: dict[str, str] = {}
    for image in [image for image, words in begins.items() if words and image not in done]:
        begin = [word for word, _ in begins[image]]
        fitting = [mask for mask, words in masks.items() if [word for word, _ in words[: len(begin)]] == begin]
        if len(fitting) != 1 or fitting[0] in used:
            continue
        rest = masks[fitting[0]][len(begin) :]
        has_number = any(word.isdecimal() for word, _ in rest)
        ends_all = all(words[len(words) - len(rest) :] == rest for words in masks.values())
        if not any(stands_alone for _, stands_alone in rest) and (ends_all or not has_number):
            found[image] = fitting[0]
    taken = Counter(found.values())
    return {image: mask for image, mask in found.items() if taken[mask] == 1}


def _without_words(name: str, is_mask: bool) -> str:
    """A name without `_mask` or `label_`, of an image without `_img` or `img_`; the folders before it stay."""
    parent, slash, own = name.rpartition("/")
    own = without_mask_word(own) if is_mask else _IMAGE_BEGIN.sub("", _IMAGE_END.sub("", own))
    return (parent + slash + _IMAGE_BEGIN.sub("", own)).lower()


def without_mask_word(name: str) -> str:
    """The name of a label map's file without `_mask` or `label_`."""
    return _MASK_BEGIN.sub("", _MASK_END.sub("", name))


def is_named_as_mask(name: str) -> bool:
    """Whether a word in a file's name says that it is a label map."""
    return bool(_MASK_END.search(name) or _MASK_BEGIN.search(name))


def further_mask(name: str) -> str:
    """`x_mask` of `x_mask_1`, a further label map of x; empty of other names."""
    match = _MASK_MORE.fullmatch(name)
    return match[1] if match else ""


def pair_by_name(images: Path, others: Path) -> bool:
    """Whether most files of a folder are named as the label maps of another's: the same, or but for `_mask`."""
    names = {_without_words(path.relative_to(images).with_suffix("").as_posix(), False) for path in pictures(images)}
    keys = [_without_words(path.relative_to(others).with_suffix("").as_posix(), True) for path in pictures(others)]
    return 2 * sum(key in names for key in keys) > len(keys)


def _words(name: str) -> Words:
    """The words and numbers of a name that tell cases apart, each with whether it is a number that stands alone.

    `p1/label9001_total` -> p, 1, 9001, total.
    """
    found: Words = []
    for chunk in re.findall(r"[^\W_]+", name.lower()):
        pieces = re.findall(r"[^\W\d_]+|[0-9]+", chunk)
        found += [(piece, chunk.isdecimal()) for piece in pieces if piece not in _FILLING]
    return found


# What an image and its label map have in common, by a name and whether it is a map's; and whether an image's name is
# taken with its channel.
_WAYS: tuple[tuple[Callable[[str, bool], object], bool], ...] = (
    (lambda name, _: name, True),
    (_without_words, True),
    (_without_words, False),
    (lambda name, _: tuple(word for word, _ in _words(name)), False),
)
