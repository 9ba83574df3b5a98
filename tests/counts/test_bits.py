"""How small real weights become: bits a weight of MiniLM, every byte that is stored counted."""

import pytest

from tests.bench.bench_codec import CONVERSIONS, bits_a_weight, real_weights


@pytest.mark.parametrize(("name", "bound"), [("f16_bf16_origin", 10.68), ("f16_native", 13.65)])
def test_real_weights_take_at_most_so_many_bits(name: str, bound: float) -> None:
    convert = CONVERSIONS[name]
    bits = bits_a_weight({key: convert(value) for key, value in real_weights().items()})
    assert bits <= bound
