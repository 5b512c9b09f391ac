"""Storage of an evaluation: figures as lines of JSON, pictures as files, both by key.

Each photo has a folder of its own, so that several processes can work on the photos of one
evaluation.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from photovax.pictures.atomic import as_save_error

__all__ = ["PhotoStore", "array_text", "key_of", "text_array"]


class PhotoStore:
    """The figures and files of one photo.

    Args:
        folder: Folder of the photo, created if it does not exist.

    Raises:
        SaveError: If the folder cannot be created or read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "figures.jsonl"
        self._lines: dict[str, dict[str, Any]] = {}
        with as_save_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            text = self._file.read_text(encoding="utf-8") if self._file.exists() else ""
            for line in text.splitlines():
                try:
                    figures = json.loads(line)
                except ValueError:
                    continue  # incomplete, since the process was killed: done again
                self._lines[figures.pop("key")] = figures
            if text and not text.endswith("\n"):
                with self._file.open("a", encoding="utf-8") as file:
                    file.write("\n")

    def get(self, key: str) -> dict[str, Any] | None:
        """The figures stored under a key; None if there are none yet."""
        return self._lines.get(key)

    def add(self, key: str, figures: Mapping[str, Any]) -> None:
        """Store figures, which are on disk when this returns.

        Raises:
            SaveError: If they cannot be written.
        """
        with as_save_error(self._file), self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **figures}) + "\n")
        self._lines[key] = dict(figures)

    def file(self, key: str, suffix: str) -> Path:
        """The path of a picture with this key."""
        return self.folder / f"{key}{suffix}"


def key_of(*parts: object) -> str:
    """A digest of some parts: sixteen hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def array_text(values: np.ndarray) -> str:
    """A vector as text: float16, base64."""
    return base64.b64encode(values.astype("<f2").tobytes()).decode()


def text_array(text: str) -> np.ndarray:
    """The vector in a text of ``array_text``, float64."""
    return np.frombuffer(base64.b64decode(text), dtype="<f2").astype(np.float64)
