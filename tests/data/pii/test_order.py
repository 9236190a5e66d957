"""A secret order is an order: every number has one place, whatever the key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azubi.data.pii.order import SecretOrder
from tests.data.pii.values import keys


@pytest.mark.parametrize("size", [1, 2, 3, 10, 97, 1000])
def test_every_place_is_taken_once(size):
    order = SecretOrder(bytes(32), "x", size)
    places = [order.position(number) for number in range(order.size)]
    assert order.size >= size and sorted(places) == list(range(order.size))
    assert [order.number_at(place) for place in places] == list(range(order.size))


@given(keys, st.integers(1, 2**2500), st.integers(0))
def test_a_place_leads_back_to_its_number(key, size, number):
    order = SecretOrder(key, "x", size)
    assert size <= order.size <= size + 2 * int(size**0.5 if size < 2**100 else order.size) + 1
    assert order.number_at(order.position(number % order.size)) == number % order.size


def test_key_and_label_make_another_order():
    order = [SecretOrder(bytes(32), "x", 10**6).position(number) for number in range(50)]
    for other in (SecretOrder(b"k" * 32, "x", 10**6), SecretOrder(bytes(32), "y", 10**6)):
        assert sum(other.position(number) == place for number, place in enumerate(order)) < 3


def test_the_whole_of_a_long_number_is_mixed():
    order = SecretOrder(bytes(32), "x", 2**3000)
    one, other = order.position(1), order.position(2)
    assert all(one >> shift & 0xFFFF != other >> shift & 0xFFFF for shift in range(0, 2990, 300))
