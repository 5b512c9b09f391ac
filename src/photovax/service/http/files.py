"""Files as answers, and their media types in the description of the API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse

from photovax.service.http.problems import expired
from photovax.service.jobs.job import Job
from photovax.service.jobs.pictures import Pictures

__all__ = ["given", "sent"]

_CHUNK = 1024**2


def given(*media: str) -> dict[int | str, dict[str, Any]]:
    """Describe a file as an answer; FastAPI describes only answers that are a model's JSON."""
    return {200: {"description": "The file.", "content": {each: {} for each in media}}}


def sent(pictures: Pictures, job: Job, file: str, media: str, name: str) -> Response:
    """Answer with a file of a job's results. It may be deleted while it is sent.

    Args:
        pictures: The pictures of all jobs.
        job: Job.
        file: Name of the file among its results.
        media: Media type.
        name: Name of the file for clients.

    Raises:
        Problem: If it is deleted already.
    """
    try:
        opened = pictures.open(job, file)
    except FileNotFoundError:
        raise expired() from None

    def chunks() -> Iterator[bytes]:
        with opened:
            while chunk := opened.read(_CHUNK):
                yield chunk

    size = opened.seek(0, os.SEEK_END)
    opened.seek(0)
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    return StreamingResponse(chunks(), media_type=media, headers=headers)
