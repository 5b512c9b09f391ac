"""Face identity: distance of the face embeddings of two pictures, by dlib's networks."""

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

    The distance is Euclidean, between dlib's embeddings of 128 numbers. Two photos of one person
    are usually below 0.6. The distance is at most 1, which is also its value where the second
    picture has no face. Pictures with a side above 1024 pixels are shrunk to that. Faces of about
    40 pixels and more are found.

    Args:
        weights: Folder of dlib's two .dat files, used without face_recognition_models.

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
        """The embedding of the largest face, float64 (128,); None without a face."""
        image = Image.fromarray(picture)
        image.thumbnail((_LARGEST, _LARGEST))
        pixels = np.array(image)
        faces = self._find(pixels, 1)  # upsampled once, to find faces of 40 pixels
        if not faces:
            return None
        largest = max(faces, key=lambda face: int(face.area()))
        return np.array(
            self._network.compute_face_descriptor(pixels, self._landmarks(pixels, largest))
        )


def _model_file(name: str, weights: Path | None) -> str:
    # The package is not imported, since it needs pkg_resources, which no longer exists.
    spec = find_spec("face_recognition_models")
    folders = [Path(place, "models") for place in (spec and spec.submodule_search_locations) or ()]
    for folder in [*folders, *([] if weights is None else [weights])]:
        if (folder / name).exists():
            return str(folder / name)
    raise MetricUnavailable(
        f"metric face needs the file {name}", hint='type: pip install "photovax[faces]"'
    )
