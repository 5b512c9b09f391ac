"""``photovax serve``: what it refuses before it starts."""

import pytest
from typer.testing import CliRunner

from photovax.cli import app
from photovax.errors import CertificateError, UsageError
from photovax.service.http.tokens import Tokens


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0", "--name", "a.example"], "clients need tokens"),  # noqa: S104
        (["--tokens"], "clients need tokens"),
        (["--host", "0.0.0.0"], "--name"),  # noqa: S104
    ],
)
def test_it_is_not_exposed_without_tokens(tmp_path, options, message):
    if "name" in message:
        made = CliRunner().invoke(app, ["serve", "--new-token", "ann", "--data", str(tmp_path)])
        assert Tokens(tmp_path / "tokens.json").owner(made.stdout.strip())
    refused = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), *options])
    assert isinstance(refused.exception, UsageError)
    assert message in refused.exception.line


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (["--sign-key", "key.pem"], UsageError, "--sign-chain"),
        (["--sign-key", "no.pem", "--sign-chain", "no.pem"], CertificateError, "no.pem: not a"),
    ],
)
def test_what_a_provider_signs_with_is_looked_at_before_the_first_photo(
    options, error, match, tmp_path
):
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), *options])
    assert isinstance(done.exception, error)
    assert match in done.exception.line
