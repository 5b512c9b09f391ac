"""XMP packets: metadata as XML."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple
from xml.parsers.expat import ExpatError, ParserCreate, XMLParserType
from xml.sax.saxutils import escape

__all__ = [
    "DC",
    "EMPTY",
    "IPTC_CORE",
    "PHOTOSHOP",
    "PLUS",
    "RDF",
    "Property",
    "described",
    "property_names",
    "read_properties",
    "with_properties",
    "without_properties",
]

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
"""Namespace of the elements that hold a packet's properties."""
DC = "http://purl.org/dc/elements/1.1/"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
IPTC_CORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"

# Some readers look for the customary prefixes instead of the namespaces.
_PREFIXES = {DC: "dc", PHOTOSHOP: "photoshop", IPTC_CORE: "Iptc4xmpCore", PLUS: "plus"}
# Characters that XML 1.0 has no way to write (section 2.2)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{RDF}"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
"""A packet without properties."""


class Property(NamedTuple):
    """A property of XMP.

    Attributes:
        namespace: Its namespace; one of those above.
        name: Its name in the namespace.
        form: Single text, text in languages (``Alt``), list (``Seq``) or set (``Bag``).
    """

    namespace: str
    name: str
    form: Literal["text", "Alt", "Seq", "Bag"] = "text"


def read_properties(
    xmp: bytes, properties: Collection[Property]
) -> tuple[dict[Property, list[str]], int]:
    """Read properties of an XMP packet.

    Args:
        xmp: The packet, in UTF-8.
        properties: Properties to look for; their form does not matter.

    Returns:
        The texts of each, one for each time that it is stated; and the offset in bytes at which
        its ``rdf:RDF`` ends, where ``with_properties`` adds others.

    Raises:
        ValueError: If the packet is not well-formed, or no XMP.
    """
    # Properties are attributes, elements with a text, or elements with an rdf:resource.
    named = {each.namespace + each.name: each for each in properties}
    found: dict[Property, list[str]] = {each: [] for each in properties}
    inside: list[Property] = []
    end = -1
    parser = _parser("")  # names are namespace and name, concatenated
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        for key in named.keys() & attributes.keys():
            found[named[key]].append(attributes[key])
        if name in named:
            found[named[name]].append(attributes.get(RDF + "resource", ""))
            inside.append(named[name])

    def text(data: str) -> None:
        if inside:
            found[inside[-1]][-1] += data

    def close(name: str) -> None:
        nonlocal end
        if name in named:
            inside.pop()
        if name == RDF + "RDF":
            end = parser.CurrentByteIndex

    parser.StartElementHandler = start
    parser.CharacterDataHandler = text
    parser.EndElementHandler = close
    _parse(parser, xmp)
    if not xmp.startswith(b"</", max(end, 0)):
        raise ValueError("no rdf:RDF with a closing tag")
    return found, end


def property_names(xmp: bytes) -> set[tuple[str, str]]:
    """Namespace and name of all that an XMP packet states, however it spells its prefixes.

    Args:
        xmp: The packet, in UTF-8.

    Raises:
        ValueError: If the packet is not well-formed.
    """
    found: set[tuple[str, str]] = set()
    parser = _parser("\n")

    def start(name: str, attributes: dict[str, str]) -> None:
        for each in (name, *attributes):
            namespace, _, local = each.rpartition("\n")
            found.add((namespace, local))

    parser.StartElementHandler = start
    _parse(parser, xmp)
    return found


def _parser(separator: str) -> XMLParserType:
    """A parser whose names are a namespace, a separator and a name; it refuses document types."""
    parser = ParserCreate("utf-8", separator)

    def doctype(*_: object) -> None:  # its entities could expand without end
        raise ValueError("a document type, which XMP has no use for")

    parser.StartDoctypeDeclHandler = doctype
    return parser


