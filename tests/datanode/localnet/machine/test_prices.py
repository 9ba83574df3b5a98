from datanode.localnet.machine import ic0, prices


def test_every_price_table_covers_every_opcode() -> None:
    assert (len(prices.OPCODE), len(prices.SIMD), len(prices.BULK)) == (256, 256, 18)


def test_only_calls_that_exist_have_a_price_of_their_own() -> None:
    assert set(prices.FIXED) <= set(ic0.CALLS)
    assert set(prices.TRANSMITTING) <= set(ic0.CALLS)


def test_a_call_without_a_price_of_its_own_costs_the_default() -> None:
    assert (prices.fixed("time"), prices.per_byte("msg_arg_data_copy")) == (500, 1)
    assert (prices.fixed("call_perform"), prices.per_byte("msg_reply_data_append")) == (5_000, 50)
