"""Whether the installed wheel and an sdist hold what the repository does, and an SBOM the wheel's.

Run by the Python that the wheel is installed for: packaged.py SDIST SBOM
"""

import json
import sys
import tarfile
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENDORED = Path(__file__).with_name("vendored.json")
IN_SDIST = (
    *("src", "tests", "docs", "benchmarks", "training", "examples", "comfyui", "container"),
    ".github",
)
ALONE = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "constraints.txt"),
    *("SECURITY.md", "CODE_OF_CONDUCT.md", "CITATION.cff"),
)
# Named one by one, since a repository without them would pass for whole.
NEEDED = (
    *("vae", "unet", "unet_instruct", "unet_inpaint"),
    *("data/sample.jpg", "data/edits.toml", "service/page/index.html", "evaluation/report.html.j2"),
    *("adversary/purify/denoiser.safetensors", "py.typed"),
)


def files(folder: Path) -> set[str]:
    """Files in a folder, less what Python leaves there."""
    return {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def not_listed(sbom: str) -> list[str]:
    """What a CycloneDX list of components lacks, or has in other versions.

    That is of installed distributions, of which the package itself is what the list is about, and
    of what others made and the package holds.
    """
    listed = json.loads(Path(sbom).read_text(encoding="utf-8"))
    parts = [listed["metadata"]["component"], *listed["components"]]
    known = {(part["name"], part["version"]) for part in parts}
    present = {(each.metadata["Name"], each.version) for each in distributions()}
    vendored = json.loads(VENDORED.read_text(encoding="utf-8"))
    present.update((part["name"], part["version"]) for part in vendored)
    return [f"{name} {version} in {sbom}" for name, version in sorted(present - known)]


def main(sdist: str, sbom: str) -> None:
    """Say what is missing, and exit with 1 if anything is."""
    spec = find_spec("photovax")
    if spec is None or spec.origin is None or "site-packages" not in Path(spec.origin).parts:
        sys.exit("photovax is not installed, or not from a wheel")
    installed = Path(spec.origin).parent
    own = ROOT / "src" / "photovax"
    lost = sorted(files(own) ^ files(installed))
    lost += [
        name
        for name in files(own) & files(installed)
        if (own / name).read_bytes() != (installed / name).read_bytes()
    ]
    embedded = "models/embedded/{}/diffusion_pytorch_model.safetensors"
    needed = [name if "." in name else embedded.format(name) for name in NEEDED]
    lost += sorted(set(needed) - files(installed))
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {f"{folder}/{name}" for folder in IN_SDIST for name in files(ROOT / folder)}
    lost += sorted(wanted.union(ALONE) - held)
    lost += not_listed(sbom)
    if lost:
        sys.exit("missing, or not as in the repository: " + ", ".join(lost))
    print(f"{len(files(installed))} files installed, {len(held)} in the sdist")


if __name__ == "__main__":
    main(*sys.argv[1:])
