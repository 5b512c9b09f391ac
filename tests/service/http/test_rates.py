"""How many requests an address may make."""

from types import SimpleNamespace

import pytest

from photovax.service.http.problems import Problem
from photovax.service.http.rates import Rates, Shares


def test_rates_fill_again(monkeypatch):
    now = 100.0
    monkeypatch.setattr("photovax.service.http.rates.time", SimpleNamespace(monotonic=lambda: now))
    rates = Rates(60)
    assert [rates.wait("a") for _ in range(61)] == [*[0.0] * 60, 1.0]
    assert rates.wait("b") == 0
    now += 1
    assert rates.wait("a") == 0
    assert rates.wait("a") > 0


def test_of_too_many_addresses_the_oldest_is_forgotten(monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr("photovax.service.http.rates.time", clock)
    monkeypatch.setattr("photovax.service.http.rates._MANY", 3)
    rates = Rates(1)
    assert [rates.wait(client) for client in "abcd"] == [0] * 4
    assert [rates.wait(client) > 0 for client in "bcd"] == [True, True, True]
    assert rates.wait("a") == 0


def test_shares_are_given_back():
    shares = Shares(2, 10, 15)
    with shares.held("a", 10), shares.held("b", 5):
        for client, size, status in (("a", 1, 429), ("b", 6, 429), ("c", 1, 503)):
            with pytest.raises(Problem) as caught, shares.held(client, size):
                pass
            assert caught.value.status == status
        with shares.held("a", 0), pytest.raises(Problem, match="2 requests"), shares.held("a", 0):
            pass
    with shares.held("c", 10):
        pass
