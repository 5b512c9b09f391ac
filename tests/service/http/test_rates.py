"""How many requests an address may make."""

from types import SimpleNamespace

from photovax.service.http.rates import Rates


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
