"""Files as answers, and their media types in the description of the API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse

from photovax.service.http.problems import Problem

__all__ = ["given", "sent"]

_CHUNK = 1024**2


def given(*media: str) -> dict[int | str, dict[str, Any]]:
    """Describe a file as an answer; FastAPI describes only answers that are a model's JSON."""
    return {200: {"description": "The file.", "content": {each: {} for each in media}}}


def sent(path: Path, media: str, name: str) -> Response:
    """Answer with a file. It may be deleted while it is sent.

    Raises:
        Problem: If it is deleted already.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise Problem(410, "expired", "the result has expired and was deleted") from None

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(_CHUNK):
                yield chunk

    headers = {
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    return StreamingResponse(chunks(), media_type=media, headers=headers)
