"""The report of an evaluation: a page with pictures, and the same figures as data."""

from __future__ import annotations

import base64
import csv
import io
import json
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import diffusers
import jinja2
import numpy as np
import torch

from photovax.errors import MetricUnavailable
from photovax.evaluation.cautions import Caution, cautions
from photovax.evaluation.following import FOLLOWING
from photovax.evaluation.pairing import value_of
from photovax.evaluation.plan import NONE
from photovax.evaluation.plots import displacement_plot, survival_plot
from photovax.evaluation.results import Case, ProtectedPhoto, Results
from photovax.evaluation.tables import ALL, Tables, tables
from photovax.machine.memory import peak_resident_bytes
from photovax.metrics.statistics import Interval
from photovax.metrics.visibility import flip_picture
from photovax.pictures.atomic import as_save_error, write_text
from photovax.pictures.photo import read_photo
from photovax.pictures.resize import resized
from photovax.version import VERSION

__all__ = ["Report", "interval_text", "markdown_table", "write_report"]

_PAPER = ("ssim", "psnr", "vifp", "fsim")
_SHOWN_SIDE = 224
_AMPLIFIED = 8
NOT_KNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Report:
    """The report that was written.

    Attributes:
        html: File of the page.
        lines: Lines of the table in the layout of arXiv 2302.06588, in Markdown.
        warnings: What readers of the figures should know, a line each.
    """

    html: Path
    lines: list[str]
    warnings: list[str]


def write_report(results: Results, out: Path, *, device: str) -> Report:
    """Write report.html, table.md, results.csv and results.json, replacing older ones.

    Raises:
        SaveError: If they cannot be written.
    """
    leading = results.leading
    found = tables(results, metric=leading)
    warned = cautions(results, found)
    facts = _facts(results, device)
    paper = _paper_table(results, found)
    markdown = markdown_table(paper)
    page = _page(results, found, warned, facts, leading, paper)
    with as_save_error(out):
        out.mkdir(parents=True, exist_ok=True)
    write_text(page, out / "report.html", overwrite=True)
    write_text(markdown, out / "table.md", overwrite=True)
    write_text(_csv(results), out / "results.csv", overwrite=True)
    data = {
        "facts": facts,
        "cautions": [asdict(one) for one in warned],
        "left_out": results.left_out,
        **asdict(found),
    }
    text = json.dumps(_finite(data), indent=1, allow_nan=False) + "\n"
    write_text(text, out / "results.json", overwrite=True)
    said = [one.text for one in warned]
    return Report(out / "report.html", markdown.splitlines(), said)


def _finite(data: Any) -> Any:
    """Data with None in place of numbers that JSON cannot represent."""
    if isinstance(data, dict):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not np.isfinite(data) else data


def _facts(results: Results, device: str) -> dict[str, Any]:
    """Everything that is needed to repeat the evaluation."""
    plan = results.plan
    return {
        "photovax": VERSION,
        "models": list(plan.models),
        "editor": plan.editor,
        "size": plan.size,
        "photos": list(dict.fromkeys(case.photo for case in results.cases)),
        "recipes": {
            variant.label: json.loads(variant.recipe.to_json()) for variant in plan.variants
        },
        "edits": [asdict(asked) for asked in plan.edits],
        "purifications": list(plan.purifications),
        "seeds": list(range(plan.seeds)),
        "device": device,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "peak_memory_gib": _peak_memory(),
    }


def _peak_memory() -> float | None:
    """Peak memory of this process, in GiB; None where the system does not report it."""
    peak = peak_resident_bytes()
    return round(peak / 2**30, 2) if peak else None


