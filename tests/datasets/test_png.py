"""Whatever is wrong with a chunk of a PNG is one line that names the chunk, in images and in label maps alike."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from png_bytes import SIGNATURE, Chunk, chunk, chunks, join, png

from bench.cli.main import main
from bench.datasets.readers.images import read_image
from bench.datasets.readers.masks import read_mask
from bench.errors import UserError

LABELS = (np.arange(20 * 24).reshape(20, 24) // 7 % 3).astype(np.uint8)
HEADER, PIXELS, END = chunks(LABELS)
WHOLE = join([HEADER, PIXELS, END])


def header(**changed: int) -> Chunk:
    fields = {"width": 24, "height": 20, "depth": 8, "colour": 0, "packing": 0, "filters": 0, "interlaced": 0} | changed
    return b"IHDR", struct.pack(">IIBBBBB", *fields.values())


def packed(size: int) -> bytes:
    return zlib.compress(b"x" * size)


def wrong(kind: bytes) -> bytes:
    """The whole file with a flipped bit in the data of a chunk."""
    at = WHOLE.index(kind) + 4
    return WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :]


HALVES = (b"IDAT", PIXELS[1][:20]), (b"IDAT", PIXELS[1][20:])
BROKEN: dict[str, tuple[bytes, str]] = {
    "header's checksum": (wrong(b"IHDR"), "the checksum of the chunk IHDR at byte 8 is wrong"),
    "pixels' checksum": (wrong(b"IDAT"), "the checksum of the chunk IDAT at byte 33 is wrong"),
    "text's checksum": (
        join([HEADER, (b"tEXt", b"a\0b"), PIXELS, END]).replace(b"a\0b", b"a\0c"),
        "the checksum of the chunk tEXt at byte 33 is wrong",
    ),
    "cut in the header": (WHOLE[:20], "it breaks off in the chunk IHDR at byte 8 (4 of 13 bytes are there)"),
    "cut in the pixels": (WHOLE[:50], "it breaks off in the chunk IDAT at byte 33 (9 of"),
    "cut between chunks": (WHOLE[:33], "it ends behind the chunk IHDR, without the chunk IEND"),
    "cut in a head": (WHOLE[:37], "it breaks off in the head of a chunk at byte 33, behind the chunk IHDR"),
    "no end": (join([HEADER, PIXELS]), "it ends behind the chunk IDAT, without the chunk IEND"),
    "zeros behind": (join([HEADER, PIXELS]) + bytes(40), "behind the chunk IDAT, there is no chunk's name"),
    "signature alone": (SIGNATURE, "it ends behind the signature, without the chunk IEND"),
    "no pixels": (join([HEADER, END]), "it has no chunk IDAT"),
    "no header": (join([PIXELS, END]), "its first chunk is IDAT, not IHDR"),
    "short header": (join([(b"IHDR", HEADER[1][:10]), PIXELS, END]), "chunk IHDR at byte 8 has 10 bytes, not 13"),
    "two headers": (join([HEADER, HEADER, PIXELS, END]), "chunk IHDR at byte 33 is a second header"),
    "depth": (join([header(depth=3), PIXELS, END]), "chunk IHDR at byte 8 names a colour type and depth"),
    "colour type": (join([header(colour=5), PIXELS, END]), "chunk IHDR at byte 8 names a colour type and depth"),
    "interlacing": (join([header(interlaced=2), PIXELS, END]), "chunk IHDR at byte 8 asks for what does not exist"),
    "no width": (join([header(width=0), PIXELS, END]), "chunk IHDR at byte 8 asks for what does not exist"),
    "too few rows": (join([header(height=21), PIXELS, END]), "its chunk IDAT holds 25 bytes of pixels fewer"),
    "pixels cut short": (join([HEADER, HALVES[0], END]), "its chunk IDAT holds"),
    "pixels no zlib": (join([HEADER, (b"IDAT", b"none of it"), END]), "its chunk IDAT cannot be unpacked"),
    "pixels parted": (
        join([HEADER, HALVES[0], (b"tEXt", b"a\0b"), HALVES[1], END]),
        "is parted from the other IDAT by tEXt",
    ),
    "unknown and critical": (join([HEADER, (b"CgBI", b"\0"), PIXELS, END]), "chunk CgBI at byte 33 is critical"),
    "no palette": (join([header(colour=3), PIXELS, END]), "there is no palette (PLTE) before it"),
    "odd palette": (
        join([header(colour=3), (b"PLTE", bytes(7)), PIXELS, END]),
        "chunk PLTE at byte 33 has 7 bytes, not 3 for each",
    ),
    "palette of greys": (join([HEADER, (b"PLTE", bytes(9)), PIXELS, END]), "chunk PLTE at byte 33 is a palette, but"),
    "late palette": (
        join([header(colour=3), (b"PLTE", bytes(9)), PIXELS, (b"PLTE", bytes(9)), END]),
        "is a second palette",
    ),
    "text bomb": (join([HEADER, (b"zTXt", b"a\0\0" + packed(2**21)), PIXELS, END]), "chunk zTXt at byte 33 unpacks to"),
    "international text bomb": (
        join([HEADER, (b"iTXt", b"a\0\1\0\0\0" + packed(2**21)), PIXELS, END]),
        "chunk iTXt at byte 33 unpacks to 1,048,576 bytes or more",
    ),
    "profile bomb": (
        join([HEADER, (b"iCCP", b"a\0\0" + packed(2**21)), PIXELS, END]),
        "chunk iCCP at byte 33 unpacks to",
    ),
    "short gamma": (join([HEADER, (b"gAMA", b"\0"), PIXELS, END]), "chunk gAMA at byte 33 has 1 bytes, not 4"),
    "short transparency": (join([HEADER, (b"tRNS", b"\0"), PIXELS, END]), "chunk tRNS at byte 33 has 1 bytes, not 2"),
    "unknown filter": (
        join([HEADER, (b"IDAT", zlib.compress(bytes([9]) * 500)), END]),
        "its chunk IDAT, or one behind it, cannot be decoded",
    ),
    "unknown packing": (
        join([HEADER, (b"iCCP", b"a\0\7abc"), PIXELS, END]),
        "a chunk before IDAT asks for what the format does not have",
    ),
    "odd EXIF": (join([HEADER, (b"eXIf", b"MM\0\xff\0\0\0\x08"), PIXELS, END]), "its chunk eXIf cannot be read"),
    "as text": (WHOLE.replace(b"\r\n", b"\n"), "its signature was changed, as a transfer in text mode does"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("read", [lambda path: read_image(path, 1), read_mask], ids=["image", "mask"])
def test_every_fault_names_its_chunk(name: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    content, words = BROKEN[name]
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"File {path} is a damaged PNG: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["pixels' checksum", "no end", "text bomb", "unknown and critical"])
def test_the_command_ends_in_one_line(name: str, tmp_path: Path) -> None:
    for folder, content in (("label", WHOLE), ("pred", BROKEN[name][0])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(content)
    result = CliRunner().invoke(main, ["evaluate", "--pred", f"{tmp_path}/pred", "--label", f"{tmp_path}/label"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert BROKEN[name][1] in result.stderr


def test_many_texts_that_are_too_much_together_are_refused(tmp_path: Path) -> None:
    text = (b"zTXt", b"a\0\0" + packed(2**20 - 1))
    (tmp_path / "a.png").write_bytes(join([HEADER, *[text] * 65, PIXELS, END]))
    with pytest.raises(UserError, match=r"its texts up to chunk zTXt at byte .* unpack to more than 67,108,864 bytes"):
        read_image(tmp_path / "a.png", 1)


def test_what_is_odd_but_whole_is_read(tmp_path: Path) -> None:
    """Unknown chunks that are not critical, texts, gamma, significant bits, parted IDAT, bytes behind the end."""
    odd = [(b"gAMA", struct.pack(">I", 20_000)), (b"sBIT", b"\2"), (b"prVt", b"?"), (b"zTXt", b"a\0\0" + packed(99))]
    (tmp_path / "a.png").write_bytes(join([HEADER, *odd, *HALVES, (b"tIME", bytes(7)), END]) + b"more")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").labels, LABELS)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1)[0], LABELS)


@pytest.mark.parametrize("size", [(20, 24), (1, 1), (3, 2), (8, 8), (5, 1)])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_interlaced_files_are_read(size: tuple[int, int], depth: int, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 2, size).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(png(samples, depth, interlaced=True))
    white = 255 // (2**depth - 1)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").labels, samples * white)


@pytest.mark.parametrize(("form", "word"), [("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF"), ("WEBP", "WebP")])
def test_other_images_named_png_are_called_what_they_are(form: str, word: str, tmp_path: Path) -> None:
    Image.fromarray(LABELS * 100).convert("RGB").save(tmp_path / "a.png", format=form)
    for read in (lambda path: read_image(path, 1), read_mask):
        with pytest.raises(UserError, match=f"it is a {word} image: convert it"):
            read(tmp_path / "a.png")


def test_a_jpeg_named_png_is_an_image_but_no_label_map(tmp_path: Path) -> None:
    Image.fromarray(LABELS * 100).save(tmp_path / "a.png", format="JPEG")
    assert read_image(tmp_path / "a.png", 1).shape == (1, 20, 24)
    with pytest.raises(UserError, match="a PNG image, but it is a JPEG image: label maps bear no loss"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize(
    "content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", b"<html>", b"\x89PN"]
)
def test_what_is_no_image_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for read in (lambda path: read_image(path, 1), read_mask):
        with pytest.raises(UserError) as caught:
            read(tmp_path / "a.png")
        assert str(tmp_path / "a.png") in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_random_damage_ends_in_an_array_or_one_line(suffix: str, tmp_path: Path) -> None:
    """Bytes changed, cut out or repeated; checksums of a PNG made right again half of the time."""
    rng, path = np.random.default_rng(5), tmp_path / f"a.{suffix}"
    image = Image.fromarray(np.kron(LABELS, np.ones((2, 2), np.uint8)) * 100).convert("P" if suffix == "png" else "L")
    image.save(path)
    whole = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), rng.integers(1, 6)):
            damaged[position] = rng.integers(0, 256)
        content = bytes(damaged[: rng.integers(1, len(whole) + 1)]) if rng.random() < 0.3 else bytes(damaged)
        path.write_bytes(mended(content) if rng.random() < 0.5 else content)
        for read in (lambda path: read_image(path, 3), lambda path: read_mask(path.rename(path.with_suffix(".png")))):
            with suppress(UserError):
                read(path)
        path.with_suffix(".png").rename(path)


def mended(content: bytes) -> bytes:
    """A PNG's chunks with the checksums that their bytes have, as far as they can be followed."""
    out, at = bytearray(content[:8]), 8
    while at + 12 <= len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        out += chunk(kind, content[at + 8 : at + 8 + length])
        at += 12 + length
    return bytes(out)
