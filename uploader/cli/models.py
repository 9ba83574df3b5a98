"""`datanode models` and `datanode show`: what a node holds that this identity may read."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from datanode.command_context import ContextArguments
from datanode.node.port import VersionInfo
from datanode.units import SECOND_NS, format_bytes
from uploader.cli import options
from uploader.cli.model_rows import ModelRow, model_rows
from uploader.cli.output import Json, Output
from uploader.cli.suggest import suggesting_models
from uploader.cli.where import with_where


@with_where()
def models_command(
    *,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """List the models of a node or a fleet."""
    output = Output(as_json=as_json)
    with where.open(output.say) as context:
        rows, parts = model_rows(context)
    for row in rows:
        output.item(**_fields(row))
    output.table(
        ["model", "> latest", "> raw", "> stored", "visibility", "> nodes", "owner"],
        [
            [
                row.info.name,
                str(row.info.latest),
                format_bytes(row.raw_bytes) if row.info.versions else "-",
                format_bytes(row.frame_bytes) if row.frame_bytes is not None else "-",
                row.info.visibility.value.rstrip("_"),
                str(len(row.members)),
                row.info.owner.text,
            ]
            for row in rows
        ],
    )
    if parts:
        output.say(f"{parts} parts of models over several nodes are not shown")
    output.summary("" if rows else "no models that this identity may read", models=len(rows))


@with_where()
def show_command(
    model: options.Model,
    *,
    version: options.Version = None,
    tensors: Annotated[bool, typer.Option(help="List the tensors as well.")] = False,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Show a model: its versions, and the files of one, certified."""
    output = Output(as_json=as_json)
    with (
        where.open(output.say) as context,
        suggesting_models(context, model),
    ):
        verified = context.open_version(model, version)
        info = context.coordinator().model(model)
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


def _fields(row: ModelRow) -> dict[str, Json]:
    return {
        "model": row.info.name,
        "latest": row.info.latest,
        "owner": row.info.owner.text,
        "visibility": row.info.visibility.value.rstrip("_"),
        "raw_bytes": row.raw_bytes,
        "frame_bytes": row.frame_bytes,
        "members": [member.text for member in row.members],
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