def _parse(parser: XMLParserType, xmp: bytes) -> None:
    """Parse a packet; ValueError if it is not well-formed."""
    try:
        parser.Parse(xmp, True)
    except ExpatError as error:
        raise ValueError(str(error)) from error


def with_properties(xmp: bytes, end: int, properties: Mapping[Property, Sequence[str]]) -> bytes:
    """Add properties to an XMP packet and leave every other byte.

    Args:
        xmp: The packet, in UTF-8, which has none of them.
        end: Offset at which its ``rdf:RDF`` ends, from ``read_properties``.
        properties: Texts of each property; only the first where it is no list or set.

    Returns:
        The packet with another ``rdf:Description``. It declares its own prefixes, since the packet
        may use them for other namespaces.
    """
    added = ""
    for each, texts in properties.items():
        shown = [escape(_NOT_XML.sub("", text)) for text in texts]
        language = ' xml:lang="x-default"' if each.form == "Alt" else ""
        items = shown if each.form in ("Seq", "Bag") else shown[:1]
        content = "".join(f"<rdf:li{language}>{text}</rdf:li>" for text in items)
        content = f"<rdf:{each.form}>{content}</rdf:{each.form}>"
        if each.form == "text":
            content = shown[0]
        tag = f"{_PREFIXES[each.namespace]}:{each.name}"
        added += f"<{tag}>{content}</{tag}>"
    spaces = dict.fromkeys(each.namespace for each in properties)
    declared = "".join(f' xmlns:{_PREFIXES[space]}="{space}"' for space in spaces)
    description = (
        f'<rdf:Description rdf:about="" xmlns:rdf="{RDF}"{declared}>{added}</rdf:Description>'
    )
    return xmp[:end] + description.encode() + xmp[end:]


def described(xmp: bytes | None, description: str) -> bytes:
    """Add a description to an XMP packet and leave every other byte.

    Args:
        xmp: The packet, in UTF-8; None for a new one, which also replaces one that is no XMP.
        description: An ``rdf:Description`` element that declares its own prefixes.
    """
    packet = xmp or EMPTY
    try:
        _, end = read_properties(packet, ())
    except ValueError:
        return described(None, description)
    return packet[:end] + description.encode() + packet[end:]


def without_properties(xmp: bytes, namespace: bytes | None, names: bytes) -> bytes | None:
    """Cut properties out of an XMP packet and leave every other byte.

    The packet is searched as bytes, since an XML library would rename prefixes that other readers
    look for. The patterns stop at the next ``<``, so that a hostile packet cannot make them slow.

    Args:
        xmp: The packet, in UTF-8.
        namespace: Namespace of the properties, whose prefix is looked up in the packet; any
            namespace of the packet if None.
        names: Regular expression for their names.

    Returns:
        The rest of the packet; None if it is not XML in UTF-8, or an element has no end.
    """
    if b"\0" in xmp:
        return None  # UTF-16 or binary: the patterns would find nothing
    named = rb"[^\"'<>]*" if namespace is None else re.escape(namespace)
    declared = rb"xmlns:([\w.-]{1,64})\s{0,8}=\s{0,8}[\"']" + named + rb"[\"']"
    for prefix in sorted(set(re.findall(declared, xmp))):
        name = re.escape(prefix) + b":" + names
        attribute = rb"\s" + name + rb"\s{0,8}=\s{0,8}(?:\"[^\"<]*\"|'[^'<]*')"
        opening = re.compile(rb"<(" + name + rb")(?=[\s/>])[^<>]*>")
        xmp = re.sub(attribute, b"", xmp)
        kept, end = [], 0
        while found := opening.search(xmp, end):
            kept.append(xmp[end : found.start()])
            end = found.end()
            if not found[0].endswith(b"/>"):
                closing = xmp.find(b"</" + found[1], end)
                end = xmp.find(b">", closing) + 1
                if closing < 0 or end == 0:
                    return None
        xmp = b"".join([*kept, xmp[end:]])
    return xmp
