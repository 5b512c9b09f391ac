"""Routes of jobs: progress and cancelling."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from photovax.service.http.answers import JobView
from photovax.service.http.context import Context, Named, Service
from photovax.service.http.files import given

__all__ = ["router"]

router = APIRouter(prefix="/v1")

_POLL = 0.3
_KEEP_ALIVE = 15.0


@router.get("/{kind}/{job}")
def show(service: Service, named: Named) -> JobView:
    """Return a job and its progress."""
    return service.view(named)


@router.delete("/{kind}/{job}", status_code=204)
def cancel(service: Service, named: Named) -> None:
    """Cancel a job and delete everything that belongs to it."""
    service.jobs.cancel(named.id)


@router.get(
    "/{kind}/{job}/events", response_class=StreamingResponse, responses=given("text/event-stream")
)
def events(service: Service, named: Named) -> StreamingResponse:
    """Progress as server-sent events, until the job has ended."""
    # Otherwise nginx would hold them back until the job ends.
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(service, named.id), media_type="text/event-stream", headers=headers
    )


async def _events(service: Context, job: str) -> AsyncIterator[str]:
    last, said = "", time.monotonic()
    while True:
        known = await anyio.to_thread.run_sync(service.jobs.get, job)
        if known is None:
            return
        text = service.view(known).model_dump_json()
        if text != last:
            last, said = text, time.monotonic()
            name = "end" if known.state.final else "progress"
            yield f"event: {name}\ndata: {text}\n\n"
        elif time.monotonic() - said > _KEEP_ALIVE:
            said = time.monotonic()
            yield ": still here\n\n"
        if known.state.final:
            return
        await anyio.sleep(_POLL)
