"""Which files of a folder belong to a checkpoint.

Every file does, but for weights in other formats, which hold the same as the safetensors files
beside them. They are known by their names, and `.bin` files also by their first bytes. The
operator's globs decide before that, in this order:

1. `exclude`: what matches is left out.
2. `also`: what matches is taken.
3. `include`: if any is given, only what matches is taken.

`*` crosses folders, and a pattern that ends with `/` takes a whole folder. Hidden files and folders
(`.git`, `.cache`) are never taken.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from datanode.globs import matches
from uploader.source.base import Source
from uploader.source.kinds import is_pytorch

_OTHER_FORMATS: Final = (
    ("PyTorch weights", ("*.pt", "*.pth", "*.ckpt", "pytorch_model*.bin", "consolidated*.bin")),
    ("PyTorch training state", ("training_args.bin", "optimizer.bin", "scheduler.bin")),
    ("pickled data", ("*.pkl", "*.pickle", "*.joblib")),
    ("GGUF weights", ("*.gguf",)),
    ("GGML weights", ("*.ggml", "ggml-*.bin")),
    ("ONNX weights", ("*.onnx", "*.onnx_data", "*.onnx.data", "*.ort")),
    ("Flax weights", ("*.msgpack",)),
    ("TensorFlow or Keras weights", ("*.h5", "*.hdf5", "*.keras", "*.pb", "*.ckpt.*")),
    ("TensorFlow Lite weights", ("*.tflite", "*.task", "*.litertlm")),
    ("OpenVINO weights", ("openvino_*.bin",)),
    ("Core ML weights", ("*.mlmodel", "*.mlpackage/*", "*.mlmodelc/*")),
    ("rust-bert weights", ("*.ot",)),
    ("NumPy weights", ("*.npz",)),
    ("NeMo weights", ("*.nemo",)),
    ("a TensorRT engine", ("*.engine", "*.plan")),
)
_SNIFFED: Final = ".bin"
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Selection of files in a folder, by globs."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    also: Sequence[str] = ()

    def reason_against(self, name: str, head: Callable[[], bytes]) -> str | None:
        """Say why a file does not belong to the checkpoint; None: it does.

        Args:
            name: Its path in the folder.
            head: Reads its first bytes; called for few files.
        """
        if matches(name, self.exclude):
            return "matches --exclude"
        if matches(name, self.also):
            return None
        if self.include:
            return None if matches(name, self.include) else "matches no --include"
        return _other_format(name, head)


def _other_format(name: str, head: Callable[[], bytes]) -> str | None:
    file = name.rpartition("/")[2].lower()
    for reason, patterns in _OTHER_FORMATS:
        if any(fnmatchcase(name.lower() if "/" in each else file, each) for each in patterns):
            return reason
    return "PyTorch weights" if file.endswith(_SNIFFED) and is_pytorch(head()) else None


def notes_on(source: Source) -> Iterator[str]:
    """Yield what an operator should know of a source: files that are left out, and oddities."""
    by_reason: dict[str, list[str]] = {}
    for each in source.left_out:
        by_reason.setdefault(each.reason, []).append(each.path)
    for reason, paths in by_reason.items():
        listed = ", ".join(paths[:_SHOWN])
        more = f" and {len(paths) - _SHOWN} more" if paths[_SHOWN:] else ""
        yield f"left out, {reason}: {listed}{more}"
    yield from source.notes
