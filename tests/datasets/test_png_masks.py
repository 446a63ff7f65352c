"""What a pixel of a PNG label map means: its colour, however it is written, or one line that says why not."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from png_bytes import Chunk, png

from bench.datasets.readers.masks import Mask, read_mask
from bench.datasets.readers.meanings import check_palettes, class_table, even_levels
from bench.errors import UserError

IDS = np.repeat(np.repeat(np.array([[0, 1, 2], [2, 0, 1]]), 4, axis=0), 5, axis=1)  # (8, 15)
BINARY = np.minimum(IDS, 1)


def palette(*colours: int) -> Chunk:
    return b"PLTE", b"".join(colour.to_bytes(3, "big") for colour in colours)


def grey_palette(*levels: int) -> Chunk:
    return palette(*(level * 0x010101 for level in levels))


def mask(tmp_path: Path, content: bytes) -> Mask:
    (tmp_path / "a.png").write_bytes(content)
    return read_mask(tmp_path / "a.png")


def refusal(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(UserError) as caught:
        mask(tmp_path, content)
    assert str(tmp_path / "a.png") in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def channels(values: np.ndarray, count: int, alpha: int | np.ndarray | None = None) -> np.ndarray:
    planes = [values] * count + ([] if alpha is None else [np.broadcast_to(alpha, values.shape)])
    return np.stack(planes, axis=-1)


SAME = {
    "grey": (IDS, 8, 0),
    "16 bits": (IDS, 16, 0),
    "16 bits, widened": (IDS * 257, 16, 0),
    "three equal channels": (channels(IDS, 3), 8, 2),
    "grey and opaque": (channels(IDS, 1, 255), 8, 4),
    "colours and opaque": (channels(IDS, 3, 255), 8, 6),
    "background transparent": (channels(IDS, 3, 255 * (IDS > 0)), 8, 6),
    "identity palette": (IDS, 2, 3, grey_palette(0, 1, 2)),
    "palette of greys in another order": ((IDS + 1) % 3, 8, 3, grey_palette(2, 0, 1)),
    "greys of a palette that has colours too": (IDS + 5, 8, 3, palette(0, 9, 99, 999, 9999, 0, 0x010101, 0x020202)),
    "black first, then class colours": (IDS, 2, 3, palette(0, 0x800000, 0x008000)),
    "a class that is grey among colours": (IDS, 2, 3, palette(0, 0x808080, 0x008000)),
    "transparent background of a palette": (IDS, 8, 3, palette(0xFF00FF, 0x800000, 0x008000), (b"tRNS", b"\0")),
    "transparent background of greys": (IDS, 8, 0, (b"tRNS", struct.pack(">H", 0))),
    "gamma and significant bits": (IDS, 8, 0, (b"gAMA", struct.pack(">I", 99)), (b"sBIT", b"\2")),
}


@pytest.mark.parametrize("how", SAME)
def test_ids_are_the_same_however_they_are_written(how: str, tmp_path: Path) -> None:
    samples, depth, colour, *more = SAME[how]
    found = mask(tmp_path, png(samples, depth, colour, *more))
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.labels, IDS)
    assert (found.spacing, found.grids) == (None, ())


@pytest.mark.parametrize(("depth", "white"), [(1, 1), (2, 3), (4, 15), (8, 255), (16, 65535)])
def test_white_is_255_at_every_depth(depth: int, white: int, tmp_path: Path) -> None:
    np.testing.assert_array_equal(mask(tmp_path, png(BINARY * white, depth)).labels, BINARY * 255)
    first_white = png(1 - BINARY, 1, 3, grey_palette(255, 0))
    np.testing.assert_array_equal(mask(tmp_path, first_white).labels, BINARY * 255)


def test_low_depths_are_colours(tmp_path: Path) -> None:
    assert np.unique(mask(tmp_path, png(np.arange(4)[None], 2)).labels).tolist() == [0, 85, 170, 255]
    assert np.unique(mask(tmp_path, png(np.arange(16)[None], 4)).labels).tolist() == list(range(0, 256, 17))


REFUSED = {
    "16 bits": (png(IDS * 300, 16), "from 0 to 255"),
    "16 bits in three channels": (png(channels(IDS, 3), 16, 2), "but it has 16 in 3: write class ids as"),
    "mask in alpha, white": (png(channels(IDS * 0 + 255, 3, 255 * BINARY), 8, 6), "they are 255 throughout and"),
    "mask in alpha, black": (png(channels(IDS * 0, 1, 255 * BINARY), 8, 4), "they are 0 throughout and the transpar"),
    "half transparent class": (png(channels(IDS, 3, 128 * BINARY + 100), 8, 6), "to be opaque, but 80 pixels that are"),
    "constant overlay": (png(channels(IDS, 1, 128), 8, 4), "to be opaque, but 80 pixels that are no background"),
    "white where transparent": (
        png(channels(255 * (1 - BINARY), 1, 255 * BINARY), 8, 4),
        "to be opaque, but 40 pixels that are no background",
    ),
    "a class made transparent": (png(IDS, 8, 0, (b"tRNS", struct.pack(">H", 2))), "to be opaque, but 40 pixels"),
    "a class of two bits made transparent": (png(IDS, 2, 0, (b"tRNS", struct.pack(">H", 2))), "but 40 pixels"),
    "a colour made transparent": (png(channels(IDS, 3), 8, 2, (b"tRNS", struct.pack(">HHH", 1, 1, 1))), "but 40 pix"),
    "an entry half transparent": (png(IDS, 8, 3, palette(0, 9, 99), (b"tRNS", b"\xff\x80")), "opaque, but 40 pixels"),
    "black is not first": (png(IDS, 8, 3, palette(0xFF0000, 0, 0x00FF00)), "0 #ff0000, 1 #000000, 2 #00ff00) is not"),
    "one colour twice": (png(IDS, 8, 3, palette(0, 0xFF0000, 0xFF0000)), "(0 #000000, 1 #ff0000, 2 #ff0000) is not"),
    "no such entry": (png(IDS, 8, 3, palette(0, 0xFF0000)), "its chunk PLTE has 2 colours, but index 2 is used"),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_what_is_not_clear_is_refused(how: str, tmp_path: Path) -> None:
    content, words = REFUSED[how]
    assert words in refusal(tmp_path, content)


def test_colours_are_listed_the_most_frequent_first(tmp_path: Path) -> None:
    samples = np.zeros((6, 10, 3), int)
    samples[0, :3], samples[1, 0], samples[2, 0] = (255, 0, 0), (0, 128, 0), (7, 7, 7)
    said = refusal(tmp_path, png(samples, 8, 2))
    assert "it is a picture in colours: #000000, #ff0000, #008000, #070707. Which class each is" in said
    samples[3] = [(k, 0, 0) for k in range(10, 20)]
    assert "#0a0000, #0b0000 and 8 more" in refusal(tmp_path, png(samples, 8, 2))


def test_an_animated_label_map_is_refused_and_a_turned_one_is_turned(tmp_path: Path) -> None:
    first, second = (Image.fromarray((IDS * k).astype(np.uint8)) for k in (1, 2))
    first.save(tmp_path / "film.png", save_all=True, append_images=[second])
    with pytest.raises(UserError, match="to be one image, but it has 2 frames"):
        read_mask(tmp_path / "film.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    first.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "turned.png").labels, np.rot90(np.asarray(first), -1))


# -- folders -------------------------------------------------------------------------------------------------

RED, GREEN = (255, 0, 0), (0, 255, 0)
A, B = Path("a.png"), Path("b.png")


def test_palettes_that_agree_are_joined_and_others_refused() -> None:
    assert check_palettes([(A, {0: (0, 0, 0), 2: RED}), (B, {0: (0, 0, 0), 1: GREEN})]) == {
        0: (0, 0, 0), 1: GREEN, 2: RED
    }  # fmt: skip
    for other, words in (({1: GREEN}, "1 #00ff00 in b.png, but 1 #ff0000 in"), ({2: RED}, "2 #ff0000 in b.png, but 1")):
        with pytest.raises(UserError, match=words):
            check_palettes([(A, {1: RED}), (B, other)])


@pytest.mark.parametrize(
    ("folders", "classes", "levels"),
    [
        ([{0, 127, 255}], 3, {0: 0, 127: 1, 128: 1, 255: 2}),
        ([{0, 128, 255}, {0, 255}], 3, {0: 0, 127: 1, 128: 1, 255: 2}),
        ([{0, 128, 255}, {0, 1, 2}], 3, {0: 0, 127: 1, 128: 1, 255: 2}),
        ([{0, 85, 170}], 4, {0: 0, 85: 1, 170: 2, 255: 3}),
        ([{0, 255}, {0, 1}], None, {0: 0, 255: 1}),
        ([{0, 255}, {0}], 2, {0: 0, 255: 1}),
        ([{0, 255}, {0, 1, 2}], None, {}),
        ([{0, 1, 255}], None, {}),
        ([{0, 255}, {0, 1, 2}], 3, {}),  # nothing tells whether 255 is class 1 or 2
        ([{0, 128, 255}, {0, 127, 254}], 3, {}),
        ([{0, 100, 255}], 3, {}),
        ([{0, 128, 255}], 4, {}),
        ([{0, 128, 255}], None, {}),
        ([{0, 255}], 256, {}),
    ],
)
def test_evenly_spaced_greys_are_classes_where_their_number_is_known(
    folders: list[set[int]], classes: int | None, levels: dict[int, int]
) -> None:
    assert even_levels(folders, classes) == levels


def test_only_folders_that_hold_greys_are_mapped() -> None:
    levels = {0: 0, 127: 1, 128: 1, 255: 2}
    assert class_table({0, 128, 255}, 3, levels)[[0, 127, 128, 255]].tolist() == [0, 1, 1, 2]
    assert class_table({0, 255}, 3, levels)[255] == 2
    assert class_table({0, 1, 2}, 3, levels).tolist() == list(range(256))
    assert class_table({0, 255}, None, {0: 0, 255: 1})[255] == 1
    assert class_table({0, 1, 255}, None, {})[255] == 255
