"""`datanode audit`: prove what a node holds; repair what it lost; verify a report offline."""

from pathlib import Path
from typing import Annotated

import typer

from datanode.errors import UsageError
from uploader import config
from uploader.cli import options
from uploader.cli.output import Output
from uploader.place import open_place


def audit_command(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Name of a model.", show_default=False)
    ] = None,
    *,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only N chunks, drawn at random.")
    ] = None,
    rolling: Annotated[
        str | None, typer.Option(metavar="N/T", help="Part N of T; T audits cover everything.")
    ] = None,
    scrub: Annotated[
        bool, typer.Option("--scrub", help="The node re-hashes by consensus; costs cycles.")
    ] = False,
    version: options.Version = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the signed report here.")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Verify a report; no node is asked.")
    ] = None,
    mend: Annotated[
        str | None,
        typer.Option("--repair", metavar="SOURCE", help="Send damaged frames again from SOURCE."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Queries in flight.")] = 4,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Audit MODEL: certificate, witness, manifest, frames, raw bytes."""
    from uploader.cli import auditing  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    if verify is not None:
        settings = config.load({"network": network, "root_key": root_key})
        auditing.verify(output, verify, settings)
        return
    if model is None:
        raise UsageError("name a model to audit, or a report with --verify")
    mode = auditing.read_mode(sample, rolling, scrub=scrub)
    with open_place(
        output.say,
        network=network,
        identity=identity,
        node=node,
        root_key=root_key,
        signs=mend is not None,
        strict_clock=True,
    ) as place:
        auditing.audit(
            output,
            place,
            model,
            mode,
            version=version,
            jobs=jobs,
            report=report,
            source=mend,
        )
