"""The manifest of many finished photos: ``python -m benchmarks.manifest [--photos 1000000]``.

Lines are written as a run writes them. Then, in a process of its own as at the start of a run, the
manifest is read, and every photo is looked up as one that is done, its files' stamps given, so that
the disk is not measured. Seconds are those of the processor, which other programs do not lengthen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing as mp
import tempfile
import time
from pathlib import Path

from photovax.batch.manifest import Entry, Manifest
from photovax.batch.plan import OWN_FOLDER
from photovax.machine.memory import peak_resident_bytes

_ORDER = "0123456789abcdef"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / OWN_FOLDER / "manifest.jsonl"
        file.parent.mkdir()
        with file.open("w", encoding="utf-8") as stream:
            for number in range(options.photos):
                stream.write(json.dumps(vars(_entry(number))) + "\n")
        print(f"{options.photos} photos, {file.stat().st_size / 1e6:.0f} MB")
        process = mp.get_context("spawn").Process(target=_resume, args=(folder, options.photos))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit("the manifest could not be measured")


def _entry(number: int) -> Entry:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return Entry(
        photo=f"../photos/{number % 1000:03}/IMG_{number:07}.jpg",
        state="done",
        order=_ORDER,
        output=_output(number),
        stamp=(2_000_000 + number, 1_700_000_000_000_000_000 + number),
        output_stamp=(5_000_000 + number, 1_750_000_000_000_000_000 + number),
        sha256=digest,
        output_sha256=digest[::-1],
        seconds=3.21,
        verdict="PASS",
        figures={"linf": 12.0, "l2": 9.87, "psnr": 38.21, "ssim": 0.9612, "shift": 0.83},
    )


def _output(number: int) -> str:
    return f"{number % 1000:03}/IMG_{number:07}.png"


def _resume(folder: Path, photos: int) -> None:
    """Open the manifest and look every photo up, in a new process."""
    began = time.process_time()
    manifest = Manifest(folder)
    opened = time.process_time()
    for number in range(photos):
        entry = f"../photos/{number % 1000:03}/IMG_{number:07}.jpg"
        stamp = (2_000_000 + number, 1_700_000_000_000_000_000 + number)
        made = (5_000_000 + number, 1_750_000_000_000_000_000 + number)
        assert manifest.unchanged(entry, _ORDER, _output(number), stamp, made)
    looked = time.process_time()
    print(f"open    {opened - began:.1f} s")
    print(f"look up {looked - opened:.1f} s")
    print(f"memory  {(peak_resident_bytes() or 0) / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
