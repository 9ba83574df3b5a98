"""Costs are in one unit a table, with a legend, and in a currency where it is asked for."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import UsageError
from datanode.units import TC, format_tc
from tests.cli.stage import User, checkpoint
from uploader.cli.amounts import parse_xdr_rate


@given(st.integers(0, 10**17))
def test_cycles_of_a_table_are_in_one_unit_and_keep_two_digits(cycles: int) -> None:
    number, unit = format_tc(cycles).split()
    assert unit == "TC"
    assert float(number) * TC == pytest.approx(cycles, rel=0.051, abs=0)


def test_a_plan_is_in_tc_and_explains_its_two_prices_of_storage(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 2)
    shown = user.run("plan", source).out
    costs = shown.partition("cost ")[2]
    assert "G cycles" not in shown
    assert len(re.findall(r" TC$", costs, re.MULTILINE)) == 8
    for name in ("docs", "code"):
        assert f"30 days of storage ({name})" in shown
        assert f"\n{name}: storage at the price" in shown


def test_a_plan_tells_how_many_canisters_run_the_model(user: User) -> None:
    rows, columns = 30_000, 40_000  # 2.4 GB a block: a heap holds one
    size, path = rows * columns * 2, user.home / "blocks.safetensors"
    tensors = {
        f"model.layers.{block}.w": {
            "dtype": "BF16",
            "shape": [rows, columns],
            "data_offsets": [block * size, (block + 1) * size],
        }
        for block in range(3)
    }
    header = json.dumps(tensors).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 3 * size)  # sparse
    assert user.ok("plan", path)["heaps_needed"] == 3
    assert re.search(r"canisters to run it, 4 GiB heaps +3\n", user.run("plan", path).out)


def test_a_currency_is_shown_beside_cycles(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 2)
    shown = user.run("plan", source, "--xdr-rate", "1.37USD").out
    found = re.search(r"upload in all +([0-9.]+) TC +([0-9.]+) USD", shown)
    assert found is not None
    assert float(found[2]) == pytest.approx(1.37 * float(found[1]), abs=1e-4)
    planned = user.ok("plan", source, "--xdr-rate", "2")
    assert planned["total_cost"] == pytest.approx(2 * planned["total_cycles"] / TC)
    user.ok("upload", source, "--as", "costly")
    spent = user.ok("cost", "--xdr-rate", "2 eur")
    assert spent["cost"] == pytest.approx(2 * spent["cycles"] / TC)
    assert " EUR) in all" in user.run("cost", "--xdr-rate", "2eur").out


@pytest.mark.parametrize("text", ["", "0", "-1", "1.37USDT", "nan", "1e5", "USD"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a rate"):
        parse_xdr_rate(text)
