"""Colour that a file tells otherwise than by a profile: what a viewer shows before and after."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from photovax.errors import UnreadablePhoto
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.profiles import BT2020, DISPLAY_P3, ColourSpace
from photovax.pictures.write import write_photo
from tests.pictures.made import SRGB, png

PATCHES = [[180, 120, 90], [90, 150, 110], [100, 110, 170], [128, 128, 128], [255, 255, 255]]
PIXELS = np.kron(np.array([PATCHES], np.uint8), np.ones((16, 16, 1), np.uint8))
ROWS = b"".join(b"\0" + row.tobytes() for row in PIXELS)
HEIGHT, WIDTH = PIXELS.shape[:2]
P3 = ColourSpace(DISPLAY_P3).profile(grey=False)

# RGB light of each space to that of sRGB, as published (CSS Color 4, section 18; Adobe RGB 1998).
TO_SRGB = {
    "srgb": np.eye(3),
    "p3": [[1.22494, -0.22494, 0], [-0.042057, 1.042057, 0], [-0.019638, -0.078636, 1.098274]],
    "adobe": [[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]],
    "2020": [
        [1.66049, -0.58764, -0.07285],
        [-0.12455, 1.1329, -0.00835],
        [-0.01815, -0.10058, 1.11873],
    ],
}


def srgb_light(values: np.ndarray) -> np.ndarray:
    return np.asarray(
        np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    )


def seen(pixels: np.ndarray, space: str, gamma: float | None) -> np.ndarray:
    """What a viewer shows of pixel values, in sRGB, by the formulas of the standards."""
    values = pixels / 255
    light = srgb_light(values) if gamma is None else values**gamma
    light = np.clip(light @ np.array(TO_SRGB[space]).T, 0, 1)
    shown = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(shown * 255)


def chrm(*numbers: float) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(number * 100_000) for number in numbers))


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 100_000))


def cicp(*numbers: int) -> tuple[bytes, bytes]:
    return b"cICP", bytes(numbers)


def iccp(icc: bytes, name: bytes = b"name") -> tuple[bytes, bytes]:
    return b"iCCP", name + b"\0\0" + zlib.compress(icc)


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    return png(WIDTH, HEIGHT, 8, 2, ROWS, *chunks)


def grey_png(*chunks: tuple[bytes, bytes]) -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS[..., 0])
    return png(WIDTH, HEIGHT, 8, 0, rows, *chunks)


def encoded(kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **options)
    return file.getvalue()


def heic(primaries: int, transfer: int, **more) -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    return encoded(
        "HEIF",
        quality=-1,
        chroma=444,
        color_primaries=primaries,
        transfer_characteristics=transfer,
        matrix_coefficients=6,
        full_range_flag=1,
        **more,
    )


def avif(primaries: int, transfer: int, alpha: bool = False) -> bytes:
    """Pillow writes sRGB's numbers, which are replaced."""
    file = io.BytesIO()
    image = Image.fromarray(PIXELS)
    if alpha:
        image.putalpha(100)
    image.save(file, "AVIF", quality=100, subsampling="4:4:4")
    head, nclx, rest = file.getvalue().partition(b"nclx")
    assert rest[:4] == struct.pack(">HH", 1, 13)
    return head + nclx + struct.pack(">HH", primaries, transfer) + rest[4:]


def jpeg_of_a_camera(index: str) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: index}
    return encoded("JPEG", quality=100, subsampling=0, exif=exif)


def tiff_with_primaries() -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[318], tags[319] = DISPLAY_P3[:2], DISPLAY_P3[2:]
    return encoded("TIFF", tiffinfo=tags)


