"""Random crops of photos."""

import numpy as np
from PIL import Image

from photovax.learning import crops
from photovax.learning.crops import PhotoCrops


def test_decoded_photos_take_no_more_memory_than_they_may(tmp_path, monkeypatch):
    files = []
    for number in range(4):
        files.append(tmp_path / f"{number}.png")
        Image.new("RGB", (20, 10), (number, 0, 0)).save(files[-1])
    monkeypatch.setattr(crops, "_KEPT", 2 * 20 * 10 * 3)
    decoded: list[str] = []
    read = crops._decoded

    def counted(file):
        decoded.append(file.name)
        return read(file)

    monkeypatch.setattr(crops, "_decoded", counted)
    drawn = PhotoCrops(files, np.random.default_rng(0))
    reds = {round(float(drawn.batch(1, 8)[0, 0, 0, 0]) * 255) for _ in range(60)}
    assert reds == {0, 1, 2, 3}
    assert len([name for name in set(decoded) if decoded.count(name) == 1]) == 2
    assert sum(each.nbytes for each in drawn._kept.values()) == 2 * 20 * 10 * 3
