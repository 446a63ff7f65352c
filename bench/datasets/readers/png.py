"""The chunks of a PNG file, read once before it is decoded: whatever is wrong with one is said by the chunk's name.

Pillow decodes what it can and says little of the rest: rows that are not there, profiles that unpack to gigabytes and
chunks that it does not know end in sentences about Python's structures. Chunks: https://www.w3.org/TR/png-3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.datasets.readers.files import read_whole
from bench.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What a transfer in text mode makes of the signature: replaced line ends, or a stripped eighth bit.
_IN_TEXT_MODE = (b"\x89PNG\n\x1a\n", b"\x89PNG\r\r\n\x1a\r\n", b"\x89PNG\r\r\n\x1a\n", b"\x09PNG\r\n\x1a\n")
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # of each colour type
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PALETTE = 3
BEFORE_PIXELS = "a chunk before IDAT asks for what the format does not have"  # a fault that Pillow alone finds
# Offset and step of the seven passes of an interlaced image, x then y.
_ADAM7 = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
_LENGTHS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"acTL": 8, b"fcTL": 26}
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_MOST_TEXT = 2**20  # what Pillow unpacks of a chunk of text or a profile
_MOST_TEXTS = 2**26  # and of all of them


@dataclass(frozen=True)
class Header:
    """The header of a PNG, its chunk IHDR.

    Attributes:
        depth: bits a sample. colour: the colour type's number, `PALETTE` for indices into PLTE.
    """

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def channels(self) -> int:
        """Samples a pixel, transparency included."""
        return _CHANNELS[self.colour]


@dataclass(frozen=True)
class _Chunk:
    """A chunk as the file has it; `offset` is the byte at which it begins."""

    kind: bytes
    offset: int
    content: bytes

    def __str__(self) -> str:
        return f"chunk {self.kind.decode()} at byte {self.offset:,}"


def is_png(path: Path) -> bool:
    """Whether a file begins as a PNG does.

    Raises:
        UserError: it begins as one that was transferred as text.
    """
    with path.open("rb") as file:
        start = file.read(len(SIGNATURE) + 2)
    if start.startswith(_IN_TEXT_MODE):
        raise damaged(path, "its signature was changed, as a transfer in text mode does")
    return start.startswith(SIGNATURE)


def check_png(path: Path, check_size: Callable[[int, int], None]) -> Header:
    """Reads all chunks of a PNG: checksums, order, header, palette, sizes of texts, and whether all rows are there.

    Args:
        check_size: called with width and height before anything is unpacked; may refuse.

    Raises:
        UserError: damage, with the chunk's name and where it begins.
    """
    header: Header | None = None
    earlier: list[bytes] = []
    pixels: list[bytes] = []
    text_bytes = 0
    for chunk in _chunks(path, read_whole(path)):
        if header is None:
            header = _read_header(path, chunk)
            check_size(header.width, header.height)
        else:
            _check_order(path, chunk, earlier, header)
        earlier.append(chunk.kind)
        _check_length(path, chunk, header)
        if chunk.kind == b"IDAT":
            pixels.append(chunk.content)
        elif chunk.kind in _TEXTS:
            text_bytes += _text_size(path, chunk)
            if text_bytes > _MOST_TEXTS:
                raise damaged(path, f"its texts up to {chunk} unpack to more than {_MOST_TEXTS:,} bytes")
    if header is None or not pixels:
        raise damaged(path, "it has no chunk IDAT")
    _check_rows(path, header, b"".join(pixels))
    return header


def load_png(path: Path, file: Image, header: Header) -> None:
    """Decodes the pixels, and makes the grey level of tRNS one of them: Pillow scales those of 2 and 4 bits alone.

    Raises:
        UserError: rows that cannot be decoded, such as those of an unknown filter, or a broken eXIf.
    """
    try:
        file.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise damaged(path, f"its chunk IDAT, or one behind it, cannot be decoded ({error})") from error
    try:
        file.getexif()
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise damaged(path, f"its chunk eXIf cannot be read ({error})") from error
    if file.mode == "L" and header.depth < 8 and "transparency" in file.info:
        file.info["transparency"] = file.info["transparency"] * 255 // (2**header.depth - 1)


def damaged(path: Path, why: str) -> UserError:
    """The error for a PNG with a fault."""
    return UserError(f"File {path} is a damaged PNG: {why}. Copy it anew from the original data set.")


def _chunks(path: Path, data: bytes) -> Iterator[_Chunk]:
    """Every chunk up to IEND, its checksum compared."""
    start, last = len(SIGNATURE), "the signature"
    while True:
        head = data[start : start + 8]
        if not head:
            raise damaged(path, f"it ends behind {last}, without the chunk IEND")
        if len(head) < 8:
            raise damaged(path, f"it breaks off in the head of a chunk at byte {start:,}, behind {last}")
        length, kind = struct.unpack(">I4s", head)
        if not kind.isalpha():
            raise damaged(path, f"at byte {start:,}, behind {last}, there is no chunk's name, but {kind!r}")
        end = start + 8 + length
        chunk, checksum = _Chunk(kind, start, data[start + 8 : end]), data[end : end + 4]
        if len(checksum) < 4:
            present = f"{len(chunk.content):,} of {length:,} bytes are there"
            raise damaged(path, f"it breaks off in the {chunk} ({present})")
        if zlib.crc32(chunk.content, zlib.crc32(kind)) != int.from_bytes(checksum, "big"):
            raise damaged(path, f"the checksum of the {chunk} is wrong")
        yield chunk
        if kind == b"IEND":
            return
        start, last = end + 4, f"the chunk {kind.decode()}"


def _read_header(path: Path, chunk: _Chunk) -> Header:
    if chunk.kind != b"IHDR":
        raise damaged(path, f"its first chunk is {chunk.kind.decode()}, not IHDR")
    if len(chunk.content) != 13:
        raise damaged(path, f"{chunk} has {len(chunk.content)} bytes, not 13")
    width, height, depth, colour, packing, filtering, interlacing = struct.unpack(">IIBBBBB", chunk.content)
    if depth not in _DEPTHS.get(colour, ()):
        raise damaged(path, f"{chunk} names a colour type and depth that do not exist ({colour}, {depth} bits)")
    if packing or filtering or interlacing > 1 or not width or not height:
        methods = f"compression {packing}, filters {filtering}, interlacing {interlacing}"
        raise damaged(path, f"{chunk} asks for what does not exist ({width} x {height} pixels, {methods})")
    return Header(width, height, depth, colour, bool(interlacing))


def _check_order(path: Path, chunk: _Chunk, earlier: list[bytes], header: Header) -> None:
    """Raises UserError for a chunk that may not stand behind the earlier ones."""
    kind = chunk.kind
    if kind == b"IHDR":
        raise damaged(path, f"{chunk} is a second header")
    if kind[:1].isupper() and kind not in _CRITICAL:
        raise damaged(path, f"{chunk} is critical, but no part of the format")
    if kind == b"PLTE" and (b"PLTE" in earlier or b"IDAT" in earlier):
        raise damaged(path, f"{chunk} is a second palette, or stands behind the pixels")
    if kind == b"PLTE" and header.colour in (0, 4):
        raise damaged(path, f"{chunk} is a palette, but IHDR says grey levels")
    if kind == b"IDAT" and header.colour == PALETTE and b"PLTE" not in earlier:
        raise damaged(path, f"{chunk} holds indices, but there is no palette (PLTE) before it")
    if kind == b"IDAT" and b"IDAT" in earlier and earlier[-1] != b"IDAT":
        raise damaged(path, f"{chunk} is parted from the other IDAT by {earlier[-1].decode()}")


def _check_length(path: Path, chunk: _Chunk, header: Header) -> None:
    """Raises UserError for a chunk with fewer bytes than its kind has, or a palette of odd colours."""
    size = len(chunk.content)
    least = {0: 2, 2: 6}.get(header.colour, 0) if chunk.kind == b"tRNS" else _LENGTHS.get(chunk.kind, 0)
    if size < least:
        raise damaged(path, f"{chunk} has {size} bytes, not {least}")
    if chunk.kind == b"PLTE" and (size % 3 or not 3 <= size <= 768):
        raise damaged(path, f"{chunk} has {size} bytes, not 3 for each of 1 to 256 colours")


def _text_size(path: Path, chunk: _Chunk) -> int:
    """Bytes that a text or profile unpacks to; of one that is not packed, or cannot be unpacked, its own."""
    text, packed = chunk.content.partition(b"\0")[2], b""
    if chunk.kind in (b"zTXt", b"iCCP"):
        packed = text[1:]
    elif chunk.kind == b"iTXt" and text[:1] == b"\1":
        packed = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    try:
        size = max(len(chunk.content), len(zlib.decompressobj().decompress(packed, _MOST_TEXT)))
    except zlib.error:  # no pixel depends on it
        return len(chunk.content)
    if packed and size >= _MOST_TEXT:
        raise damaged(path, f"{chunk} unpacks to {_MOST_TEXT:,} bytes or more")
    return size


def _check_rows(path: Path, header: Header, packed: bytes) -> None:
    """Unpacks the pixels of all IDAT, piece by piece, and throws them away."""
    unpacker, missing = zlib.decompressobj(), _bytes_of_rows(header)
    try:
        while packed and missing and not unpacker.eof:
            missing -= len(unpacker.decompress(packed, min(missing, _MOST_TEXT)))
            packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise damaged(path, f"its chunk IDAT cannot be unpacked ({error})") from error
    if missing:
        raise damaged(path, f"its chunk IDAT holds {missing:,} bytes of pixels fewer than IHDR asks for")


def _bytes_of_rows(header: Header) -> int:
    """Bytes that IDAT unpacks to: for each row (of each pass where interlaced) its filter's byte, and its samples."""
    sizes = [(header.width, header.height)]
    if header.interlaced:
        passes = _ADAM7
        sizes = [(-(-(header.width - x) // right), -(-(header.height - y) // down)) for x, right, y, down in passes]
    bits = header.depth * header.channels
    return sum(height * (1 + (width * bits + 7) // 8) for width, height in sizes if width > 0 and height > 0)