KINDS: dict[str, tuple[Callable[[], bytes], str, float | None]] = {
    "linear PNG": (lambda: png_with(gama(1)), "srgb", 1.0),
    "Mac gamma 1.8 PNG": (lambda: png_with(gama(0.55556)), "srgb", 1.8),
    "Display P3 PNG by cHRM": (lambda: png_with(gama(0.45455), chrm(*DISPLAY_P3)), "p3", 2.2),
    "P3 PNG without gAMA": (lambda: png_with(chrm(*DISPLAY_P3)), "p3", None),
    "Adobe RGB PNG": (
        lambda: png_with(gama(0.45471), chrm(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)),
        "adobe",
        563 / 256,
    ),
    "Display P3 PNG by cICP": (lambda: png_with(cicp(12, 13, 0, 1)), "p3", None),
    "cICP before iCCP": (lambda: png_with(cicp(12, 13, 0, 1), iccp(SRGB)), "p3", None),
    "cICP after iCCP": (lambda: png_with(iccp(SRGB), cicp(9, 14, 0, 1)), "2020", None),
    "iCCP before gAMA": (lambda: png_with(iccp(P3), gama(1)), "p3", None),
    "sRGB before gAMA": (lambda: png_with((b"sRGB", b"\0"), gama(1)), "srgb", None),
    "gAMA of sRGB": (lambda: png_with(gama(0.45455)), "srgb", None),
    "cICP of sRGB before iCCP": (lambda: png_with(cicp(1, 13, 0, 1), iccp(P3)), "srgb", None),
    "cICP of logarithms goes unheeded": (lambda: png_with(cicp(1, 9, 0, 1), iccp(P3)), "p3", None),
    "linear cICP": (lambda: png_with(cicp(1, 8, 0, 1)), "srgb", 1.0),
    "HEIC P3": (lambda: heic(12, 13), "p3", None),
    "HEIC sRGB": (lambda: heic(1, 13), "srgb", None),
    "HEIC video": (lambda: heic(1, 1), "srgb", None),
    "HEIC BT.2020": (lambda: heic(9, 14), "2020", None),
    "HEIC with a profile, too": (lambda: heic(1, 13, icc_profile=P3), "p3", None),
    "AVIF P3": (lambda: avif(12, 13), "p3", None),
    "AVIF P3 with alpha": (lambda: avif(12, 13, alpha=True), "p3", None),
    "AVIF linear": (lambda: avif(2, 8), "srgb", 1.0),
    "AVIF untold": (lambda: avif(2, 2), "srgb", None),
    "JPEG 2000 with a profile": (lambda: jpeg2000(P3), "p3", None),
    "JPEG of a camera set to Adobe RGB": (lambda: jpeg_of_a_camera("R03"), "adobe", 563 / 256),
    "JPEG of a camera set to sRGB": (lambda: jpeg_of_a_camera("R98"), "srgb", None),
    "TIFF with primaries": (tiff_with_primaries, "p3", 2.2),
}


def jpeg2000(icc: bytes) -> bytes:
    """A lossless JP2 whose colour box has a profile."""
    data = encoded("JPEG2000", irreversible=False)
    at = data.index(b"colr") - 4
    (size,) = struct.unpack_from(">I", data, at)
    colour = struct.pack(">I4s3B", 11 + len(icc), b"colr", 2, 0, 0) + icc
    header = data.index(b"jp2h") - 4
    (whole,) = struct.unpack_from(">I", data, header)
    resized = struct.pack(">I", whole - size + len(colour))
    return data[:header] + resized + data[header + 4 : at] + colour + data[at + size :]


def shown(path: Path) -> np.ndarray:
    """A file as Pillow and LittleCMS show it, in sRGB."""
    with Image.open(path) as image:
        assert not {"gamma", "chromaticity"} & set(image.info)
        plain, icc = (
            image.convert("L" if image.mode[0] == "L" else "RGB"),
            image.info.get("icc_profile"),
        )
    if icc is None:
        return np.asarray(plain.convert("RGB"))
    profile, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(plain, profile, srgb, outputMode="RGB"))


@pytest.mark.parametrize("kind", KINDS)
def test_colours_are_seen_as_before_in_every_type(kind: str, tmp_path: Path) -> None:
    make, space, gamma = KINDS[kind]
    photo = read_photo(make())
    assert (photo.metadata.icc is None) == (space == "srgb" and gamma is None)
    expected = seen(photo.pixels, space, gamma)
    assert np.abs(photo.pixels.astype(int) - PIXELS).max() <= 3  # values are not converted
    for suffix in (".png", ".tif", ".webp", ".jpg"):
        write_photo(Photo(photo.pixels, None, photo.metadata, "", ()), tmp_path / f"x{suffix}")
        # what a viewer shows may differ by rounding, in a JPEG by its own error, too
        most = np.abs(shown(tmp_path / f"x{suffix}") - expected).max()
        assert most <= (2.6 if suffix == ".jpg" else 1.6), (suffix, most)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_grey_has_a_curve_alone(suffix: str, tmp_path: Path) -> None:
    photo = read_photo(grey_png(gama(1), chrm(*DISPLAY_P3)))
    assert photo.grey
    write_photo(photo, tmp_path / f"x{suffix}")
    expected = seen(np.repeat(photo.pixels, 3, axis=2), "srgb", 1.0)
    assert np.abs(shown(tmp_path / f"x{suffix}") - expected).max() <= 2.1
    assert read_photo(grey_png(chrm(*DISPLAY_P3))).metadata.icc is None


