"""A platform that immunizes photos after its own resize, as an ASGI application of Starlette.

A resize to less than models are fed and a compression weaken an immunization that was made before
them (docs/checks.md), and a smaller photo is changed more at one visibility. So the photo is first
resized, then immunized for the compression that it is served with.

    pip install "photovax[service]"
    uvicorn --factory examples.after_resize:platform
    curl -i -F photo=@photo.jpg http://127.0.0.1:8000/photos
"""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from typing import Any

import anyio
from PIL import Image
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

import photovax

__all__ = ["platform", "resized"]

QUALITY = 85  # of the JPEG files that are served


def platform(folder: Path = Path("photos"), side: int = 1600, **options: Any) -> Starlette:
    """Build the application.

    Args:
        folder: Folder of the photos that are served, and their records, which are not.
        side: Longest side of a photo, in pixels.
        options: Further arguments of ``photovax.immunize``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    one = anyio.CapacityLimiter(1)  # an immunization takes every core

    def publish(data: bytes, file: Path) -> None:
        small = resized(data, side)
        photovax.immunize(small, suffix=file.suffix, quality=QUALITY, **options).save(file)

    async def take(request: Request) -> Response:
        async with request.form(max_files=1, max_fields=0) as form:
            upload = form.get("photo")
            if not isinstance(upload, UploadFile):
                return JSONResponse({"detail": "send a file in the field photo"}, 422)
            data = await upload.read()
        name = uuid.uuid4()
        try:
            await anyio.to_thread.run_sync(publish, data, folder / f"{name}.jpg", limiter=one)
        except (photovax.PhotovaxError, OSError) as error:
            return JSONResponse({"detail": str(error)}, 422)
        return JSONResponse({"id": str(name)}, 201, {"Location": f"/photos/{name}"})

    async def give(request: Request) -> Response:
        file = folder / f"{request.path_params['name']}.jpg"
        return FileResponse(file) if file.exists() else Response(status_code=404)

    return Starlette(
        routes=[
            Route("/photos", take, methods=["POST"]),
            Route("/photos/{name:uuid}", give),
        ]
    )


def resized(data: bytes, side: int) -> bytes:
    """Resize a picture file to a longest side, upright, as PNG: nothing is compressed twice."""
    small = photovax.read_photo(data).to_image()  # upright, 8 bits, and not of any size
    profile = small.info.get("icc_profile")
    if small.mode in ("LA", "RGBA"):
        ground = Image.new(small.mode.removesuffix("A"), small.size, "white")
        ground.paste(small.convert(ground.mode), mask=small.getchannel("A"))
        small = ground
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "PNG", icc_profile=profile)
    return out.getvalue()
