"""What a saved photo says about AI, read by another XML reader than ours."""

# A None where bytes or a result belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, operator, union-attr"

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from photovax.attack.recipe import Recipe
from photovax.batch.order import Order
from photovax.batch.work import immunize_file
from photovax.errors import BudgetExceeded
from photovax.immunizer import Immunizer
from photovax.pictures.exif import Metadata
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.rights import cawg_entries, forbidding_ai, forbids_training
from photovax.pictures.write import write_photo
from photovax.saving import check_promises

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
TERMS = "http://ns.useplus.org/ldf/vocab/DMI-"
NO_TRAINING = f"{TERMS}PROHIBITED-AIMLTRAINING"
NO_EDITING = "No editing by generative AI without permission of the rights holder."
KEPT = "<dc:rights>© Ann</dc:rights><plus:ImageSupplierImageID>x</plus:ImageSupplierImageID>"


def packet(attributes: str = "", elements: str = "") -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta '
        f'xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" '
        f'xmlns:a="http://a/" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:plus="{PLUS}" '
        f'a:name="Ann\'s"{attributes}>{KEPT}{elements}</rdf:Description></rdf:RDF></x:xmpmeta>\n'
        '<?xpacket end="w"?>'
    ).encode()


def said(xmp: bytes | None, name: str) -> list[str]:
    """Every value of a property of PLUS, whatever its form."""
    values = []
    for element in ElementTree.fromstring(xmp.partition(b"?>")[2]).iter():  # noqa: S314 - ours
        values += [value for key, value in element.items() if key == f"{{{PLUS}}}{name}"]
        if element.tag == f"{{{PLUS}}}{name}":
            text = "".join(element.itertext())
            values.append(element.get(f"{{{RDF}}}resource", text).strip())
    return values


def photo(xmp: bytes | None) -> Photo:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 1), dtype=np.uint8)
    return Photo(np.repeat(pixels, 3, 2), pixels[..., 0], Metadata(xmp=xmp), "PNG", ())


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize(
    "xmp",
    [
        None,
        packet(),
        packet(f' plus:DataMining="{TERMS}ALLOWED"'),
        packet(f" plus:DataMining = '{TERMS}PROHIBITED-GENAIMLTRAINING'"),
        packet("", f"<plus:DataMining>\n {TERMS}UNSPECIFIED </plus:DataMining>"),
        packet("", f'<plus:DataMining rdf:resource="{TERMS}ALLOWED"/>'),
        packet(f' plus:DataMining="{NO_TRAINING}"', "<plus:DataMining>else</plus:DataMining>"),
        packet(f' xmlns:p="{PLUS}" p:DataMining="{TERMS}ALLOWED"'),
        packet().replace(b"rdf:", b"r:").replace(b":rdf=", b":r="),
    ],
    ids=["none", "other", "attribute", "narrower", "element", "resource", "twice", "prefix", "rdf"],
)
def test_the_reopened_file_says_it_once(xmp, suffix, tmp_path):
    before = photo(xmp)
    asserting = before.forbidding_ai()
    write_photo(asserting, tmp_path / f"x{suffix}")
    after = read_photo(tmp_path / f"x{suffix}")
    assert said(after.metadata.xmp, "DataMining") == [NO_TRAINING]
    assert said(after.metadata.xmp, "OtherConstraints") == [NO_EDITING]
    assert forbids_training(after.metadata)
    assert not forbids_training(before.metadata)
    assert np.array_equal(after.pixels, before.pixels)
    assert np.array_equal(after.alpha, before.alpha)
    assert asserting.notes == after.notes == ()
    assert after.forbidding_ai().metadata == after.metadata
    if xmp is not None:
        assert KEPT.encode() in after.metadata.xmp
        assert b'a:name="Ann\'s"' in after.metadata.xmp


def test_all_other_bytes_stay():
    xmp = forbidding_ai(Metadata(xmp=packet(f' plus:DataMining="{TERMS}ALLOWED"')))[0].xmp
    start, end = packet().split(b"</rdf:RDF>")
    assert xmp.startswith(start)
    assert xmp.endswith(b"</rdf:Description></rdf:RDF>" + end)


@pytest.mark.parametrize("ending", ["", "-EXCEPTSEARCHENGINEINDEXING", "-SEELINKEDRIGHTSEXPR"])
def test_a_wider_prohibition_is_not_narrowed(ending):
    wider = f"{TERMS}PROHIBITED{ending}"
    metadata, notes = forbidding_ai(Metadata(xmp=packet(f' plus:DataMining="{wider}"')))
    assert said(metadata.xmp, "DataMining") == [wider]
    assert said(metadata.xmp, "OtherConstraints") == [NO_EDITING]
    assert notes == []