def test_linear_values_are_noted(tmp_path: Path) -> None:
    assert "linear values" in read_photo(png_with(gama(1))).notes[0]
    assert read_photo(png_with(gama(0.55556))).notes == ()


def test_a_pillow_image_keeps_its_colours_too(tmp_path: Path) -> None:
    for data in (png_with(cicp(12, 13, 0, 1)), avif(12, 13)):
        with Image.open(io.BytesIO(data)) as image:
            assert Photo.from_image(image).metadata.icc == P3
    with Image.open(io.BytesIO(png_with(gama(1)))) as image:
        image.load()
        back = Photo.from_image(image).to_image()
    assert len(back.info["icc_profile"]) > 400


def hdr_profile() -> bytes:
    """A profile with the tag that says PQ."""
    (count,) = struct.unpack_from(">I", P3, 128)
    tag = b"cicp\0\0\0\0" + bytes([9, 16, 0, 1])
    start = 132 + 12 * count
    entries = b"".join(
        struct.pack(">4sII", name, at + 12, size)
        for name, at, size in struct.iter_unpack(">4sII", P3[132:start])
    )
    entries += struct.pack(">4sII", b"cicp", len(P3) + 12, len(tag))
    body = P3[4:128] + struct.pack(">I", count + 1) + entries + P3[start:] + tag
    return struct.pack(">I", len(body) + 4) + body


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("PQ", lambda: png_with(cicp(9, 16, 0, 1))),
        ("PQ", lambda: png_with(iccp(P3, b"ITUR_2100_PQ_FULL"))),
        ("PQ", lambda: png_with(iccp(hdr_profile()))),
        ("PQ", lambda: encoded("JPEG", icc_profile=hdr_profile())),
        ("HLG", lambda: png_with(cicp(9, 18, 0, 1), iccp(P3))),
        ("HLG", lambda: heic(9, 18)),
        ("PQ", lambda: heic(12, 16)),
        ("PQ", lambda: avif(9, 16)),
    ],
)
def test_hdr_is_refused_in_a_line(name: str, make: Callable[[], bytes], tmp_path: Path) -> None:
    (tmp_path / "hdr").write_bytes(make())
    with pytest.raises(UnreadablePhoto, match=rf"hdr: {name} colours \(HDR\).*; save it in SDR"):
        read_photo(tmp_path / "hdr")


@pytest.mark.parametrize(
    ("chunks", "note"),
    [
        ([chrm(*[0] * 8)], "damaged colours (chromaticities of no colour): not kept"),
        ([chrm(*BT2020), gama(0.001)], "damaged colours (gamma 1000): not kept"),
        ([cicp(1, 9, 0, 1)], "code points 1, 9 (ITU-T H.273): not kept"),
    ],
)
def test_what_cannot_be_kept_is_noted(chunks: list, note: str) -> None:
    photo = read_photo(png_with(*chunks))
    assert photo.metadata.icc is None
    (said,) = photo.notes
    assert said.endswith(note)


def test_what_says_nothing_is_passed_over() -> None:
    for chunks in ([gama(0)], [cicp(2, 2, 0, 1)], [cicp(12, 13, 9, 1)]):
        photo = read_photo(png_with(*chunks))
        assert (photo.metadata.icc, photo.notes) == (None, ())


def test_narrow_range_is_refused() -> None:
    with pytest.raises(UnreadablePhoto, match="the bytes: narrow-range values"):
        read_photo(png_with(cicp(1, 13, 0, 0)))


def test_a_transfer_function_of_tiff_is_noted() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[301] = tuple(range(0, 65536, 257))
    assert read_photo(encoded("TIFF", tiffinfo=tags)).notes == (
        "a transfer function of TIFF: not kept",
    )
