"""XMP packets: metadata as XML."""

from __future__ import annotations

import re

__all__ = ["EMPTY", "RDF", "described", "without_properties"]

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
"""Namespace of the elements that hold a packet's properties."""

EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{RDF}"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
"""A packet without properties."""

_RDF_END = re.compile(rb"</[\w.-]{1,64}:RDF\s{0,8}>")


def described(xmp: bytes | None, description: str) -> bytes:
    """Add a description to an XMP packet and leave every other byte.

    Args:
        xmp: The packet, in UTF-8; None for a new one, which also replaces one without ``rdf:RDF``.
        description: An ``rdf:Description`` element that declares its own prefixes.
    """
    ends = list(_RDF_END.finditer(xmp or EMPTY))
    if xmp is None or not ends:
        xmp, ends = EMPTY, list(_RDF_END.finditer(EMPTY))
    at = ends[-1].start()
    return xmp[:at] + description.encode() + xmp[at:]


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
