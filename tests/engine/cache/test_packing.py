"""Packing: what comes back of activations, and in how many bytes."""

import pytest
import torch

from azubi.engine.cache import index


def states(rows=40, columns=64, outlier=1.0):
    """Numbers of size 1, but for two channels."""
    made = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    made[:, [3, 17]] *= outlier
    return made


def returned(tensor, cache_format):
    content = index.pack(tensor, cache_format)
    return index.unpack(content, *tensor.shape, cache_format, tensor.dtype)


def error(tensor, cache_format):
    """Mean error relative to the mean size of the ordinary channels."""
    ordinary = [n for n in range(tensor.shape[1]) if n not in (3, 17)]
    return float((returned(tensor, cache_format) - tensor)[:, ordinary].norm() / tensor[:, ordinary].norm())


@pytest.mark.parametrize(
    ("wanted", "computed", "cache_format"),
    [
        ("auto", torch.float32, "float32"),
        ("auto", torch.bfloat16, "bfloat16"),
        ("float32", torch.bfloat16, "bfloat16"),
        ("bfloat16", torch.float32, "bfloat16"),
        ("bfloat16", torch.bfloat16, "bfloat16"),
        ("int8", torch.float32, "int8"),
        ("int8", torch.bfloat16, "int8"),
    ],
)
def test_nothing_is_kept_wider_than_it_was_computed(wanted, computed, cache_format):
    assert index.storage_format(wanted, computed) == cache_format


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_own_form_is_exact(dtype):
    tensor = states().to(dtype)
    assert torch.equal(returned(tensor, index.storage_format("auto", dtype)), tensor)


def test_bfloat16_rounds_once():
    assert torch.equal(returned(states(), "bfloat16"), states().bfloat16().float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 3), (1, 8), (5, 9), (7, 64)])
def test_int8_keeps_shape_and_dtype(dtype, shape):
    tensor = torch.randn(shape).to(dtype)
    got = returned(tensor, "int8")
    assert got.dtype == dtype and got.shape == tensor.shape
    assert torch.allclose(got.float(), tensor.float(), atol=0.05)


def test_int8_takes_a_byte_a_number_and_36_a_token():
    assert len(index.pack(torch.randn(10, 576), "int8")) == 10 * (576 + 36)


@pytest.mark.parametrize("outlier", [1.0, 1e2, 1e4])
def test_large_channels_do_not_blur_the_others(outlier):
    """One scale per token alone would lose all the others behind a channel a hundred times as large."""
    assert error(states(outlier=outlier), "int8") < 0.007


def test_large_numbers_themselves_are_kept_to_eight_bits():
    tensor = states(outlier=1e4)
    got = returned(tensor, "int8")[:, 3]
    assert torch.all((got - tensor[:, 3]).abs() <= tensor[:, 3].abs() * 2**-8)


def test_each_token_has_its_own_scale():
    tensor = torch.cat([states(1) * 1e-3, states(1) * 1e3])
    got = returned(tensor, "int8")
    assert float((got[0] - tensor[0]).norm() / tensor[0].norm()) < 0.01


def test_zeros_stay_zeros():
    assert torch.equal(returned(torch.zeros(3, 16), "int8"), torch.zeros(3, 16))


@pytest.mark.parametrize("cache_format", ["float32", "bfloat16", "int8"])
def test_what_is_rounded_twice_is_rounded_once(cache_format):
    once = index.rounded(states(), cache_format)
    assert torch.allclose(index.rounded(once, cache_format), once, atol=1e-2 if cache_format == "int8" else 0)
    assert torch.equal(once, returned(states(), cache_format))


@pytest.mark.parametrize("cache_format", ["float32", "bfloat16", "int8"])
def test_too_few_bytes_are_refused(cache_format):
    content = index.pack(states(), cache_format)
    with pytest.raises((ValueError, RuntimeError)):
        index.unpack(content[:-1], *states().shape, cache_format, torch.float32)
