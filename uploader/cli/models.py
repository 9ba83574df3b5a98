"""`datanode models` and `datanode show`: what a node holds that this identity may read."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from datanode.node.port import ModelInfo, VersionInfo
from datanode.units import SECOND_NS, format_bytes
from uploader.cli import options
from uploader.cli.output import Json, Output
from uploader.place import open_place


def models_command(
    *,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """List the models of a node."""
    output = Output(as_json=as_json)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key
    ) as place:
        models = place.node().models()
    for model in models:
        output.item(**_fields(model))
    output.table(
        ["model", "> latest", "> raw", "> stored", "visibility", "owner"],
        [
            [
                model.name,
                str(model.latest),
                format_bytes(model.versions[-1].raw_bytes) if model.versions else "-",
                format_bytes(model.versions[-1].frame_bytes) if model.versions else "-",
                model.visibility.value.rstrip("_"),
                model.owner.text,
            ]
            for model in models
        ],
    )
    output.summary("" if models else "no models that this identity may read", models=len(models))


def show_command(
    model: options.Model,
    *,
    version: options.Version = None,
    tensors: Annotated[bool, typer.Option(help="List the tensors too.")] = False,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a model: its versions, and the files of one, certified."""
    output = Output(as_json=as_json)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key
    ) as place:
        target = place.node()
        info = target.model(model)
        verified = place.reader(target).open_version(model, version)
        entries = list(verified.tensors()) if tensors else []
    for each in info.versions:
        output.item(kind="version", **_version(each))
    for file in verified.head.files:
        output.item(kind="file", path=file.path, bytes=file.length_bytes, sha256=file.sha256.hex())
    for tensor in entries:
        output.item(kind="tensor", name=tensor.name, dtype=tensor.dtype, shape=list(tensor.shape))
    output.table(
        ["> version", "sealed", "> chunks", "> raw", "> stored", "manifest"],
        [
            [
                str(each.version),
                _date(each.sealed_ns),
                f"{each.chunks_count:,}",
                format_bytes(each.raw_bytes),
                format_bytes(each.frame_bytes),
                each.manifest.hex()[:16],
            ]
            for each in info.versions
        ],
    )
    output.table(
        ["file", "> bytes", "sha256"],
        [[f.path, f"{f.length_bytes:,}", f.sha256.hex()] for f in verified.head.files],
    )
    if tensors:
        output.table(
            ["tensor", "dtype", "shape"],
            [[t.name, t.dtype, "x".join(map(str, t.shape)) or "scalar"] for t in entries],
        )
    output.summary(
        f"{model} version {verified.version} is certified, manifest {verified.manifest.hex()}",
        model=model,
        version=verified.version,
        manifest=verified.manifest.hex(),
        owner=info.owner.text,
        visibility=info.visibility.value.rstrip("_"),
    )


def _fields(model: ModelInfo) -> dict[str, Json]:
    return {
        "model": model.name,
        "latest": model.latest,
        "owner": model.owner.text,
        "visibility": model.visibility.value.rstrip("_"),
        "raw_bytes": model.versions[-1].raw_bytes if model.versions else 0,
        "frame_bytes": model.versions[-1].frame_bytes if model.versions else 0,
    }


def _version(version: VersionInfo) -> dict[str, Json]:
    return {
        "version": version.version,
        "manifest": version.manifest.hex(),
        "placement": version.placement.hex(),
        "chunks": version.chunks_count,
        "raw_bytes": version.raw_bytes,
        "frame_bytes": version.frame_bytes,
        "sealed_ns": version.sealed_ns,
        "sealed_by": version.sealed_by.text,
    }


def _date(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / SECOND_NS, UTC).strftime("%Y-%m-%d %H:%M")
