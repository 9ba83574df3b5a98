"""Certified reading: what a node says becomes true only by proof (`proof.py` is the recipe)."""

from datanode.reader.arrays import Array, Rows, TensorReader, find_tensors, load_arrays
from datanode.reader.fetching import FetchSummary, fetch_model, fetch_tensor
from datanode.reader.fleet_version import FleetVersion, open_any_version, open_fleet_version
from datanode.reader.rollback_memory import RollbackMemory, SeenVersion
from datanode.reader.tensors import pieces_of, range_of_file, read_tensor
from datanode.reader.version import VerifiedVersion
from datanode.reader.version_reader import Reader

__all__ = [
    "Array",
    "FetchSummary",
    "FleetVersion",
    "Reader",
    "RollbackMemory",
    "Rows",
    "SeenVersion",
    "TensorReader",
    "VerifiedVersion",
    "fetch_model",
    "fetch_tensor",
    "find_tensors",
    "load_arrays",
    "open_any_version",
    "open_fleet_version",
    "pieces_of",
    "range_of_file",
    "read_tensor",
]