def test_the_rights_holders_own_constraints_stay_with_a_note():
    own = "<plus:OtherConstraints>Not for adverts</plus:OtherConstraints>"
    metadata, (note,) = forbidding_ai(Metadata(xmp=packet("", own)))
    assert own.encode() in metadata.xmp
    assert said(metadata.xmp, "DataMining") == [NO_TRAINING]
    assert "AI editing is not forbidden" in note


@pytest.mark.parametrize(
    "xmp",
    [
        b"no XML",
        packet()[:-60],
        packet("", "<a:open>"),
        packet("", "<!-- <plus:DataMining> --><plus:DataMining>else</plus:DataMining>"),
        packet().replace(b"\xc2\xa9", b"\xa9"),
        packet().replace(b"<x:", b'<!DOCTYPE a [<!ENTITY b "c">]><x:', 1),
        f'<rdf:RDF xmlns:rdf="{RDF}"/>'.encode(),
        packet(f' xmlns:p="{PLUS.replace("/", "&#47;")}" p:DataMining="{TERMS}ALLOWED"'),
    ],
    ids=["text", "cut", "open", "comment", "latin", "doctype", "no end", "hidden"],
)
def test_a_packet_that_cannot_be_read_is_begun_anew_with_a_note(xmp):
    metadata, (note,) = forbidding_ai(Metadata(xmp=xmp))
    assert said(metadata.xmp, "DataMining") == [NO_TRAINING]
    assert note.startswith("damaged XMP (")
    assert len(note.splitlines()) == 1
    assert not forbids_training(Metadata(xmp=xmp))


def test_immunized_files_say_so_when_asked_only(
    immunizer: Immunizer, quick: Recipe, tmp_path
) -> None:
    quick = replace(quick, steps=1)
    Image.effect_noise((40, 30), 60).convert("RGB").save(tmp_path / "in.jpg", xmp=packet())
    broken = packet().replace(b"</rdf:RDF>", b"")
    Image.effect_noise((40, 30), 60).convert("RGB").save(tmp_path / "broken.jpg", xmp=broken)
    for name in ("in.jpg", "broken.jpg"):
        done = immunize_file(
            immunizer,
            tmp_path / name,
            Destination(tmp_path / f"{name}.png"),
            Order(quick, forbid_ai=True),
        )
        assert forbids_training(read_photo(done.saved.path).metadata)
        assert len(done.result.original.notes) == (name == "broken.jpg")
    silent = replace(done.result.photo, metadata=Metadata())
    with pytest.raises(BudgetExceeded, match="no statement against AI training"):
        check_promises(done.result, silent)
    immunize_file(immunizer, tmp_path / "in.jpg", Destination(tmp_path / "c.png"), Order(quick))
    assert read_photo(tmp_path / "c.png").metadata.xmp == packet()


@pytest.mark.parametrize(
    ("xmp", "entries"),
    [
        (None, {}),
        (b"no XMP", {}),
        (packet(f' plus:DataMining="{TERMS}ALLOWED"'), {}),
        (packet(f' plus:DataMining="{NO_TRAINING}"'), {"ai_generative_training", "ai_training"}),
        (
            packet(f' plus:DataMining="{TERMS}PROHIBITED-EXCEPTSEARCHENGINEINDEXING"'),
            {"ai_generative_training", "ai_training"},
        ),
        (
            packet(f' plus:DataMining="{TERMS}PROHIBITED"'),
            {"ai_generative_training", "ai_training", "data_mining"},
        ),
    ],
    ids=["none", "damaged", "allowed", "training", "not search engines", "all"],
)
def test_cawg_entries_say_no_more_than_xmp(xmp, entries):
    assert cawg_entries(Metadata(xmp=xmp)) == {
        f"cawg.{name}": {"use": "notAllowed"} for name in entries
    }


def test_editing_is_a_constraint_on_inference_in_the_words_of_xmp():
    said, _ = forbidding_ai(Metadata())
    assert cawg_entries(said)["cawg.ai_inference"] == {
        "use": "constrained",
        "constraints_info": NO_EDITING,
    }
    text = "<plus:OtherConstraints><rdf:Alt><rdf:li>Ask.</rdf:li></rdf:Alt></plus:OtherConstraints>"
    own, _ = forbidding_ai(Metadata(xmp=packet("", text)))
    assert "cawg.ai_inference" not in cawg_entries(own)
