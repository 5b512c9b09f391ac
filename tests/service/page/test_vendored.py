"""What others made and the page holds is as they published it, and is in the list of components."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

from photovax.service.static import FOLDER, PAGE
from tests.places import ROOT

RUNTIME = PAGE / FOLDER / "runtime"
TOLD = (RUNTIME / "README.md").read_text(encoding="utf-8")


def test_the_files_of_the_runtime_are_those_that_were_published() -> None:
    told = dict(re.findall(r"\| `([\w.-]+)` \| `([0-9a-f]{64})` \|", TOLD))
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in RUNTIME.iterdir()
        if file.suffix in {".js", ".wasm"}
    }
    assert found == told


def test_the_list_of_components_has_the_runtime_in_its_version(tmp_path: Path) -> None:
    listed = tmp_path / "photovax.cdx.json"
    own = {"bom-ref": "root", "name": "photovax", "version": "1"}
    bom = {
        "metadata": {"component": own},
        "components": [],
        "dependencies": [{"ref": "root", "dependsOn": ["torch"]}],
    }
    listed.write_text(json.dumps(bom), encoding="utf-8")
    adding = [sys.executable, str(ROOT / ".ci" / "vendored.py"), str(listed)]
    subprocess.run(adding, check=True)  # noqa: S603
    made = json.loads(listed.read_text(encoding="utf-8"))
    (part,) = made["components"]
    assert f"`{part['name']}` {part['version']}" in TOLD
    assert made["dependencies"] == [
        {"ref": "root", "dependsOn": ["torch", part["bom-ref"]]},
        {"ref": part["bom-ref"]},
    ]
