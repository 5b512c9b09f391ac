"""The connection to a service: requests, waiting for jobs, and files."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx2

from photovax.client.answers import Model, RemoteJob, ServiceError, check, json_of, unreachable
from photovax.pictures.atomic import write_bytes, write_text
from photovax.pictures.types import FileType

__all__ = ["Client"]

_CHUNK_SECONDS = 60.0
_ANSWER_SECONDS = 600.0  # an upload is answered when it is decoded, after those before it
_AGAIN, _PATIENCE = 1.0, 60.0  # seconds between attempts, and for all of them


class Client:
    """A connection to one service.

    Args:
        url: URL of the service.
        token: Token, if the service needs one.
        http: HTTP client to use; it is not closed. Created when None.
    """

    def __init__(
        self, url: str, *, token: str | None = None, http: httpx2.Client | None = None
    ) -> None:
        self._own = http is None
        self._http = http or httpx2.Client(base_url=url, timeout=_CHUNK_SECONDS)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._own:
            self._http.close()

    def immunize(
        self,
        photo: str | Path,
        *,
        mask: str | Path | None = None,
        recipe: str | None = None,
        visibility: str | None = None,
        levels: float | None = None,
        file_type: FileType = "same",
        strip_gps: bool = False,
        forbid_ai: bool = False,
        key: str | None = None,
    ) -> RemoteJob:
        """Queue the immunization of a photo.

        Args:
            photo: Picture file.
            mask: Picture file of the same size, white where the photo may change.
            recipe: Name of a recipe of the service; its default when None.
            visibility: Visibility of the change, a word of
                ``photovax.attack.budgets.VISIBILITY``; the service's default when None.
            levels: Largest change in levels of 255, instead of ``visibility``.
            file_type: File type of the result.
            strip_gps: Whether to remove the place where the photo was taken.
            forbid_ai: Whether to forbid AI training and AI edits in the XMP.
            key: Idempotency key: a second request with the same key returns the same job. Random
                when None.

        Raises:
            ServiceError: If the service refuses.
        """
        fields = {
            "recipe": recipe,
            "visibility": visibility,
            "levels": levels,
            "file_type": file_type,
            "strip_gps": strip_gps,
            "forbid_ai": forbid_ai,
        }
        return self._post("immunizations", {"photo": photo, "mask": mask}, fields, key)

    def renew(
        self,
        photo: str | Path,
        certificate: str | Path,
        *,
        original: str | Path | None = None,
        mask: str | Path | None = None,
        recipe: str | None = None,
        file_type: FileType = "same",
        key: str | None = None,
    ) -> RemoteJob:
        """Queue the renewal of a photo against the models of today.

        Args:
            photo: The immunized picture file.
            certificate: File of its certificate.
            original: The original picture file, to use the whole budget; only the rest of the
                budget is used when None.
            mask: Picture file of the same size, white where the photo may change.
            recipe: Name of a recipe of the service; its default when None.
            file_type: File type of the result.
            key: Idempotency key, as for ``immunize``.

        Raises:
            ServiceError: If the service refuses.
        """
        fields = {
            "certificate": Path(certificate).read_text(encoding="utf-8"),
            "recipe": recipe,
            "file_type": file_type,
        }
        pictures = {"photo": photo, "original": original, "mask": mask}
        return self._post("renewals", pictures, fields, key)

    def check(
        self,
        photo: str | Path,
        *,
        original: str | Path | None = None,
        certificate: str | Path | None = None,
        survival: bool = False,
        key: str | None = None,
    ) -> RemoteJob:
        """Queue a check by original or certificate; ``survival`` as in ``photovax.check``.

        Raises:
            ServiceError: If the service refuses.
        """
        text = None if certificate is None else Path(certificate).read_text(encoding="utf-8")
        fields = {"certificate": text, "survival": survival}
        return self._post("checks", {"photo": photo, "original": original}, fields, key)

    def edit(
        self, job: RemoteJob, prompt: str, *, mode: Literal["instruct", "img2img"] = "instruct",
        seed: int = 0,
    ) -> RemoteJob:  # fmt: skip
        """Queue an edit of the original and of the result of an immunization.

        Raises:
            ServiceError: If the service refuses.
        """
        data = {"prompt": prompt, "mode": mode, "seed": str(seed)}
        return self._queued(_link(job, "edits"), data, {}, None)

    def get(self, job: RemoteJob) -> RemoteJob:
        """Return the present state of a job.

        Raises:
            ServiceError: If it has expired or was deleted.
        """
        return self._job(self._ask("GET", job.links["self"]))

    def follow(self, job: RemoteJob) -> Iterator[RemoteJob]:
        """Yield the job at each change, until it has ended or the service ends the connection.

        Raises:
            ServiceError: If there is no such job, or the connection breaks.
        """
        try:
            url = self._whole(job.links["events"])
            with self._http.stream("GET", url, headers=self._headers) as answer:
                if answer.status_code >= 400:
                    answer.read()
                check(answer)
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        yield RemoteJob.of(json.loads(line.removeprefix("data: ")))
        except httpx2.HTTPError as error:
            raise unreachable(error) from None

    def wait(
        self, job: RemoteJob, *, callback: Callable[[RemoteJob], None] | None = None
    ) -> RemoteJob:
        """Wait until a job is done. Broken connections are opened again.

        Args:
            job: The job.
            callback: Function called at each change.

        Raises:
            ServiceError: If the job ends in another state, or the service cannot be reached for a
                minute.
        """
        deadline: float | None = None  # set while the service cannot be reached
        while True:
            try:
                if deadline is not None:  # one short request first: a stream may be silent
                    left = max(_AGAIN, deadline - time.monotonic())
                    job = self._job(self._ask("GET", job.links["self"], timeout=left))
                    deadline = None
                for state in self.follow(job):
                    job = state
                    if callback is not None:
                        callback(job)
                job = self.get(job)
                if job.final:
                    break
            except ServiceError as error:
                if not error.passing:
                    raise
                deadline = deadline or time.monotonic() + _PATIENCE
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_AGAIN)
        if job.state != "done":
            failure = job.error or {"kind": job.state, "message": f"the job is {job.state}"}
            raise ServiceError(200, failure["kind"], failure["message"])
        return job

    def delete(self, job: RemoteJob) -> None:
        """Cancel a job and delete everything that belongs to it.

        Raises:
            ServiceError: If it was deleted before.
        """
        self._ask("DELETE", job.links["self"])

    def picture(self, job: RemoteJob, which: str = "photo") -> bytes:
        """Return a picture file of a finished job.

        Args:
            job: The job.
            which: ``photo``, ``original``, ``immunized``, or, if ``job.links`` has it, ``flip``
                (the map of visible change) or ``preview`` (the photo as PNG).

        Raises:
            ServiceError: If it was deleted, or there is none.
        """
        return self._ask("GET", _link(job, which)).content

    def save_photo(self, job: RemoteJob, path: str | Path) -> None:
        """Write the immunized photo to a new file.

        Raises:
            OutputExists: If the file exists.
            ServiceError: If the photo was deleted, or there is no new one.
        """
        write_bytes(self.picture(job), Path(path))

    def save_certificate(self, job: RemoteJob, path: str | Path) -> None:
        """Write the certificate to a new file.

        Raises:
            OutputExists: If the file exists.
            ServiceError: If the certificate was deleted, or there is no new one.
        """
        write_text(self._ask("GET", _link(job, "certificate")).text, Path(path))

    def models(self) -> list[Model]:
        """Return the service's register of models.

        Raises:
            ServiceError: If the service cannot be reached or refuses.
        """
        return [Model.of(row) for row in json_of(self._ask("GET", "/v1/models"))]

    def _post(
        self,
        kind: str,
        pictures: Mapping[str, str | Path | None],
        values: Mapping[str, Any],
        key: str | None,
    ) -> RemoteJob:
        data = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in values.items()
            if value is not None
        }
        given = {name: Path(path) for name, path in pictures.items() if path is not None}
        return self._queued(f"/v1/{kind}", data, given, key)

    def _queued(
        self, url: str, data: Mapping[str, str], pictures: Mapping[str, Path], key: str | None
    ) -> RemoteJob:
        """Ask for a job; again if the answer is lost, with the same key, which makes no second."""
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                with ExitStack() as stack:
                    files = {  # the file's own name is private
                        name: (name, stack.enter_context(path.open("rb")))
                        for name, path in pictures.items()
                    }
                    sent: dict[str, Any] = {"data": data, "headers": headers}
                    if self._own:  # a client that was given has a time of its own
                        sent["timeout"] = httpx2.Timeout(_CHUNK_SECONDS, read=_ANSWER_SECONDS)
                    return self._job(self._ask("POST", url, **sent, files=files or None))
            except ServiceError as error:
                if not error.lost or time.monotonic() >= end:
                    raise
            time.sleep(_AGAIN)

    def _whole(self, url: str) -> httpx2.URL:
        """The whole URL of a link, which contains the path that a proxy has the service under."""
        base = self._http.base_url
        root = base.path.rstrip("/")
        return base.join(url if url.startswith(f"{root}/") else root + url)

    def _ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx2.Response:
        try:
            merged = {**self._headers, **(headers or {})}
            answer = self._http.request(method, self._whole(url), headers=merged, **options)
        except httpx2.HTTPError as error:
            raise unreachable(error) from None
        check(answer)
        return answer

    @staticmethod
    def _job(answer: httpx2.Response) -> RemoteJob:
        return RemoteJob.of(json_of(answer))


def _link(job: RemoteJob, name: str) -> str:
    """The path of something of a job; the service says why, if there is none."""
    return job.links.get(name) or f"{job.links['self']}/{name}"
