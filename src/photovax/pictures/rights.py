"""Statements of the rights holder about AI, in a photo's XMP packet.

The properties are the PLUS Coalition's, which the IPTC Photo Metadata Standard adopted in 2023.1:
Data Mining, a term of a fixed list, for programs; and Other Constraints, a text, for people. The
list covers training only, so that editing can be forbidden in the text only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from photovax.pictures.exif import Metadata
from photovax.pictures.xmp import (
    EMPTY,
    PLUS,
    Property,
    read_properties,
    with_properties,
    without_properties,
)

__all__ = ["cawg_entries", "forbidding_ai", "forbids_training"]

_MINING = Property(PLUS, "DataMining")
_CONSTRAINTS = Property(PLUS, "OtherConstraints", "Alt")
_PROHIBITED = "http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED"
# Training of any kind: -GENAIMLTRAINING would allow training of models that only recognise. Wider
# terms also exclude search engines or research.
_NO_TRAINING = _PROHIBITED + "-AIMLTRAINING"
# Terms that refer to another text ("see ...") are among them: replacing one would lose it.
_WIDER = {
    _PROHIBITED,
    _PROHIBITED + "-EXCEPTSEARCHENGINEINDEXING",
    _PROHIBITED + "-SEECONSTRAINT",
    _PROHIBITED + "-SEEEMBEDDEDRIGHTSEXPR",
    _PROHIBITED + "-SEELINKEDRIGHTSEXPR",
}
_NO_EDITING = "No editing by generative AI without permission of the rights holder."


def forbidding_ai(metadata: Metadata) -> tuple[Metadata, list[str]]:
    """State in the XMP packet that training AI and editing by generative AI are forbidden.

    Training: PLUS's Data Mining, "Prohibited for AI/ML training". An existing prohibition that is
    at least as wide is kept; any other term is replaced. Editing: PLUS's Other Constraints, unless
    the rights holder has another text there, which is kept. Every other byte of the packet is
    unchanged. A photo without a packet gets one.

    Args:
        metadata: As read from a file.

    Returns:
        The metadata with both statements, and a note for each that was lost or could not be made.
    """
    try:
        xmp, notes = _saying_so(metadata.xmp or EMPTY)
    except ValueError as error:
        xmp, notes = _saying_so(EMPTY)
        notes.append(f"damaged XMP ({error}): not kept; a new packet forbids AI")
    return replace(metadata, xmp=xmp), notes


def forbids_training(metadata: Metadata) -> bool:
    """Whether the XMP packet states, exactly once, that training AI with the photo is forbidden."""
    try:
        return metadata.xmp is not None and _Statement.of(metadata.xmp).forbids_training
    except ValueError:
        return False


def cawg_entries(metadata: Metadata) -> dict[str, dict[str, str]]:
    """The statements about AI as entries of CAWG's training and data mining assertion.

    CAWG Training and Data Mining 1.1, section 3. It separates generative models from models that
    only recognise, where PLUS does not. Editing is a use for inference, but so is an image search
    or a description for the blind: hence ``constrained``, with the text of XMP. Data mining is
    mentioned only if XMP prohibits it as a whole.

    Returns:
        The ``use`` of each entry and, where constrained, ``constraints_info``; empty if XMP states
        nothing, or contradicts itself.
    """
    try:
        said = _Statement.of(metadata.xmp or EMPTY)
    except ValueError:
        return {}
    entries: dict[str, dict[str, str]] = {}
    if said.forbids_training:
        entries = {
            name: {"use": "notAllowed"}
            for name in ("cawg.ai_generative_training", "cawg.ai_training")
        }
        if said.terms == [_PROHIBITED]:
            entries["cawg.data_mining"] = {"use": "notAllowed"}
    if said.forbids_editing:
        entries["cawg.ai_inference"] = {"use": "constrained", "constraints_info": _NO_EDITING}
    return entries


def _saying_so(xmp: bytes) -> tuple[bytes, list[str]]:
    """A packet with the statements that it lacks, and notes; ValueError if it is not XMP."""
    said, notes = _Statement.of(xmp), list[str]()
    added: dict[Property, list[str]] = {}
    if not said.forbids_training:
        xmp = without_properties(xmp, PLUS.encode(), b"DataMining") or b""
        said = _Statement.of(xmp)
        if said.terms:
            raise ValueError("a statement that cannot be taken out")
        added[_MINING] = [_NO_TRAINING]
    if not said.constraints:
        added[_CONSTRAINTS] = [_NO_EDITING]
    elif not said.forbids_editing:
        notes.append("its own XMP text of other constraints: kept, so AI editing is not forbidden")
    return with_properties(xmp, said.end, added) if added else xmp, notes


@dataclass
class _Statement:
    """Statements of a packet, and the offset at which its ``rdf:RDF`` ends."""

    terms: list[str]
    constraints: list[str]
    end: int

    @property
    def forbids_training(self) -> bool:
        """Whether training of any kind is forbidden, exactly once."""
        return len(self.terms) == 1 and self.terms[0] in _WIDER | {_NO_TRAINING}

    @property
    def forbids_editing(self) -> bool:
        """Whether the text forbids editing by AI."""
        return any(_NO_EDITING in text for text in self.constraints)

    @classmethod
    def of(cls, xmp: bytes) -> _Statement:
        """Read a packet; ValueError if it is not well-formed, or no XMP."""
        found, end = read_properties(xmp, (_MINING, _CONSTRAINTS))
        return cls([term.strip() for term in found[_MINING]], found[_CONSTRAINTS], end)
