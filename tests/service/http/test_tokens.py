"""Tokens: who has one, and that none is lost."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from photovax.errors import UnknownName, UsageError
from photovax.pictures.atomic import write_text
from photovax.service.http.tokens import Tokens


def test_a_token_is_its_owners_and_only_its_hash_is_kept(tmp_path):
    tokens = Tokens(tmp_path / "tokens.json")
    assert not tokens
    token = tokens.add("ann")
    assert tokens
    assert token not in (tmp_path / "tokens.json").read_text()
    assert Tokens(tmp_path / "tokens.json").owner(token) == tokens.owner(token) is not None
    assert tokens.owner(token + "x") is None
    with pytest.raises(UsageError, match="ann"):
        tokens.add("ann")


def test_no_token_is_lost_where_several_are_added_at_once(tmp_path, monkeypatch):
    def slowly(text: str, path: Path, *, overwrite: bool) -> None:
        time.sleep(0.02)
        write_text(text, path, overwrite=overwrite)

    monkeypatch.setattr("photovax.service.http.tokens.write_text", slowly)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: Tokens(tmp_path / "t.json").add(str(n)), range(8)))
    tokens = Tokens(tmp_path / "t.json")
    assert None not in map(tokens.owner, made)


def test_a_token_is_taken_back(tmp_path):
    tokens, other = (Tokens(tmp_path / "t.json") for _ in range(2))
    ann, ben = tokens.add("ann"), tokens.add("ben")
    assert other.owner(ann)
    tokens.remove("ann")
    assert other.owner(ann) is None
    assert other.owner(ben)
    with pytest.raises(UnknownName, match=r"no client with a token named 'ann'.*ben"):
        tokens.remove("ann")
    tokens.remove("ben")
    assert not other
