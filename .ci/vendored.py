"""Add what lies in the package itself, and pip does not know, to a CycloneDX list of components.

vendored.py SBOM
"""

import json
import sys
from pathlib import Path

VENDORED = Path(__file__).with_suffix(".json")


def main(sbom: str) -> None:
    """Add the components that it lacks, and what the package depends on thereby."""
    file = Path(sbom)
    listed = json.loads(file.read_text(encoding="utf-8"))
    own = listed["metadata"]["component"]["bom-ref"]
    (depends,) = (each for each in listed["dependencies"] if each["ref"] == own)
    for part in json.loads(VENDORED.read_text(encoding="utf-8")):
        listed["components"].append(part)
        listed["dependencies"].append({"ref": part["bom-ref"]})
        depends.setdefault("dependsOn", []).append(part["bom-ref"])
    file.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
