"""PNG files byte by byte: what no writer of images would write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
Chunk = tuple[bytes, bytes]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def chunks(samples: np.ndarray, depth: int = 8, colour: int = 0, interlaced: bool = False) -> list[Chunk]:
    """IHDR, IDAT and IEND of samples (H, W) or (H, W, C), stored in so many bits as they are."""
    height, width = samples.shape[:2]
    planes = [samples]
    if interlaced:
        planes = [samples[y::down, x::right] for x, right, y, down in ADAM7]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    rows = b"".join(_row(row, depth) for plane in planes if plane.size for row in plane)
    return [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]


def _row(row: np.ndarray, depth: int) -> bytes:
    if depth == 16:
        return b"\0" + row.astype(">u2").tobytes()
    bits = np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - depth :]
    return b"\0" + np.packbits(bits.ravel()).tobytes()


def join(parts: Iterable[Chunk]) -> bytes:
    return SIGNATURE + b"".join(chunk(*part) for part in parts)


def png(samples: np.ndarray, depth: int = 8, colour: int = 0, *more: Chunk, interlaced: bool = False) -> bytes:
    """A whole file; further chunks (PLTE, tRNS, ...) stand before IDAT."""
    header, *rest = chunks(samples, depth, colour, interlaced)
    return join([header, *more, *rest])
