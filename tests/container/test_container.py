"""The container and compose files: what they promise, and their commands without a container."""

import fnmatch
import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2
import yaml

from photovax.models.catalog.places import model_folder
from tests.places import ROOT
from tests.postgres import PASSWORD
from tests.serving import environment, free_port

FOLDER = ROOT / "container"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
PORT = "8765"


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage of the container file."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: list[list[tuple[str, str]]] = []
    for line in filter(None, (re.sub(r"^\s*#.*", "", each).strip() for each in text.split("\n"))):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest.strip()))
    return found


def last(name: str) -> str:
    """An instruction of the image's own stage, of which there is one."""
    (found,) = (rest for each, rest in stages()[-1] if each == name)
    return found


def settings_of(stage: list[tuple[str, str]]) -> dict[str, str]:
    pairs = (each for name, rest in stage if name == "ENV" for each in shlex.split(rest))
    return dict(each.split("=", 1) for each in pairs)


def test_the_image_is_slim_and_runs_as_nobody_in_particular():
    build, image = stages()
    for stage in (build, image):
        assert re.match(r"python:3\.\d+-slim\b", stage[0][1])
    known = {"FROM", "ARG", "WORKDIR", "COPY", "ENV", "RUN", "USER", "VOLUME", "EXPOSE"}
    known |= {"HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {name for stage in (build, image) for name, _ in stage} <= known
    assert int(last("USER")) >= 1000  # a number, which orchestrators can check
    assert f"useradd --uid {last('USER')} " in last("RUN")
    order = [name for name, _ in image]
    assert order.index("RUN") < order.index("USER") < order.index("ENTRYPOINT")
    assert last("COPY").startswith("--from=build ")
    assert last("VOLUME") == settings_of(image)["PHOTOVAX_DATA"]
    assert last("EXPOSE") == PORT


def test_what_is_built_is_there_and_the_weights_with_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(
        f"Programming Language :: Python :: {stage[0][1][7:11]}" in project["classifiers"]
        for stage in stages()
    )
    copied = [part for name, rest in stages()[0] if name == "COPY" for part in rest.split()[:-1]]
    assert {project["readme"], *project["license-files"], "src", "pyproject.toml"} <= {*copied}
    rules = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    for source in copied:
        assert (ROOT / source).exists()
        assert rules[0] == "*"
        assert f"!{source}" in rules
    weights = list(model_folder("embedded").rglob("*.safetensors"))
    assert weights
    for rule in (each for each in rules[1:] if not each.startswith("!")):
        assert not fnmatch.filter(map(str, weights), rule)
    (built,) = (rest for name, rest in stages()[0] if name == "RUN")
    (extras,) = re.findall(r'install "\.\[(.*?)\]"', built)
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    assert re.search(r"^torch==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert subprocess.run(["/bin/sh", "-n", "-c", built], check=False).returncode == 0  # noqa: S603


def test_compose_starts_both_and_exposes_neither():
    services = COMPOSE["services"]
    assert services.keys() == {"photovax", "database"}
    own = services["photovax"]
    assert (FOLDER / own["build"]["context"] / own["build"]["dockerfile"]).samefile(
        FOLDER / "Dockerfile"
    )
    assert own["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert own["read_only"]
    assert own["cap_drop"] == ["ALL"]
    assert own["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "ports" not in services["database"]
    used = [volume.partition(":")[::2] for each in services.values() for volume in each["volumes"]]
    assert COMPOSE["volumes"].keys() == {name for name, _ in used}
    assert (("photovax", last("VOLUME"))) in used
    told = services["database"]["environment"]
    url = urlsplit(own["environment"]["PHOTOVAX_DATABASE"])
    assert (url.username, url.hostname) == (told["POSTGRES_USER"], "database")
    assert url.path == f"/{told['POSTGRES_DB']}"
    # Neither has a password of its own, nor an empty one.
    passwords = own["environment"]["PGPASSWORD"], told["POSTGRES_PASSWORD"]
    assert passwords[0] == passwords[1]
    assert re.fullmatch(r"\$\{PHOTOVAX_PASSWORD:\?.+\}", passwords[0])


@contextmanager
def started(command: list[str], told: dict[str, str]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """A service by the image's command on a free port, and its health check there."""
    port = str(free_port())
    entry = json.loads(last("ENTRYPOINT"))
    assert entry == ["photovax"]
    program = [sys.executable, "-c", "from photovax.cli import main; main()"]
    made = subprocess.run(  # noqa: S603
        [*program, "serve", "--new-token", "paper"], env=told, capture_output=True, check=True
    )
    assert made.stdout.strip()
    health = [each.replace(PORT, port) for each in json.loads(last("HEALTHCHECK").split("CMD ")[1])]
    assert health[0] == "python"
    health[0] = sys.executable
    service = subprocess.Popen([*program, *command, "--port", port], env=told)  # noqa: S603
    try:
        yield health, {"url": f"http://127.0.0.1:{port}", "token": made.stdout.decode().strip()}
    finally:
        service.terminate()
        service.wait()
    assert _healthy(health) is False


def _healthy(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603


def _serves(health: list[str], served: dict[str, str]) -> None:
    end = time.monotonic() + 240
    while not _healthy(health):
        assert time.monotonic() < end, "the health check never succeeds"
        time.sleep(1)
    url = f"{served['url']}/v1/models"
    assert httpx2.get(url).status_code == 401
    told = {"Authorization": f"Bearer {served['token']}"}
    assert [each["name"] for each in httpx2.get(url, headers=told).json()] == ["embedded"]


def test_the_command_of_the_image_serves_and_is_healthy(tmp_path):
    told = environment() | {"PHOTOVAX_DATA": str(tmp_path / "data")}
    with started(json.loads(last("CMD")), told) as (health, served):
        _serves(health, served)
    assert (tmp_path / "data").exists()


def test_the_command_of_compose_serves_with_postgres(tmp_path, postgres):
    own = COMPOSE["services"]["photovax"]
    command = [re.sub(r"\$\{\w+:-(.*)\}", r"\1", each) for each in own["command"]]
    assert command[-1] == "localhost"
    address = urlsplit(postgres)
    assert unquote(str(address.password)) == PASSWORD or "PHOTOVAX_TEST_DATABASE" in os.environ
    told = environment() | {
        "PHOTOVAX_DATA": str(tmp_path / "data"),
        # The password is not in the URL, as in compose.
        "PHOTOVAX_DATABASE": postgres.replace(f":{address.password}@", "@"),
        "PGPASSWORD": unquote(str(address.password)),
    }
    with started(command, told) as (health, served):
        _serves(health, served)
    assert not list(Path(tmp_path / "data").glob("*.sqlite*"))
