"""What was reached for each photo of a plan: a table, or a page with pictures to look at."""

from __future__ import annotations

import base64
import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from photovax.batch.manifest import Manifest
from photovax.batch.plan import Plan
from photovax.batch.storage import joined
from photovax.errors import UsageError
from photovax.pictures.atomic import check_writable, write_text
from photovax.pictures.pillow import printable_name

__all__ = ["Row", "check_report", "write_report"]

_FIGURES = {
    "shift": "latent shift",
    "jod_fhd": "JOD (full HD)",
    "flip": "FLIP",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "linf": "largest change, of 255 levels",
}
_PICTURED = 400
"""Photos whose pictures a page shows; a page of more is slow to open."""
_SIDE = 176


@dataclass(frozen=True)
class Row:
    """One photo of a report.

    Attributes:
        photo: Path of the photo.
        result: Path of the result; empty without one.
        state: ``done``, ``partial``, ``failed``, or ``open`` where it was not worked on.
        verdict: Verdict of ``photovax check``; empty where it is not known.
        error: Reason of a failure.
        seconds: Time that it took.
        figures: Measurements by name.
    """

    photo: str
    result: str
    state: str
    verdict: str
    error: str
    seconds: float
    figures: dict[str, float | None]


def check_report(path: Path, results: str | None = None) -> None:
    """Refuse a report that could not be written after the work.

    Args:
        path: File of the report.
        results: Folder of the results, which the work makes if it is missing.

    Raises:
        UsageError: If it is neither .csv nor .html, or its folder is missing.
        SaveError: If the disk refuses it.
    """
    if path.suffix.lower() not in (".csv", ".html"):
        raise UsageError(f"a report is a .csv or .html file, got {printable_name(path)}")
    folder = path.absolute().parent
    if not folder.exists() and results is not None and folder == Path(results).absolute():
        return
    if not folder.is_dir():
        raise UsageError(f"{printable_name(path)}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise UsageError(f"{printable_name(path)}: a report is a file, and this is a folder")
    check_writable(path)


def write_report(path: Path, plan: Plan, manifest: Manifest) -> Path:
    """Write a report of the photos of a plan, replacing an older one.

    Args:
        path: File: a table where it ends with .csv, a page where it ends with .html.
        plan: Photos and their results.
        manifest: What became of them.

    Returns:
        The file.

    Raises:
        SaveError: If the disk refuses it.
    """
    rows = _rows(plan, manifest)
    text = _table(rows) if path.suffix.lower() == ".csv" else _page(rows)
    # Names that are not UTF-8 cannot be written as they are.
    write_text(text.encode("utf-8", "backslashreplace").decode(), path, overwrite=True)
    return path


def _rows(plan: Plan, manifest: Manifest) -> Iterator[Row]:
    for task in plan.tasks:
        entry = manifest.get(task.key)
        if entry is None:
            yield Row(task.source, "", "open", "", "", 0.0, {})
            continue
        yield Row(
            photo=task.source,
            result="" if entry.state == "failed" else joined(manifest.folder, entry.output),
            state=entry.state,
            verdict=entry.verdict,
            error=entry.error,
            seconds=entry.seconds,
            figures=entry.figures,
        )
    for source, error in plan.failed:
        yield Row(source, "", "failed", "", error.line, 0.0, {})


def _table(rows: Iterator[Row]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["photo", "result", "state", "verdict", *_FIGURES, "seconds", "error"])
    for row in rows:
        figures = [row.figures.get(name) for name in _FIGURES]
        writer.writerow(
            [row.photo, row.result, row.state, row.verdict, *figures, row.seconds, row.error]
        )
    return file.getvalue()


def _page(rows: Iterator[Row]) -> str:
    import jinja2

    template = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    listed = list(rows)
    pictured = {row.photo for row in [row for row in listed if row.result][:_PICTURED]}
    return environment.from_string(template).render(
        rows=listed,
        figures=_FIGURES,
        counts=Counter(row.verdict or row.state for row in listed),
        pictured=pictured,
        picture=_picture,
        most=_PICTURED,
    )


def _picture(path: str) -> str:
    """A small picture of a file as a data URL; empty where it cannot be read."""
    from photovax.errors import PhotoError
    from photovax.pictures.photo import read_photo

    try:
        image = read_photo(path).to_image().convert("RGB")
    except PhotoError:
        return ""
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