def _csv(results: Results) -> str:
    """One line for each edit."""
    file = io.StringIO()
    names = results.between
    writer = csv.writer(file, lineterminator="\n")
    scores = [f"{score} {side}" for score in FOLLOWING for side in ("original", "immunized")]
    keys = ["photo", "recipe", "purification", "edit", "mode", "prompt", "seed"]
    writer.writerow([*keys, *names, *scores])
    for case in results.cases:
        edit, sides = case.asked.edit, (case.wanted, case.follows)
        row: list[object] = [case.photo, case.label, case.purification, case.asked.name, edit.mode]
        row += [case.prompt, case.seed]
        row += [case.between[name] for name in names]
        row += [side.get(score, "") for score in FOLLOWING for side in sides]
        writer.writerow(row)
    return file.getvalue()


def _paper_table(results: Results, found: Tables) -> list[list[str]]:
    """The table of arXiv 2302.06588: a header, then a line for each recipe, noise first."""
    columns = [name for name in _PAPER if name in results.between]
    sets = {row.label: row for row in found.sets}
    arrows = {name: "↓" if results.higher_is_closer[name] else "↑" for name in columns}
    head = ["recipe", "edits", *(["FID-like ↑", "KID-like ↑", "precision ↓"] if sets else [])]
    lines = [head + [f"{results.metric_labels[name]} {arrows[name]}" for name in columns]]
    by = {(r.label, r.metric): r for r in found.displacement if r.mode == ALL}
    labels = list(dict.fromkeys(label for label, _ in by))
    for label in sorted(labels, key=lambda label: not label.startswith("noise")):
        cells = [label, str(max(row.edits for (name, _), row in by.items() if name == label))]
        if sets:
            row = sets.get(label)
            frechet = NOT_KNOWN if row is None or row.frechet is None else f"{row.frechet:.1f}"
            kernel = NOT_KNOWN if row is None else f"{row.kernel[0]:.3f}"
            cells += [frechet, kernel, NOT_KNOWN if row is None else f"{row.precision:.2f}"]
        cells += [
            f"{by[label, name].value.mean:.3g}" if (label, name) in by else NOT_KNOWN
            for name in columns
        ]
        lines.append(cells)
    return lines


def markdown_table(table: Sequence[Sequence[str]]) -> str:
    """A header and lines as a table in Markdown."""
    rows = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([rows[0], "|" + "---|" * len(table[0]), *rows[1:]]) + "\n"


def _page(
    results: Results,
    found: Tables,
    warned: Sequence[Caution],
    facts: dict[str, Any],
    leading: str,
    paper: list[list[str]],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("photovax.evaluation", "."), autoescape=True
    )
    filters = {"interval": _cell, "signed": _signed, "number": _number, "share": share_text}
    environment.filters |= filters
    label = results.metric_labels[leading]
    recipes = [row for row in found.displacement if row.above is not None]
    plots = []
    if any(row.metric == leading for row in recipes):
        plots.append(displacement_plot([r for r in recipes if r.metric == leading], label))
    measures = {leading: label, **FOLLOWING}
    plots += [survival_plot(each.survival, measures[each.measure]) for each in found.remains]
    return environment.get_template("report.html.j2").render(
        results=results,
        found=found,
        cautions=warned,
        facts=facts,
        facts_json=json.dumps(facts, indent=1),
        leading=label,
        modes=(*results.plan.modes, ALL),
        labels=FOLLOWING,
        measures=measures,
        plots=plots,
        rows=_picture_rows(results, leading),
        cells={(r.label, r.mode, r.metric): r for r in found.displacement},
        recipes=list(dict.fromkeys(r.label for r in found.displacement)),
        paper=paper,
    )


@dataclass(frozen=True)
class PictureRow:
    """Pictures of one photo and recipe.

    Attributes:
        title: Heading.
        pictures: Caption and data URL of each picture.
    """

    title: str
    pictures: list[tuple[str, str]]


