"""datanode.agent.proxies: what the environment says about proxies, as curl reads it."""

import pytest

from datanode.agent.proxies import proxy_for, unreadable

PROXY = "http://gate:3128"


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("https://icp-api.io", "", False),
        ("https://icp-api.io", "icp-api.io", True),
        ("https://icp-api.io", "ICP-API.IO", True),
        ("https://a.icp-api.io", "icp-api.io", True),
        ("https://a.icp-api.io", ".icp-api.io", True),
        ("https://evilicp-api.io", "icp-api.io", False),
        ("https://icp-api.io", "io", True),
        ("https://icp-api.io", "other, *", True),
        ("https://icp-api.io", "icp-api.io:443", True),
        ("https://icp-api.io:8443", "icp-api.io:443", False),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://11.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://[fd00::1]:4943", "[fd00::1]", True),
        ("https://[fd00::1]:4943", "fd00::1", True),
        ("https://[fd00::1]:4943", "[fd00::1]:4943", True),
        ("https://[fd00::1]:4943", "[fd00::1]:80", False),
        ("https://[fd00::1]:4943", "fd00::/8", True),
        ("https://icp-api.io", "[::1, 10.0.0.0/99,,", False),
    ],
)
def test_no_proxy_is_read_like_curl_does(url: str, no_proxy: str, direct: object) -> None:
    found = proxy_for(url, {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})
    assert found == (None if direct else PROXY)


def test_lower_case_wins_and_all_proxy_is_the_fallback() -> None:
    both = {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}
    assert proxy_for("https://a", both) == PROXY
    assert proxy_for("http://a", both) is None
    assert proxy_for("http://a", both | {"ALL_PROXY": "socks5://c:1"}) == "socks5://c:1"
    assert proxy_for("https://a", {"https_proxy": "gate:3128"}) == PROXY
    assert proxy_for("https://a", {}) is None


def test_unreadable_entries_are_named() -> None:
    listed = "localhost,[::1],::1,10.0.0.0/8,*,.a.b,host:80,[::1]:80"
    assert unreadable({"no_proxy": listed}) == []
    odd = ["[::1", "10.0.0.0/99", "a b", "user@host", "a:b:c", "a/b"]
    assert unreadable({"NO_PROXY": ", ".join([*odd, "localhost"])}) == odd
