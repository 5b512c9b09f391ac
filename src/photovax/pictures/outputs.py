"""What results are called, and where they may go."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from photovax.errors import SaveError, UsageError
from photovax.pictures.photo import printable_name
from photovax.pictures.types import PICTURE_SUFFIXES, WRITTEN_SUFFIXES

__all__ = ["check_apart", "default_output", "plan_outputs", "record_of"]


def check_apart(source: Path, output: Path) -> None:
    """Refuse to write a result over the photo that it came from, whatever else may be replaced.

    Raises:
        UsageError: Both are the same file.
    """
    if output.exists() and source.exists() and output.samefile(source):
        raise UsageError(f"{output} is the photo itself, which is never replaced; use another -o")


def default_output(source: Path, *, suffix: str | None = ".png") -> Path:
    """Where the result for a source goes: NAME.immunized.png beside it.

    Args:
        source: the input; a suffix that is not a picture's is taken for a part of the name.
        suffix: of the result; None for the source's own where that can be written, else .png.

    Returns:
        The path; nothing is looked up on disk.
    """
    name = source.stem if source.suffix.lower() in PICTURE_SUFFIXES else source.name
    return _output(source, name, suffix)


def _output(source: Path, name: str, suffix: str | None) -> Path:
    own = source.suffix if source.suffix.lower() in WRITTEN_SUFFIXES else ".png"
    return source.with_name(f"{name}.immunized{suffix or own}")


def record_of(photo: Path) -> Path:
    """The JSON file beside an immunized photo that says how it was made."""
    return photo.with_name(f"{photo.name}.json")


def plan_outputs(
    sources: Sequence[Path], *, folder: Path | None = None, suffix: str | None = ".png"
) -> dict[Path, Path]:
    """A result's path for each source of a batch, no two the same.

    Where two would be (photo.jpg and photo.png), or one would be another source, the full file
    name is used: photo.jpg.immunized.png. Names that differ in case only count as the same, as
    many disks see it.

    Args:
        sources: the inputs; repeated ones count once.
        folder: where the results go; beside each source when None.
        suffix: as for ``default_output``.

    Returns:
        Source to result, in the order of the sources.

    Raises:
        SaveError: two files of one name, from two folders, would meet in ``folder``.
    """

    def placed(path: Path) -> Path:
        return path if folder is None else folder / path.name

    plan = {source: placed(default_output(source, suffix=suffix)) for source in sources}
    while True:
        taken = Counter(_as_disks_see_it(path) for path in (*plan.values(), *plan))
        full = {source: placed(_output(source, source.name, suffix)) for source in plan}
        clashing = [
            source
            for source, result in plan.items()
            if taken[_as_disks_see_it(result)] > 1 and result != full[source]
        ]
        if not clashing:
            break
        plan |= {source: full[source] for source in clashing}
    homes = {_as_disks_see_it(result): source for source, result in plan.items()}
    for source, result in plan.items():
        if (other := homes[_as_disks_see_it(result)]) != source:
            raise SaveError(
                f"{printable_name(source)} and {printable_name(other)} would both become "
                f"{printable_name(result)}; give them separate folders"
            )
    return plan


def _as_disks_see_it(path: Path) -> str:
    return os.path.normpath(path).casefold()