def _picture_rows(results: Results, leading: str) -> list[PictureRow]:
    """Photos with the strongest, a medium and the weakest effect of the strongest recipe."""
    plain = [c for c in results.cases if c.purification == NONE and c.floor is not None]
    sign = -1 if results.higher_is_closer[leading] else 1
    effects: dict[str, dict[str, list[float]]] = {}
    for case in plain:
        value = value_of(case, leading)
        if value is not None:
            effects.setdefault(case.label, {}).setdefault(case.photo, []).append(sign * value)
    if not effects:
        return []
    means = {
        label: {photo: float(np.mean(values)) for photo, values in photos.items()}
        for label, photos in effects.items()
    }
    best = max(means, key=lambda label: float(np.mean(list(means[label].values()))))
    ranked = sorted(means[best], key=lambda photo: means[best][photo], reverse=True)
    chosen = {"strongest": ranked[0], "medium": ranked[len(ranked) // 2], "weakest": ranked[-1]}
    rows: dict[tuple[str, str, str], PictureRow] = {}
    for kind, photo in chosen.items():
        for label in means:
            if label == best or kind == "medium":
                for case in plain:
                    place = (photo, label, case.asked.edit.mode)
                    if place == (case.photo, case.label, case.asked.edit.mode) and case.picture:
                        title = f"{photo}, {label} ({kind} effect)"
                        rows.setdefault(place, PictureRow(title, _pictures(results, case)))
    return list(rows.values())


def _pictures(results: Results, case: Case) -> list[tuple[str, str]]:
    """Original, immunized photo, their difference, the FLIP map, and the edits of both."""
    mode = case.asked.edit.mode
    shown: list[tuple[str, str]] = []
    for one in results.protected:
        if (one.photo, one.label) == (case.photo, case.label) and mode in one.modes:
            shown += _photo_pictures(one)
    asked = f"{mode}: \N{LEFT DOUBLE QUOTATION MARK}{case.prompt}\N{RIGHT DOUBLE QUOTATION MARK}"
    shown.append((f"{asked}: edit of the original", _data_url(case.clean_picture)))
    if case.picture is not None:
        shown.append((f"{asked}: edit of the immunized photo", _data_url(case.picture)))
    return shown


def _photo_pictures(one: ProtectedPhoto) -> list[tuple[str, str]]:
    before, after = (read_photo(file).visible() for file in (one.original, one.file))
    difference = (after.astype(np.float64) - before) * _AMPLIFIED + 128
    amplified = np.clip(np.rint(difference), 0, 255).astype(np.uint8)
    pictures = [
        ("original", _url(before)),
        ("immunized", _url(after)),
        (f"difference times {_AMPLIFIED}", _url(amplified)),
    ]
    with suppress(MetricUnavailable):
        pictures.append(("visible difference (FLIP)", _url(flip_picture(before, after))))
    return pictures


def _data_url(file: Path) -> str:
    return _url(read_photo(file).pixels)


def _url(pixels: np.ndarray) -> str:
    picture, file = resized(pixels, _SHOWN_SIDE), io.BytesIO()
    picture.save(file, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _number(value: float | None) -> str:
    return NOT_KNOWN if value is None or not np.isfinite(value) else f"{value:.3g}"


def interval_text(value: Interval | None) -> str:
    """A mean and its 95 % interval, as text for a table."""
    if value is None:
        return NOT_KNOWN
    return f"{_number(value.mean)} [{_number(value.low)}, {_number(value.high)}]"


def _cell(value: Interval | None) -> str:
    """The same for the page, where wide tables break the line before the interval alone."""
    return interval_text(value).replace(", ", ",\N{NO-BREAK SPACE}")


def _signed(value: Interval | None) -> str:
    if value is None:
        return NOT_KNOWN
    mean, low, high = (
        f"{each:+.3g}" if np.isfinite(each) else NOT_KNOWN
        for each in (value.mean, value.low, value.high)
    )
    return f"{mean} [{low},\N{NO-BREAK SPACE}{high}]"


def share_text(share: float | None) -> str:
    """A share in percent, as text for a table."""
    return NOT_KNOWN if share is None else f"{share:.0%}"
