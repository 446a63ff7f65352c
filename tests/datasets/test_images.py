"""Every kind of PNG and JPEG ends as 8-bit channels, and every damaged or foreign file as one line that names it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from png_bytes import chunk, png

from bench.datasets.readers import images
from bench.datasets.readers.images import LONGEST_SIDE, MOST_PIXELS, kept_levels, read_image
from bench.errors import UserError


@pytest.fixture
def grey() -> np.ndarray:
    """(20, 30): every row another ramp of grey levels, from 0 to 255."""
    ramp = np.linspace(0, 255, 600).reshape(20, 30)
    return ramp.astype(np.uint8)


def error(path: Path, channels: int = 1) -> str:
    """The one line with which reading fails."""
    with pytest.raises(UserError) as caught:
        read_image(path, channels)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def attempt(path: Path, channels: int = 1) -> np.ndarray | None:
    """The image, or None where reading ends in one line that names the file."""
    try:
        return read_image(path, channels)
    except UserError as caught:
        message = str(caught)
    assert str(path) in message
    assert "\n" not in message
    return None


def rgb(grey: np.ndarray) -> Image.Image:
    return Image.merge("RGB", [Image.fromarray(grey)] * 3)


# -- modes: the same grey levels, however they are written


def with_alpha(grey: np.ndarray) -> Image.Image:
    image = rgb(grey)
    image.putalpha(255)
    return image


def palette(grey: np.ndarray) -> Image.Image:
    """Index i stands for the grey level 255 - i."""
    image = Image.fromarray(255 - grey, mode=None).convert("L")
    image.putpalette([255 - i for i in range(256) for _ in range(3)])
    return image


MODES = {
    "L": Image.fromarray,
    "RGB": rgb,
    "RGBA": with_alpha,
    "LA": lambda grey: with_alpha(grey).convert("LA"),
    "P": palette,
    "I;16": lambda grey: Image.fromarray(grey.astype(np.uint16) * 257),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_of_png_gives_the_same_levels(mode: str, channels: int, grey: np.ndarray, tmp_path: Path) -> None:
    image = MODES[mode](grey)
    assert image.mode == mode
    image.save(tmp_path / "a.png")
    array = read_image(tmp_path / "a.png", channels)
    assert array.dtype == np.uint8
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, np.stack([grey] * channels))


def test_black_and_white_and_interlaced(tmp_path: Path) -> None:
    bits = np.arange(400).reshape(20, 20) % 3 == 0
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1)[0], bits * 255)


def test_colour_becomes_grey_by_luma_and_stays_in_three_channels(tmp_path: Path) -> None:
    array = np.zeros((10, 12, 3), np.uint8)
    array[:, :4, 0] = array[:, 4:8, 1] = array[:, 8:, 2] = 255
    Image.fromarray(array).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 3), array.transpose(2, 0, 1))
    assert sorted(set(read_image(tmp_path / "a.png", 1).ravel().tolist())) == [29, 76, 150]  # 255 x .114, .299, .587


def test_what_is_transparent_is_black_whatever_colour_hides_there(grey: np.ndarray, tmp_path: Path) -> None:
    image = rgb(grey)
    alpha = np.full(grey.shape, 255, np.uint8)
    alpha[:, :10] = 0
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1)[0], np.where(alpha > 0, grey, 0))
    coded = palette(grey)
    coded.save(tmp_path / "p.png", transparency=0)  # index 0 is white
    np.testing.assert_array_equal(read_image(tmp_path / "p.png", 1)[0], np.where(grey == 255, 0, grey))


def test_16_bits_are_scaled_by_their_full_range(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png", 1)[0], levels / 257, atol=0.51)
    assert kept_levels(tmp_path / "a.png") == (400, 256)
    Image.fromarray((levels // 256).astype(np.uint8)).save(tmp_path / "b.png")
    assert kept_levels(tmp_path / "b.png") is None


@pytest.mark.parametrize("highest", [200, 3855, 4080, 4095, 4096, 4180, 12_000, 15_000])
@pytest.mark.parametrize("lowest", [0, 644, 40_000])
def test_16_bits_of_which_8_keep_little_are_refused_wherever_they_lie(
    lowest: int, highest: int, tmp_path: Path
) -> None:
    """No highest level makes a difference: 12 bits are told whether they end at 4,080 or at 4,180."""
    levels = np.linspace(min(lowest, 40_000), lowest + highest, 800).reshape(20, 40).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    distinct, kept = len(np.unique(levels)), len(np.unique((levels.astype(int) + 128) // 257))
    words = f"of {distinct} grey levels {kept} would be left, where 8 bits can show {min(distinct, 256)}"
    assert words in error(tmp_path / "a.png")
    Image.fromarray(((levels.astype(int) - lowest) * (65535 // highest)).astype(np.uint16)).save(tmp_path / "a.png")
    assert len(np.unique(read_image(tmp_path / "a.png", 1))) > 0.9 * min(distinct, 256)


def test_few_levels_of_16_bits_that_stay_apart_are_no_loss(tmp_path: Path) -> None:
    levels = np.array([0, 65535, 300], np.uint16)[np.arange(400).reshape(20, 20) % 3]
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1)[0], (levels.astype(int) + 128) // 257)
    Image.fromarray(levels * 0).save(tmp_path / "a.png")
    assert not read_image(tmp_path / "a.png", 1).any()


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bits_in_several_channels_are_refused(colour: int, channels: int, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 2**16, (10, 12, channels))
    (tmp_path / "a.png").write_bytes(png(samples, 16, colour))
    assert f"but it has 16 in {channels}: convert it" in error(tmp_path / "a.png", 3)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_level_is_black_at_every_depth(depth: int, tmp_path: Path) -> None:
    white = 2**depth - 1
    samples = (np.arange(120).reshape(10, 12) % 2) * white
    (tmp_path / "a.png").write_bytes(png(samples, depth, 0, (b"tRNS", struct.pack(">H", white))))
    assert not read_image(tmp_path / "a.png", 1).any()
    (tmp_path / "a.png").write_bytes(png(samples, depth, 0, (b"tRNS", struct.pack(">H", 0))))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1)[0], (samples > 0) * 255)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_by_its_content_not_its_name(mode: str, grey: np.ndarray, tmp_path: Path) -> None:
    smooth = np.kron(grey, np.ones((8, 8), np.uint8))
    rgb(smooth).convert(mode).save(tmp_path / "a.png", format="JPEG", quality=95)
    for channels in (1, 3):
        array = read_image(tmp_path / "a.png", channels)
        np.testing.assert_allclose(array, np.stack([smooth] * channels), atol=8)


@pytest.mark.parametrize(("orientation", "turn"), [(3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1))])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_exif_turns_the_image(orientation: int, turn, suffix: str, grey: np.ndarray, tmp_path: Path) -> None:
    smooth = np.kron(grey, np.ones((8, 8), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(smooth).save(path, exif=exif, quality=95)
    array = read_image(path, 1)[0]
    assert array.shape == turn(smooth).shape
    np.testing.assert_allclose(array, turn(smooth), atol=0 if suffix == "png" else 8)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" * 9]
)
def test_broken_exif_is_no_obstacle_or_one_line(exif: bytes, grey: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(grey).save(path, exif=exif)
    array = attempt(path)
    assert array is None or array.shape == (1, 20, 30)


def test_large_images_are_reduced_by_area_and_others_left_alone(tmp_path: Path) -> None:
    small = np.random.default_rng(0).integers(0, 256, (300, LONGEST_SIDE), np.uint8)
    Image.fromarray(np.kron(small, np.ones((2, 2), np.uint8))).save(tmp_path / "large.png")
    np.testing.assert_array_equal(read_image(tmp_path / "large.png", 1)[0], small)
    Image.fromarray(small).save(tmp_path / "own.png")
    np.testing.assert_array_equal(read_image(tmp_path / "own.png", 1)[0], small)
    Image.fromarray(np.zeros((2000, 9), np.uint8)).save(tmp_path / "narrow.png")
    assert read_image(tmp_path / "narrow.png", 3).shape == (3, LONGEST_SIDE, 2)


# -- damage


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.95])
def test_truncated_files_are_named(name: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 50), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert ("is empty" if share == 0 else path.name) in error(path)


def test_any_flipped_byte_of_a_png_gives_the_same_image_or_one_line(tmp_path: Path) -> None:
    """The checksums of a PNG cover all that is decoded."""
    path = tmp_path / "a.png"
    array = np.random.default_rng(0).integers(0, 256, (12, 10), np.uint8)
    Image.fromarray(array).save(path)
    content, refused = path.read_bytes(), 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        found = attempt(path)
        refused += found is None
        assert found is None or np.array_equal(found[0], array)
    assert refused > 0.9 * len(content)


def test_any_damage_to_a_jpeg_gives_an_image_or_one_line(tmp_path: Path) -> None:
    path, rng = tmp_path / "a.jpg", np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    content = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 6):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        found = attempt(path, 3)
        assert found is None or found.shape[0] == 3


@pytest.mark.parametrize("content", [b"not an image at all", b"%PDF-1.4 a document", b"\0" * 500])
def test_foreign_bytes_are_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert "a PNG image or a JPEG image" in error(path)


def test_other_formats_and_missing_files(grey: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(grey).save(tmp_path / "a.png", format="GIF")
    assert "a PNG image or a JPEG image" in error(tmp_path / "a.png")
    assert "is missing" in error(tmp_path / "nothing.png")


@pytest.mark.parametrize("side", [MOST_PIXELS, 60_000, 12_000, 9_000])
def test_a_bomb_is_refused_by_its_header(side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PNG of one kB that asks for up to 2**52 pixels; none is decoded."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packed = zlib.compress(b"\0" * 1_000_000)
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    monkeypatch.setattr(images, "_eight_bit", None)
    assert f"at most {MOST_PIXELS:,} pixels" in error(path)


def test_tiny_and_animated_images_are_refused(grey: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(grey[:7]).save(tmp_path / "tiny.png")
    assert "it has 30 x 7" in error(tmp_path / "tiny.png")
    first, second = Image.fromarray(grey), Image.fromarray(255 - grey)
    first.save(tmp_path / "film.png", save_all=True, append_images=[second])
    assert "it has 2 frames" in error(tmp_path / "film.png")
