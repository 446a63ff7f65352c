"""Phantoms of MSLD: drawn photographs of skin with lesions, several views of each subject, in the data set's layout.

No pixel comes from a person. A phantom subject is a patch of skin: its tone, light, creases, hairs, freckles, what lies
behind a limb, and lesions at fixed places; a view turns, shifts, scales and exposes it anew. Both classes have as many
lesions, of the same sizes and places: `Monkeypox` are firm pustules with a sunken dark centre, a pale wall and a red
rim; the others are flat, red inside and pale towards the rim, or blisters with a bright spot beside their centre.

Sizes and colours are rounded from general knowledge, our choice; how strongly lesions stand out was set so that, taught
on 80 subjects of each class, a linear classifier of pixels stays below 0.75 and a small CNN lands between 0.85 and 0.97
on others. The default 12 are too few for that. No result on phantoms says anything about medicine.

Colours are RGB in 0..1, lengths are pixels of a view; (H, W) = (y, x).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter, zoom

# Raise it when the same seed draws other images.
VERSION = 1
# Subjects of each class, most photographs of one, augmented copies of a photograph, and the side of a view.
SUBJECTS, VIEWS, COPIES, SIDE = 12, 3, 4, 224
CLASSES = ("Others", "Monkeypox")
_FOLDERS = ("Others", "Monkey Pox")
_STEM = ("NM", "M")
# What makes the classes hard to tell: number, radius and strength of lesions, and the share of those that look like the
# other class's.
_COUNT, _RADIUS, _STRENGTH, _ATYPICAL = (5, 10), (9, 16), (0.55, 1.0), 0.17
_LIGHT, _DARK = np.array([0.91, 0.74, 0.66]), np.array([0.38, 0.25, 0.19])
Field = np.ndarray


@dataclass(frozen=True)
class Subject:
    """What all photographs of a subject share.

    Attributes:
        tone: colour of the skin. behind: colour behind the limb.
        limb: half its width, over half the view's side; over 1.4 fills the view.
        lesions: (N, 4): y, x over half the side, radius in pixels, how strongly it stands out.
        blister: for each lesion whether, in `Others`, it is a blister in place of a macule.
        atypical: for each lesion whether it looks like one of the other class.
        texture: (96, 96) unevenness of the skin. freckles: (M, 3): y, x, radius.
        hair: (K, 4): y, x of both ends, over half the side.
        light: direction and strength of the light's gradient, (y, x).
    """

    tone: Field
    behind: Field
    limb: float
    lesions: Field
    blister: Field
    atypical: Field
    texture: Field
    freckles: Field
    hair: Field
    light: Field


def draw(folder: Path, seed: int = 0, subjects: int = SUBJECTS, copies: int = COPIES) -> None:
    """Writes originals, augmented copies, the authors' kind of Fold1 and the metadata, as MSLD's archive has them.

    Args:
        seed: the same seed gives the same pixels; a subject does not depend on how many there are.
        subjects: of each class.
        copies: augmented ones of each photograph.
    """
    from PIL import Image

    rows = ["ImageID,Label"]
    for label, stem in reversed(list(enumerate(_STEM))):
        originals = folder / "Original Images" / "Original Images" / _FOLDERS[label]
        augmented = folder / "Augmented Images" / "Augmented Images" / f"{CLASSES[label]}_augmented"
        for place in (originals, augmented):
            place.mkdir(parents=True)
        for k in range(subjects):
            rng = np.random.default_rng([seed, label, k, VERSION])
            part = "Test" if k % 5 == 3 else "Val" if k % 10 == 4 else "Train"
            fold = folder / "Fold1" / "Fold1" / "Fold1" / part / CLASSES[label]
            fold.mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(photographs(new_subject(rng), label, rng), 1):
                name = f"{stem}{k + 1:02d}_{i:02d}"
                rows.append(f"{name},{'Monkeypox' if label else 'Non Monkeypox'}")
                Image.fromarray(image).save(originals / f"{name}.jpg", quality=92)
                for j in range(copies):
                    copy = augmented_copy(image, rng, moved=j % 2 == 0)
                    Image.fromarray(copy).save(augmented / f"{name}_{j:02d}.jpg", quality=92)
                    if part != "Test":
                        shutil.copy(augmented / f"{name}_{j:02d}.jpg", fold)
                if part == "Test":
                    shutil.copy(originals / f"{name}.jpg", fold)
    (folder / "Monkeypox_Dataset_metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def photographs(subject: Subject, label: int, rng: Generator) -> Iterator[Field]:
    """One to `VIEWS` photographs of a subject, each (H, W, 3) uint8."""
    for _ in range(int(rng.integers(1, VIEWS + 1))):
        yield view(subject, label, rng)


def new_subject(rng: Generator) -> Subject:
    """Draws a subject who could have either kind of lesions."""
    count = int(rng.integers(_COUNT[0], _COUNT[1] + 1))
    darkness = rng.uniform(0, 1)
    return Subject(
        tone=(1 - darkness) * _LIGHT + darkness * _DARK + rng.normal(0, 0.02, 3),
        behind=rng.uniform(0.05, 0.95) + rng.normal(0, 0.12, 3),
        limb=rng.uniform(0.7, 1.9),
        lesions=np.column_stack([_apart(count, rng), rng.uniform(*_RADIUS, count), rng.uniform(*_STRENGTH, count)]),
        blister=rng.random(count) < 0.5,
        atypical=rng.random(count) < _ATYPICAL,
        texture=gaussian_filter(rng.normal(0, 1, (96, 96)), 1) + 3 * gaussian_filter(rng.normal(0, 1, (96, 96)), 8),
        freckles=np.column_stack([rng.uniform(-1.2, 1.2, (25, 2)), rng.uniform(0.8, 2.4, 25)]),
        hair=np.repeat(rng.uniform(-1.2, 1.2, (12, 2)), 2, 0).reshape(12, 4) + rng.normal(0, 0.12, (12, 4)),
        light=rng.normal(0, 0.12, 2),
    )


def _apart(count: int, rng: Generator) -> Field:
    """Points (count, 2) in the middle of the skin, each the farthest from the others of a few tries."""
    points = rng.uniform(-0.55, 0.55, (1, 2))
    while len(points) < count:
        tries = rng.uniform([-0.85, -0.55], [0.85, 0.55], (12, 2))
        nearest = np.linalg.norm(tries[:, None] - points, axis=2).min(1)
        points = np.vstack([points, tries[nearest.argmax()]])
    return points


def view(subject: Subject, label: int, rng: Generator) -> Field:
    """One photograph (H, W, 3) uint8: the skin turned, shifted, scaled, exposed, blurred and noisy."""
    turn, scale = rng.uniform(-np.pi, np.pi), rng.uniform(0.85, 1.2)
    shift = rng.uniform(-0.15, 0.15, 2)
    grid = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    c, s = np.cos(turn) / scale, np.sin(turn) / scale
    y = c * grid[:, None] + s * grid[None] - shift[0]
    x = -s * grid[:, None] + c * grid[None] - shift[1]
    image = subject.tone * np.ones((SIDE, SIDE, 1))
    detail = zoom(subject.texture, SIDE / 96, order=1)[:SIDE, :SIDE]
    rows = np.clip(((y + 2) / 4 * (SIDE - 1)).astype(int), 0, SIDE - 1)
    columns = np.clip(((x + 2) / 4 * (SIDE - 1)).astype(int), 0, SIDE - 1)
    image *= 1 + 0.05 * detail[rows, columns, None]
    for cy, cx, radius in subject.freckles:
        image *= 1 - 0.25 * np.clip(radius * scale - _distance(y, x, cy, cx, scale), 0, 1)[..., None]
    kinds = zip(subject.lesions, subject.blister, subject.atypical != label, strict=True)
    for (cy, cx, radius, tone), blister, pustule in kinds:
        distance = _distance(y, x, cy, cx, scale) / (radius * scale)
        if distance.min() < 1.6:
            _lesion(image, subject, distance, (x - cx) * SIDE / 2 / radius, pustule, tone, blister)
    for ay, ax, by, bx in subject.hair:
        image *= 1 - 0.5 * np.clip(1.1 - _to_segment(y, x, ay, ax, by, bx) * SIDE / 2, 0, 1)[..., None]
    edge = np.clip((np.abs(x) - subject.limb) * SIDE / 6, 0, 1)[..., None]
    image *= 1 - 0.35 * np.clip(np.abs(x) / subject.limb, 0, 1)[..., None] ** 4 * (subject.limb < 1.4)
    image = image * (1 - edge) + np.clip(subject.behind, 0, 1) * edge
    image *= 1 + (subject.light[0] * y + subject.light[1] * x)[..., None]
    return _exposed(image, rng)


def _lesion(
    image: Field, subject: Subject, distance: Field, aside: Field, pustule: bool, tone: float, blister: bool
) -> None:
    """Draws a lesion; `distance` is 1 on its border, `aside` the distance to the right of its centre in radii."""
    red = np.array([0.12, -0.16, -0.14]) * tone
    pale = np.array([0.13, 0.12, 0.10]) * tone
    dark = np.array([-0.28, -0.26, -0.22]) * tone
    core, wall, rim = (_ring(distance, *border) for border in ((-1, 0.35), (0.35, 0.75), (0.75, 1.15)))
    if pustule:
        change = core * dark + wall * pale + rim * red
    elif blister:
        spot = np.clip(1.6 - 5 * np.hypot(distance - 0.5, np.minimum(aside, 0.4) - 0.4), 0, 1)[..., None]
        change = (core + wall) * 0.6 * red + rim * 0.8 * red + spot * 1.6 * pale + core * 0.35 * dark
    else:
        change = core * (red + 0.5 * dark) + wall * (red + 0.2 * dark) + rim * 0.8 * pale
    image += change * (0.55 + 0.45 * subject.tone.mean())


def _ring(distance: Field, inner: float, outer: float) -> Field:
    """1 between two radii, with soft borders, (H, W, 1)."""
    return (np.clip((distance - inner) / 0.16 + 0.5, 0, 1) * np.clip((outer - distance) / 0.16 + 0.5, 0, 1))[..., None]


def _distance(y: Field, x: Field, cy: float, cx: float, scale: float) -> Field:
    """Pixels of the view from a point."""
    return np.hypot(y - cy, x - cx) * scale * SIDE / 2


def _to_segment(y: Field, x: Field, ay: float, ax: float, by: float, bx: float) -> Field:
    dy, dx = by - ay, bx - ax
    along = np.clip(((y - ay) * dy + (x - ax) * dx) / (dy**2 + dx**2 + 1e-9), 0, 1)
    return np.hypot(y - ay - along * dy, x - ax - along * dx)


def _exposed(image: Field, rng: Generator) -> Field:
    """White balance, exposure, blur and noise of one photograph."""
    image = image * rng.uniform(0.8, 1.15) * rng.normal(1, 0.04, 3)
    image = gaussian_filter(image, (*[rng.uniform(0.4, 1.1)] * 2, 0)) + rng.normal(
        0, rng.uniform(0.01, 0.035), image.shape
    )
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def augmented_copy(image: Field, rng: Generator, moved: bool) -> Field:
    """A copy recoloured and noisy, and where `moved` turned, mirrored, sheared, scaled and shifted, as MSLD's are."""
    from PIL import Image

    if moved:
        turn, shear, scale = rng.uniform(-0.8, 0.8), rng.uniform(-0.2, 0.2), rng.uniform(0.8, 1.2)
        a = np.array([[np.cos(turn), np.sin(turn) + shear], [-np.sin(turn), np.cos(turn)]]) / scale
        a[:, 0] *= -1 if rng.random() < 0.5 else 1
        middle = np.array([SIDE / 2, SIDE / 2])
        y, x = middle - a @ (middle + rng.uniform(-16, 16, 2))
        affine, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
        image = np.asarray(Image.fromarray(image).transform((SIDE, SIDE), affine, (*a[0], y, *a[1], x), bilinear))
    colour = image * rng.uniform(0.8, 1.2) * rng.normal(1, 0.05, 3) + rng.normal(0, 4, image.shape)
    return np.round(np.clip(colour, 0, 255)).astype(np.uint8)
