"""Damaged pictures, and a process that decodes many: ``python -m tests.mutated COUNT``.

The service starts a process for each picture, which is most of what a small one costs. This one
decodes them all, under the same limit on memory, so that thousands can be tried. It ends at the
first that raises what the decoder does not foresee, or with the process.
"""

import io
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from photovax.pictures.sample import SAMPLE
from photovax.service.settings import Settings
from photovax.service.workers.decode import decode, limit

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000", "PPM", "QOI")


def mutated(count: int) -> Iterator[bytes]:
    """The same ones each time: with bytes changed, half cut short, a quarter with a piece twice."""
    random = np.random.default_rng(0)
    with Image.open(SAMPLE) as sample:
        picture = sample.crop((150, 20, 246, 100))
    good = []
    for name in FORMATS:
        file = io.BytesIO()
        picture.save(file, name)
        good.append(file.getvalue())
    kinds = len(good)
    for index in range(count):
        data = bytearray(good[index % kinds])
        # Headers are where a byte means most, and too few of the file to be met by chance.
        end = 64 if random.random() < 0.3 else len(data)
        for _ in range(1 + int(random.integers(0, 40))):
            data[int(random.integers(0, end))] = int(random.integers(0, 256))
        first, second = sorted(int(each) for each in random.integers(1, len(data), 2))
        if index // kinds % 4 < 2:
            del data[second:]
        elif index // kinds % 4 == 2:
            data[first:first] = data[first:second]
        yield bytes(data)


def main(count: int) -> None:
    """Decode so many and print what became of them."""
    settings = Settings(Path())
    limit(settings.decode_bytes, 3600, 5 * settings.max_pixels)
    ends: Counter[str] = Counter()
    began, slowest = time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as name:
        file, parcel = Path(name) / "photo", Path(name) / "photo.npz"
        for content in mutated(count):
            file.write_bytes(content)
            start = time.perf_counter()
            code, answer = decode(file, parcel, settings.max_pixels)
            slowest = max(slowest, time.perf_counter() - start)
            if code == 0:
                parcel.unlink()
            ends["accepted" if code == 0 else answer["kind"] if answer else "MemoryError"] += 1
            assert not parcel.exists()
    seconds = time.perf_counter() - began
    print(json.dumps({"ends": ends, "seconds": round(seconds, 1), "slowest": round(slowest, 2)}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
