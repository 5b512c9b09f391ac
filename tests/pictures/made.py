"""Pictures, files and metadata that several tests are made of."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from photovax.pictures.exif import Metadata
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.write import write_photo
from tests.places import SHARED

CASES = SHARED / "cases/make_cases.py"
LOSSLESS = [".png", ".tif", ".webp"]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_ICC = SRGB[:16] + b"GRAY" + SRGB[20:]
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    b'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'exif:GPSLatitude="48,51.5N" exif:ExposureTime="1/50">'
    b"<exif:GPSLongitude>2,17.4E</exif:GPSLongitude><dc:rights>\xc2\xa9 Ann</dc:rights>"
    b"<xmp:Thumbnails><rdf:Alt><rdf:li>UNPROTECTED</rdf:li></rdf:Alt></xmp:Thumbnails>"
    b'</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int = 24, width: int = 40) -> np.ndarray:
    """Three gradients, which lossy codecs change by little."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack(
        [x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1
    ).astype(np.uint8)


def saved(path: Path, array: np.ndarray, **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def round_trip(photo: Photo, path: Path) -> Photo:
    write_photo(photo, path)
    return read_photo(path)


def plain(pixels: np.ndarray, alpha: np.ndarray | None = None, **metadata) -> Photo:
    return Photo(pixels, alpha, Metadata(**metadata), "PNG", ())


def dataset(number: int, value: bytes, record: int = 2) -> bytes:
    """A dataset of IPTC-IIM."""
    size = len(value)
    length = struct.pack(">H", size) if size < 1 << 15 else struct.pack(">HI", 0x8004, size)
    return bytes([0x1C, record, number]) + length + value


def png(
    width: int, height: int, bits: int, colour: int, rows: bytes, *more: tuple[bytes, bytes]
) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def camera_exif(order: str = "<", orientation: int = 6) -> bytes:
    """As a camera writes it: maker note with an offset and a preview, GPS, and a thumbnail."""
    out = bytearray(
        {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8) + bytes(600)
    )
    free = 200

    def put(data: bytes) -> int:
        nonlocal free
        start, free = free, free + len(data) + len(data) % 2
        out[start : start + len(data)] = data
        return start

    def table(at: int, following: int, *entries: tuple[int, int, int, bytes]) -> int:
        body = b"".join(
            struct.pack(order + "HHI", tag, kind, count)
            + (data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", put(data)))
            for tag, kind, count, data in entries
        )
        packed = struct.pack(order + "H", len(entries)) + body + struct.pack(order + "I", following)
        out[at : at + len(packed)] = packed
        return at

    def long(value: int) -> bytes:
        return struct.pack(order + "I", value)

    secret = put(b"far-away maker data")
    thumbnail = put(b"\xff\xd8\xff\xdbTHUMBNAIL\xff\xd9")
    note = b"MAKER" + long(secret) + b"\xff\xd8\xff\xdbPREVIEW\xff\xd9" + b"end"
    exif = table(70, 0, (0x9003, 2, 20, b"2024:05:06 07:08:09\0"), (0x927C, 7, len(note), note))
    gps = table(
        110, 0, (1, 2, 2, b"N\0"), (2, 5, 3, struct.pack(order + "6I", 48, 1, 51, 1, 777777, 1000))
    )
    first = table(150, 0, (0x0201, 4, 1, long(thumbnail)), (0x0202, 4, 1, long(15)))
    table(
        8,
        first,
        (0x010F, 2, 12, b"Camera Inc.\0"),
        (0x0112, 3, 1, struct.pack(order + "H", orientation)),
        (0x8769, 4, 1, long(exif)),
        (0x8825, 4, 1, long(gps)),
    )
    return b"Exif\0\0" + bytes(out)


def cmyk_profile() -> bytes:
    """A CMYK profile by which every ink is grey, so that its use shows."""
    lightness = [max(0, 255 - 60 * (c + m + y + 3 * k)) for c, m, y, k in np.ndindex(2, 2, 2, 2)]
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    lut += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + ramp * 4
    lut += b"".join(bytes([value, 128, 128]) for value in lightness) + ramp * 3
    header = struct.pack(">I4sI4s4s4s", 0, b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    header = header.ljust(128, b"\0")
    body = header + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut
    return struct.pack(">I", len(body)) + body[4:]
