"""Names of the regions that an editor may repaint; ``photovax.pictures.masks`` derives them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["REGIONS", "SUBJECT"]

SUBJECT = "subject"
"""The region that a defender expects."""

REGIONS: Mapping[str, str] = {
    SUBJECT: "repaint everything except the subject, as the defender expects",
    "dilated": "also repaint a border of the subject, 1/20 of the short side wide",
    "box": "repaint everything except the subject's bounding box",
    "inverse": "repaint the subject",
    "everything": "repaint the whole photo",
}
"""What an adversary may repaint, by name."""
