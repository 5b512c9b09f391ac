"""Is it still the same person? Distance of faces, through dlib's networks."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from photovax.errors import MetricUnavailable, first_line
from photovax.extras import package
from photovax.metrics.contracts import PAIR_METRICS

__all__ = ["FaceDistance"]

_LARGEST = 1024  # pixels


@PAIR_METRICS.register("face")
class FaceDistance:
    """Distance between the largest faces of two pictures.

    Euclidean, of dlib's 128 numbers per face; two photos of one person are usually below 0.6.
    At most 1, which is also what a second picture without a face gets. Pictures with a side above
    1024 pixels are shrunk to it; faces from some 40 pixels on are found.

    Args:
        weights: Folder of dlib's two .dat files, if not from face_recognition_models.

    Raises:
        MetricUnavailable: If dlib or its files are missing or damaged.
    """

    label = "face distance (at most 1)"
    higher_is_closer = False
    compares_edits = True
    farthest = 1.0

    def __init__(self, weights: Path | None = None) -> None:
        dlib = package(
            "dlib", install="photovax[faces]", user="metric face", error=MetricUnavailable
        )
        landmarks, network = (
            _model_file(name, weights)
            for name in (
                "shape_predictor_5_face_landmarks.dat",
                "dlib_face_recognition_resnet_model_v1.dat",
            )
        )
        self._find: Any = dlib.get_frontal_face_detector()
        try:
            self._landmarks: Any = dlib.shape_predictor(landmarks)
            self._network: Any = dlib.face_recognition_model_v1(network)
        except RuntimeError as error:
            raise MetricUnavailable(
                f"metric face: dlib cannot load its files: {first_line(error)}",
                hint="type: pip install --force-reinstall face_recognition_models",
            ) from None

    def __call__(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Compare two uint8 pictures (H, W, 3); None where the first has no face."""
        wanted = self._face(first)
        if wanted is None:
            return None
        found = self._face(second)
        if found is None:
            return self.farthest
        return min(self.farthest, float(np.linalg.norm(wanted - found)))

    def _face(self, picture: np.ndarray) -> np.ndarray | None:
        """What the network makes of the largest face, float64 (128,)."""
        image = Image.fromarray(picture)
        image.thumbnail((_LARGEST, _LARGEST))
        pixels = np.array(image)
        faces = self._find(pixels, 1)  # doubled once: faces from 40 pixels on
        if not faces:
            return None
        largest = max(faces, key=lambda face: int(face.area()))
        return np.array(
            self._network.compute_face_descriptor(pixels, self._landmarks(pixels, largest))
        )


def _model_file(name: str, weights: Path | None) -> str:
    # Found without importing the package, which needs the long gone pkg_resources.
    spec = find_spec("face_recognition_models")
    folders = [Path(place, "models") for place in (spec and spec.submodule_search_locations) or ()]
    for folder in [*folders, *([] if weights is None else [weights])]:
        if (folder / name).exists():
            return str(folder / name)
    raise MetricUnavailable(
        f"metric face needs the file {name}", hint="type: pip install 'photovax[faces]'"
    )
