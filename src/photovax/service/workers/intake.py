"""Turns requests into jobs: uploads are hashed, decoded and queued, or leave nothing behind."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import anyio
from fastapi import UploadFile

from photovax.certificates.container import stream_digest
from photovax.errors import PhotoError
from photovax.machine.cores import cores
from photovax.machine.memory import available_bytes
from photovax.service.jobs.job import Job, QueueFull, new_id
from photovax.service.jobs.limits import EVERYBODY
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.workers.decode import decoded

__all__ = ["Intake", "Order"]

_CHUNK = 1024**2
_LEFT_FREE = 4  # pictures of the largest size: three may come with a job, and one is its result


@dataclass(frozen=True)
class Order:
    """The content of a request.

    Attributes:
        kind: Kind of the job.
        parameters: Parameters of the job; an empty ``suffix`` stands for the photo's own file type.
        uploads: The pictures, ``photo`` among them.
        owner: Owner of the request.
        idempotency: The client's key.
    """

    kind: str
    parameters: Mapping[str, Any]
    uploads: Mapping[str, UploadFile | None]
    owner: str
    idempotency: str | None


class Intake:
    """Queues jobs.

    Args:
        settings: The service's.
        jobs: Its table of jobs.
    """

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self._settings, self._jobs = settings, jobs
        # A separate limit on threads: waiting uploads must not block other requests.
        self._waiting: Counter[str] = Counter()
        self._threads = anyio.CapacityLimiter(_decoders(settings.decode_bytes))

    async def take(self, order: Order) -> Job:
        """Queue a job, or find the job of an earlier request with the same key.

        Raises:
            Clash: If the key was used for another request.
            QueueFull: If too many jobs wait, in all or of this owner.
            PhotoError: If a picture cannot be read.
            OSError: If the disk is full.
        """
        limits = self._limits(order.owner)
        for who, most in limits.items():
            if self._waiting[who] >= most:
                raise QueueFull(f"{most} uploads are waiting, of {most} allowed; try again later")
        self._waiting.update(limits.keys())
        try:
            return await anyio.to_thread.run_sync(self._take, order, limiter=self._threads)
        finally:
            self._waiting.subtract(limits.keys())

    def _take(self, order: Order) -> Job:
        """Queue the job of uploads, which are decoded into its folder."""
        files = {name: upload.file for name, upload in order.uploads.items() if upload is not None}
        digests = {name: _digest(file) for name, file in files.items()}
        asked = json.dumps([order.kind, dict(order.parameters), digests], sort_keys=True)
        request = hashlib.sha256(asked.encode()).hexdigest()

        def fill(folder: Path) -> dict[str, Any]:
            suffixes = {name: self._decode(name, file, folder) for name, file in files.items()}
            own = suffixes["photo"]["masked" if "mask" in files else "whole"]
            suffix = order.parameters.get("suffix") or own
            return {**order.parameters, "sha256": stream_digest(files["photo"]), "suffix": suffix}

        return self._queue(order.kind, fill, request, order.owner, order.idempotency)

    def follow(
        self,
        of: Job,
        parameters: Mapping[str, Any],
        *,
        owner: str,
        idempotency: str | None = None,
    ) -> Job:
        """Queue an edit of the result of an immunization, or find that of an earlier request.

        Raises:
            Clash: If the key was used for another request.
            QueueFull: If too many jobs wait.
            OSError: If its pictures were deleted or the disk is full.
        """
        request = hashlib.sha256(json.dumps([of.id, dict(parameters)]).encode()).hexdigest()
        taken = {"original": "original.png", "immunized": (of.result or {})["file"]}

        def fill(folder: Path) -> dict[str, Any]:
            opened = self._jobs.pictures.open
            for name, made in taken.items():
                with opened(of, made) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
            return {**parameters, "of": of.id}

        return self._queue("edits", fill, request, owner, idempotency)

    def _queue(
        self,
        kind: str,
        fill: Callable[[Path], dict[str, Any]],
        request: str,
        owner: str,
        idempotency: str | None,
    ) -> Job:
        """Queue a job, or find that of an earlier request with the same key.

        Args:
            kind: Kind of the job.
            fill: Function that puts its pictures into a folder and returns its parameters.
            request: Digest of the request.
            owner: Owner of the request.
            idempotency: The client's key.
        """
        if (known := self._jobs.by_key(owner, idempotency, request)) is not None:
            return known
        self._check_room(owner)
        job, pictures = new_id(), self._jobs.pictures
        try:
            with pictures.draft(job) as folder:
                parameters = fill(folder)
            queued = self._jobs.add(
                job,
                kind,
                parameters,
                request=request,
                owner=owner,
                idempotency=idempotency,
                limits=self._limits(owner),
            )
        except BaseException:
            pictures.remove(job)
            raise
        if queued.id != job:  # the same request arrived twice at the same time
            pictures.remove(job)
        return queued

    def _check_room(self, owner: str) -> None:
        """Check that another job may wait, and that the disk would not be full with it.

        A picture that waits takes four bytes a pixel, however small its file. The table of jobs and
        the results of others are on the same disk.

        Raises:
            QueueFull: If too many jobs wait.
            OSError: If there is not room enough.
        """
        self._jobs.check_room(self._limits(owner))
        free = shutil.disk_usage(self._settings.data).free
        if free < _LEFT_FREE * 4 * self._settings.max_pixels:
            raise OSError(errno.ENOSPC, "too little room is left")

    def _limits(self, owner: str) -> dict[str, int]:
        """Largest number of waiting jobs, of all owners and of the owner of a token."""
        each = {owner: self._settings.queue_each} if owner else {}
        return {EVERYBODY: self._settings.queue, **each}

    def _decode(self, name: str, file: BinaryIO, folder: Path) -> dict[str, str]:
        raw = folder / f"{name}.upload"
        with raw.open("wb") as target:
            shutil.copyfileobj(file, target, _CHUNK)
        try:
            return decoded(raw, folder / f"{name}.npz", self._settings)
        except PhotoError as error:
            raise type(error)(f"{name}: {error}") from None


def _decoders(each: int) -> int:
    """Number of pictures decoded at the same time: one a core, if memory is large enough."""
    available = available_bytes()
    return cores() if available is None else max(1, min(cores(), available // each))


def _digest(file: BinaryIO) -> str:
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest
