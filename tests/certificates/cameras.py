"""Photos with Content Credentials, as a camera or another tool signs them."""

import io
from typing import Any

import c2pa

from photovax.certificates.credential import self_made

TYPES = {
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
}


def signed_by_camera(
    data: bytes,
    kind: str = "image/jpeg",
    *assertions: dict[str, Any],
    preview: bool = False,
    parent: bytes | None = None,
) -> bytes:
    """The bytes of a picture with a manifest, with its preview or a JPEG as its parent."""
    settings = {"builder": {"thumbnail": {"enabled": preview}}}
    said = {"claim_generator_info": [{"name": "Camera"}], "assertions": list(assertions)}
    signer, target = self_made(), io.BytesIO()
    info = c2pa.C2paSignerInfo(signer.algorithm, signer.chain, signer.key, None)
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_info(info) as by,
        c2pa.Builder(said, context) as builder,
    ):
        if parent is None:
            capture = c2pa.C2paDigitalSourceType.DIGITAL_CAPTURE
            builder.set_intent(c2pa.C2paBuilderIntent.CREATE, capture)
        else:
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            builder.add_ingredient({"relationship": "parentOf"}, "image/jpeg", io.BytesIO(parent))
        builder.sign(by, kind, io.BytesIO(data), target)
    return target.getvalue()
