"""What a release states about itself is true."""

import os
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from photovax.version import VERSION
from tests.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASH = shutil.which("bash")
WORKFLOW = ROOT / ".github/workflows/release.yml"
PYTHONS = [
    text.rpartition(" ")[2]
    for text in PROJECT["classifiers"]
    if re.search(r":: Python :: 3\.\d+$", text)
]
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def test_the_citation_is_of_this_version_and_of_the_paper():
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(told)
    assert (told["version"], told["license"]) == (PROJECT["version"], PROJECT["license"])
    assert told["version"] == VERSION
    (paper,) = told["references"]
    assert paper["identifiers"][0]["value"] == "arXiv:2302.06588"
    assert [each["family-names"] for each in paper["authors"]][0::4] == ["Salman", "Madry"]


def test_classifiers_name_the_pythons_that_are_allowed():
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [int(each.partition(".")[2]) for each in PYTHONS] == list(range(11, 11 + len(PYTHONS)))
    assert all(allowed.contains(each) for each in PYTHONS)
    assert not allowed.contains("3.10")


def test_a_release_is_tested_on_every_python_that_is_named():
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == PYTHONS


def test_only_what_is_tested_and_attested_is_published():
    told = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert told["permissions"] == {}
    jobs = told["jobs"]
    assert [jobs[each]["needs"] for each in ("build", "attest", "publish")] == [
        "test",
        "build",
        "attest",
    ]
    rights = {name: job["permissions"] for name, job in jobs.items()}
    signs = {"id-token": "write"}
    assert rights == {
        "test": {"contents": "read"},
        "build": {"contents": "read"},
        "attest": signs | {"attestations": "write"},
        "publish": signs,
    }
    run = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    made = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {each.removeprefix("make ") for each in run if each.startswith("make ")} <= set(made)


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(("tag", "agrees"), [(f"v{VERSION}", True), ("v9.9.9", False)])
def test_a_tag_of_another_version_is_not_built(tag, agrees):
    steps = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["build"]["steps"]
    (command,) = [step["run"] for step in steps if "GITHUB_REF_NAME" in step.get("run", "")]
    done = subprocess.run(  # noqa: S603
        [str(BASH), "-c", command], cwd=ROOT, env={**os.environ, "GITHUB_REF_NAME": tag}
    )
    assert (done.returncode == 0) is agrees


def test_every_dependency_is_pinned_to_a_version_that_is_allowed():
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    )
    extras = PROJECT["optional-dependencies"]
    untested = {Requirement(text).name for text in extras["faces"]}
    for text in (*PROJECT["dependencies"], *(need for extra in extras.values() for need in extra)):
        need = Requirement(text)
        if need.name not in {"photovax", *untested}:
            assert need.specifier.contains(pins[need.name.lower()]), text


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_issue_templates_are_forms(template):
    form = yaml.safe_load(template.read_text(encoding="utf-8"))
    if template.stem == "config":
        assert form == {"blank_issues_enabled": False}
        return
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    if template.stem != "wish":
        (asked,) = [field for field in fields if field["id"] == "doctor"]
        assert "photovax doctor" in asked["attributes"]["label"]
        assert asked["validations"] == {"required": True}


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
