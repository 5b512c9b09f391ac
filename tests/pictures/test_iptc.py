"""IPTC-IIM: what is read of it, and under which names it is carried into XMP."""

from __future__ import annotations

import struct

import pytest

from photovax.pictures.iptc import (
    LARGEST_IN_JPEG,
    as_properties,
    iim_in_blocks,
    jpeg_segment,
    not_in_xmp,
    without_places,
)
from tests.pictures.made import dataset


def named(iim: bytes) -> dict[str, list[str]]:
    return {each.name: texts for each, texts in as_properties(iim).items()}


def test_texts_have_the_names_of_the_iptc_standard() -> None:
    iim = b"".join(
        [
            dataset(5, b"Title"),
            dataset(25, b"one"),
            dataset(25, b"two"),
            dataset(80, b"Ann"),
            dataset(110, b"Agency"),
            dataset(116, "© Ann".encode()),
            dataset(120, b"Caption\0"),
            dataset(105, b"  "),
        ]
    )
    assert named(iim) == {
        "title": ["Title"],
        "subject": ["one", "two"],
        "creator": ["Ann"],
        "Credit": ["Agency"],
        "rights": ["© Ann"],
        "description": ["Caption"],
    }


@pytest.mark.parametrize(
    ("mark", "value"),
    [
        (b"", "Müller 写".encode()),
        (dataset(90, b"\x1b%G", record=1), "Müller 写".encode()),
        (b"", "Müller".encode("cp1252")),
        (dataset(90, b"\x1b.A", record=1), "Müller".encode("latin-1")),
        (dataset(90, b"\x1b%G", record=1), "Müller".encode("latin-1")),  # untrue
    ],
)
def test_every_customary_alphabet_is_read(mark: bytes, value: bytes) -> None:
    assert named(mark + dataset(80, value))["creator"][0].startswith("Müller")


def test_text_that_says_latin_is_not_taken_for_utf_8() -> None:
    iim = dataset(90, b"\x1b.A", record=1) + dataset(80, "Ã©".encode("cp1252"))
    assert named(iim) == {"creator": ["Ã©"]}


@pytest.mark.parametrize(
    ("date", "time", "shown"),
    [
        (b"20240506", b"", "2024-05-06"),
        (b"20240506", b"070809+0200", "2024-05-06T07:08:09+02:00"),
        (b"20240506", b"070809", "2024-05-06T07:08:09"),
        (b"20240506", b"noon", "2024-05-06"),
        (b"20240000", b"070809+0200", "2024"),
        (b"20240500", b"", "2024-05"),
        (b"in May", b"", "in May"),
    ],
)
def test_dates_are_those_of_xmp(date: bytes, time: bytes, shown: str) -> None:
    assert named(dataset(55, date) + dataset(60, time)) == {"DateCreated": [shown]}


def test_places_are_removed_and_the_rest_stays_to_the_byte() -> None:
    long = dataset(120, b"x" * 40_000)
    iim = dataset(5, b"a") + dataset(90, b"Paris") + long + dataset(101, b"France")
    assert without_places(iim) == dataset(5, b"a") + long
    assert without_places(dataset(92, b"Rue de Rivoli")) is None


def test_what_has_no_name_in_xmp_is_told_apart_from_what_nobody_misses() -> None:
    iim = dataset(0, b"\0\4") + dataset(118, b"Ann, tel.") + dataset(65, b"Program")
    assert not_in_xmp(iim + dataset(10, b"x", record=7)) == ["2:118", "7:10"]


def test_damage_ends_the_reading_but_not_the_program() -> None:
    whole = dataset(5, b"Title") + dataset(120, b"x" * 40_000)
    for end in range(60):
        assert set(named(whole[:end])) <= {"title"}
    assert named(dataset(5, b"a") + b"\0\0\0") == {"title": ["a"]}
    assert named(b"\x1c\2\5\xff\xff") == {}


def test_blocks_of_photoshop_are_searched() -> None:
    iim = dataset(5, b"Title")
    name = b"8BIM\x04\x0a\x03abc" + struct.pack(">I", 1) + b"\1\0"
    assert iim_in_blocks(name + jpeg_segment(iim)[4 + 14 :]) == iim
    assert iim_in_blocks(jpeg_segment(iim)[4:]) == iim
    assert iim_in_blocks(name) is None
    assert iim_in_blocks(iim) == iim
    for end in range(40):
        iim_in_blocks((name + jpeg_segment(iim)[18:])[:end])
    assert len(jpeg_segment(bytes(LARGEST_IN_JPEG))) == 2 + 65_535 - 1
