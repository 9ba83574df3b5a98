from datanode.command_context import SILENT_S, WaitPolicy


def test_a_long_wait_is_told_once_and_a_short_one_never() -> None:
    said: list[str] = []
    slept: list[float] = []
    patience = WaitPolicy("waiting for http://far", said.append, slept.append)
    patience(SILENT_S / 2)
    patience(SILENT_S / 2)
    assert said == []
    for _ in range(3):
        patience(4.0)
    assert said == ["waiting for http://far"]
    assert slept == [SILENT_S / 2, SILENT_S / 2, 4.0, 4.0, 4.0]
