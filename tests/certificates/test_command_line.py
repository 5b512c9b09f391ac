"""``photovax certificate`` and ``renew``."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from photovax.attack.presets import PRESETS
from photovax.certificates.document import parse_certificate
from photovax.certificates.read import read_certificate
from photovax.certificates.register import Register
from photovax.cli import app
from photovax.errors import PhotovaxError, UsageError
from tests.certificates.provider import QUICK, altered, next_version


def test_verifying_needs_neither_what_only_unix_has_nor_what_serves(provider):
    (provider.folder / "c.json").write_text(provider.text)
    without = "import sys\nsys.modules |= dict.fromkeys({})\nfrom photovax.cli import main\nmain()"
    asked = ["certificate", "verify", "c.json", "--photo", "photo.png", "--data", "."]
    absent = ("fcntl", "resource", "fastapi", "uvicorn", "httpx2", "prometheus_client")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", without.format(absent), *asked],
        cwd=provider.folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("valid")


def test_the_command_line_issues_verifies_and_renews(provider, newer, tmp_path):
    (tmp_path / "quick.json").write_text(QUICK.to_json())
    shutil.copytree(provider.folder, tmp_path / "p")
    data = tmp_path / "p"

    def photovax(*arguments: object) -> Result:
        return CliRunner().invoke(app, [*map(str, arguments), "--data", str(data)])

    photo, original = data / "photo.png", data / "original.png"
    made = photovax("certificate", "issue", photo, "--original", original, "--total", 16,
                    "--recipe", tmp_path / "quick.json", "--device", "cpu")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    assert re.search(r"^  embedded: (PASS|WEAK|FAIL), latent shift", made.stdout, re.MULTILINE)
    certificate = data / "photo.png.certificate.json"
    held = photovax("certificate", "verify", certificate, "--photo", photo)
    assert held.exit_code == 0, held.stderr
    assert held.stdout.startswith("valid")
    Register(data / "register.json").add(newer)
    assert photovax("certificate", "verify", certificate).exit_code == 10
    renewed = photovax("renew", photo, "--certificate", certificate, "--original", original,
                       "--recipe", tmp_path / "quick.json", "--device", "cpu")  # fmt: skip
    assert renewed.exit_code == 0, renewed.stderr
    assert "made from the original, within the same total budget" in renewed.stdout
    result = data / "photo.renewed.png"
    again = photovax(
        *("certificate", "verify", f"{result}.certificate.json", "--photo", result, "--json")
    )
    assert again.exit_code == 0, again.stdout + again.stderr
    assert json.loads(again.stdout)["lacking"] == {}
    other = photovax("certificate", "verify", certificate, "--photo", result)
    assert other.exit_code == 9
    assert "another file" in other.stdout
    assert read_certificate(certificate) != read_certificate(Path(f"{result}.certificate.json"))


def test_the_recipe_is_that_of_the_record(provider, tmp_path):
    shutil.copytree(provider.folder, tmp_path / "p")
    data, certificate = tmp_path / "p", tmp_path / "c.json"

    def issued(*arguments: object) -> Result:
        asked = ["issue", data / "photo.png", "--original", data / "original.png", *arguments]
        asked += ["--data", data, "--device", "cpu", "-o", certificate]
        return CliRunner().invoke(app, ["certificate", *map(str, asked)])

    assert issued().exit_code == 0
    assert parse_certificate(read_certificate(certificate))[0].recipe == QUICK.digest()
    for wrong in (["--recipe", "photoguard-demo"], ["--recipe", "fast", "--visibility", "low"]):
        refused = issued("--overwrite", *wrong).exception
        assert isinstance(refused, UsageError)
        assert "photo.png: its record says that it was immunized by another recipe" in refused.line
    (data / "photo.png.json").unlink()
    assert issued("--overwrite", "--recipe", "photoguard-demo").exit_code == 0
    found = parse_certificate(read_certificate(certificate))[0]
    assert found.recipe == PRESETS["photoguard-demo"].digest()


def test_two_versions_of_a_model_are_both_said(provider, newer, tmp_path):
    shutil.copytree(provider.folder, tmp_path / "p")
    (tmp_path / "c.json").write_text(provider.text)
    register = Register(tmp_path / "p" / "register.json")
    register.add(newer)
    register.add(next_version(Path(newer.model), tmp_path / "third", "3"))
    asked = ["verify", tmp_path / "c.json", "--data", tmp_path / "p", "--json"]
    found = json.loads(CliRunner().invoke(app, ["certificate", *map(str, asked)]).stdout)
    assert list(found["lacking"]) == ["embedded 2", "embedded 3"]


def test_the_network_that_gave_the_change_is_said(usual, tmp_path):
    certificate = tmp_path / "c.json"
    record = json.loads((usual.folder / "photo.png.json").read_text())
    line = f"from perturbation network {record['networks']['embedded'][:12]})\n"
    asked = ["--original", usual.original, "--device", "cpu", "-o", certificate]
    for command in (
        ["certificate", "issue", usual.photo, *asked],
        ["certificate", "verify", certificate],
    ):
        done = CliRunner().invoke(app, [*map(str, command), "--data", str(usual.folder)])
        assert done.exit_code in (0, 10), done.stdout + done.stderr  # hardly moved: stale
        assert line in done.stdout
    file = tmp_path / "nothing.safetensors"
    asked = ["renew", usual.photo, "--certificate", certificate, "--network", file]
    done = CliRunner().invoke(app, [*map(str, asked), "--data", str(usual.folder)])
    assert f"network {file}: cannot be read" in str(done.exception)


def test_a_forged_certificate_writes_no_more_than_its_lines(provider, tmp_path):
    """Sequences in its texts would make a terminal erase what is said of it."""
    certificate = tmp_path / "c.json"
    erasing = "ab\x1b[2K\x1b[1A\x1b[2Kvalid\n  issued today"
    certificate.write_text(altered(provider.text, lambda stated: stated.update(serial=erasing)))
    asked = ["certificate", "verify", str(certificate), "--data", str(provider.folder)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 9
    assert "\x1b" not in done.output
    first, second, *_ = done.output.splitlines()
    assert first.startswith("not valid: ")
    assert second == "it claims, and nothing of this is verified:"


def test_a_key_is_rotated_only_where_there_is_one(tmp_path):
    done = CliRunner().invoke(app, ["certificate", "rotate", "--data", str(tmp_path / "typo")])
    assert isinstance(done.exception, PhotovaxError)
    assert not (tmp_path / "typo").exists()


def test_a_certificate_replaces_no_photo(provider):
    photo, original = provider.folder / "photo.png", provider.folder / "original.png"
    before = photo.read_bytes()
    command = ("certificate", "issue", photo, "--original", original, "-o", photo, "--overwrite")
    done = CliRunner().invoke(app, [*map(str, command), "--data", str(provider.folder)])
    assert "never replaced" in str(done.exception)
    assert photo.read_bytes() == before


def test_what_is_missing_is_not_taken_for_forged(provider, tmp_path):
    def verified(*arguments: object) -> PhotovaxError:
        done = CliRunner().invoke(app, ["certificate", "verify", *map(str, arguments)])
        assert isinstance(done.exception, PhotovaxError)
        return done.exception

    certificate = tmp_path / "c.json"
    certificate.write_text(provider.text)
    gone = verified(tmp_path / "gone.json", "--data", provider.folder)
    assert (gone.exit_code, str(gone)) == (2, f"{tmp_path / 'gone.json'}: no such file")
    keyless = verified(certificate, "--data", tmp_path)
    assert keyless.exit_code == 2
    assert "--keys FILE" in keyless.line
    lost = verified(certificate, "--data", provider.folder, "--photo", tmp_path / "lost.png")
    assert (lost.exit_code, str(lost)) == (
        2,
        f"{tmp_path / 'lost.png'}: no such file",
    )
    piped = tmp_path / "pipe"
    os.mkfifo(piped)
    assert verified(piped, "--data", provider.folder).exit_code == 2
    certificate.write_text(
        altered(provider.text, lambda stated: stated["budget"].update(unit="level"))
    )
    assert verified(certificate, "--data", provider.folder).exit_code == 9
