"""The compiled decoder against NumPy's, which is its judge: the same bytes, or a refusal."""

import threading
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode import frame
from datanode.codec import MASK_SPLIT_ID, codec_for, compiled
from datanode.codec.compiled import CompiledDecoder, DecoderModule, Turns
from datanode.digest import content_digest
from datanode.errors import DataNodeError, FormatError, UsageError
from datanode.limits import FRAME_HEADER_BYTES, MAX_CHUNK_BYTES
from datanode.model import ElementType

GOLDEN: Final = sorted(
    path
    for path in (Path(__file__).parents[1] / "golden").glob("**/*.bin")
    if path.read_bytes()[:4] == b"DNCF"
)
FLOATS: Final = (ElementType.F16, ElementType.BF16, ElementType.F32)


@pytest.fixture(scope="module")
def module() -> DecoderModule:
    return DecoderModule.compile()


@pytest.fixture(scope="module")
def decoder(module: DecoderModule) -> CompiledDecoder:
    return CompiledDecoder(module)


def decoded(decoder: CompiledDecoder | Turns, packed: bytes) -> bytes | None:
    header, payload = packed[:FRAME_HEADER_BYTES], memoryview(packed)[FRAME_HEADER_BYTES:]
    return decoder.decode(header, payload)


def judged(packed: bytes) -> bytes | None:
    """Decode with NumPy and libzstd; none if they refuse it."""
    parsed = frame.parse(packed)
    codec = codec_for(parsed.codec_id)
    try:
        return bytes(
            codec.decode(parsed.payload, parsed.raw_bytes, parsed.element, parsed.row_elements)
        )
    except FormatError:
        return None


def weights(count: int, element: ElementType, seed: int = 1) -> bytes:
    """Normal values of the element type, whose frame has codec 2."""
    values = (np.random.default_rng(seed).standard_normal(count) * 0.02).astype(np.float32)
    match element:
        case ElementType.F16:
            return values.astype(np.float16).tobytes()
        case ElementType.BF16:
            return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        case _:
            return values.tobytes()


def frame_of(count: int, element: ElementType = ElementType.BF16) -> bytes:
    packed = frame.seal(weights(count, element), element, 0)
    assert frame.parse(packed).codec_id == MASK_SPLIT_ID
    return packed


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_frames_decode_to_the_same_bytes(path: Path, decoder: CompiledDecoder) -> None:
    packed = path.read_bytes()
    assert decoded(decoder, packed) == judged(packed)
    assert content_digest(decoded(decoder, packed) or b"") == frame.parse(packed).content


@pytest.mark.parametrize("element", FLOATS)
def test_the_largest_chunk_decodes(element: ElementType, decoder: CompiledDecoder) -> None:
    count = MAX_CHUNK_BYTES // element.width_bytes
    raw = weights(count, element)
    assert decoded(decoder, frame.seal(raw, element, 0)) == raw


@given(st.sampled_from(FLOATS), st.integers(0, 5_000), st.integers(0, 3), st.integers(0, 99))
def test_any_length_decodes(
    decoder: CompiledDecoder, element: ElementType, count: int, tail: int, seed: int
) -> None:
    raw = weights(count, element, seed) + bytes(range(tail))
    split = codec_for(MASK_SPLIT_ID)
    payload = split.encode(raw, element, 0)
    if len(payload) > len(raw):
        return
    packed = frame.Frame(MASK_SPLIT_ID, element, len(raw), content_digest(raw), 0, payload).pack()
    assert decoded(decoder, packed) == raw


@given(st.sampled_from(FLOATS), st.data())
def test_a_changed_payload_is_refused_or_gives_the_same_bytes(
    decoder: CompiledDecoder, element: ElementType, data: st.DataObject
) -> None:
    packed = bytearray(frame_of(3_000, element))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(FRAME_HEADER_BYTES, len(packed) - 1))
        packed[at] ^= data.draw(st.integers(1, 255))
    answer = decoded(decoder, bytes(packed))
    # libzstd takes some damaged streams that this decoder refuses; then NumPy has the last word.
    assert answer is None or answer == judged(bytes(packed))


@pytest.mark.parametrize(("header_bytes", "payload_bytes"), [(63, 8), (64, MAX_CHUNK_BYTES + 1)])
def test_what_is_no_frame_never_reaches_its_memory(
    decoder: CompiledDecoder, header_bytes: int, payload_bytes: int
) -> None:
    with pytest.raises(ValueError, match="no frame"):
        decoder.decode(bytes(header_bytes), bytes(payload_bytes))


def test_numpy_decodes_first_and_the_compiled_decoder_then() -> None:
    packed = frame_of(1_000)
    turns = Turns(numpy_bytes=2 * (len(packed) - FRAME_HEADER_BYTES))
    first = [decoded(turns, packed) for _ in range(2)]
    then = [decoded(turns, packed) for _ in range(2)]
    assert first == [None, None]
    assert then == [judged(packed)] * 2
    turns.close()
    assert decoded(turns, packed) is None


def test_every_thread_has_an_instance_of_its_own() -> None:
    packed = frame_of(50_000)
    turns = Turns(numpy_bytes=0)
    answers: list[bytes | None] = []

    def work() -> None:
        answers.extend(decoded(turns, packed) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # While one thread compiles, the others are sent to NumPy.
    assert set(answers) <= {None, judged(packed)}
    assert answers[-1] == judged(packed)
    turns.close()


@pytest.mark.parametrize("error", [ImportError("x"), OSError("x"), UsageError("x")])
def test_without_a_module_numpy_decodes_all(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> DecoderModule:
        raise error

    monkeypatch.setattr(DecoderModule, "compile", fail)
    turns = Turns(numpy_bytes=0)
    assert decoded(turns, frame_of(1_000)) is None
    assert decoded(turns, frame_of(1_000)) is None


def test_opening_uses_it_and_keeps_the_errors_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(numpy_bytes=0)
    monkeypatch.setattr(compiled, "_TURNS", turns)
    packed = frame_of(1_000)
    parsed = frame.parse(packed)
    with monkeypatch.context() as patched:
        patched.setattr(frame, "codec_for", lambda _: pytest.fail("NumPy decoded"))
        assert parsed.open() == judged(packed)
    cut = bytearray(packed[:-1])
    cut[12:16] = (len(cut) - FRAME_HEADER_BYTES).to_bytes(4, "little")
    with pytest.raises(DataNodeError) as refused:
        frame.parse(bytes(cut)).open()
    monkeypatch.setattr(compiled, "_TURNS", Turns())
    with pytest.raises(DataNodeError) as by_numpy:
        frame.parse(bytes(cut)).open()
    assert refused.value.what == by_numpy.value.what
    turns.close()
