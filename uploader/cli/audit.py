"""`datanode audit`: prove what a node holds; repair damage; verify a report offline."""

from pathlib import Path
from typing import Annotated

import typer

from datanode import config
from datanode.errors import UsageError
from uploader.cli import options
from uploader.cli.amounts import parse_rate
from uploader.cli.output import Output
from uploader.cli.signature_options import (
    PublicKeyFile,
    Signature,
    VerifySignature,
    read_signer,
)
from uploader.cli.suggest import suggesting_models
from uploader.command_context import open_place


def audit_command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Name of a model.",
            show_default=False,
            autocompletion=options.known_models,
        ),
    ] = None,
    *,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Check only N chunks, drawn at random.")
    ] = None,
    rolling: Annotated[
        str | None,
        typer.Option(metavar="N/T", help="Check part N of T; T audits cover everything."),
    ] = None,
    scrub: Annotated[
        bool,
        typer.Option(
            "--scrub",
            help="Have the node re-hash its frames, by consensus (controllers only; costs cycles).",
        ),
    ] = False,
    version: options.Version = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a signed report to FILE.")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Verify the report in FILE, offline.")
    ] = None,
    auditor: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRINCIPAL",
            help="With --verify: auditor whose signature is trusted; may be repeated.",
            show_default="the setting `auditor`, and the identity in use",
        ),
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="With --verify: refuse older reports, e.g. 36h or 7d."),
    ] = None,
    mend: Annotated[
        str | None,
        typer.Option(
            "--repair", metavar="SOURCE", help="Send damaged and missing frames again from SOURCE."
        ),
    ] = None,
    verify_signature: VerifySignature = False,
    public_key: PublicKeyFile = None,
    signature: Signature = None,
    jobs: options.QueryJobs = 4,
    limit_rate: options.LimitRate = None,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Audit MODEL: prove what a node holds, repair damage.

    Certificate, manifest, frames, raw bytes and the SHA-256 of each file are checked.

    A report is accepted by --verify only if it proves its version and is signed by a trusted
    auditor; MODEL, --node, --version, --max-age and --public-key are compared with it.
    """
    from uploader.cli import audit_actions, reports  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    signer = read_signer(public_key, signature, verify=verify_signature)
    if verify is not None:
        given = {"--sample": sample, "--rolling": rolling, "--report": report, "--repair": mend}
        given |= {"--signature": signature}
        if superfluous := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"--verify audits nothing: {superfluous[0]} does not go with it")
        if scrub:
            raise UsageError("--verify audits nothing: --scrub does not go with it")
        reports.verify(
            output,
            verify,
            config.load({"network": network, "root_key": root_key, "identity": identity}),
            reports.Wanted(
                model=model,
                node=node,
                version=version,
                auditors=auditor,
                max_age=max_age,
                signer=None if signer is None else signer.key.der,
            ),
        )
        return
    if auditor or max_age is not None:
        raise UsageError("--auditor and --max-age go with --verify")
    if model is None:
        raise UsageError("name a model to audit, or a report with --verify")
    if mend is not None and signer is not None:
        raise UsageError("--repair does not go with --verify-signature: repair first")
    mode = audit_actions.read_mode(sample, rolling, scrub=scrub)
    with (
        open_place(
            output.say,
            network=network,
            identity=identity,
            node=node,
            root_key=root_key,
            signs=mend is not None,
            strict_clock=True,
            limit_bytes_s=parse_rate(limit_rate),
        ) as context,
        suggesting_models(context, model),
    ):
        audit_actions.audit(
            output,
            context,
            model,
            mode,
            version=version,
            jobs=jobs,
            report=report,
            source=mend,
            signer=signer,
        )
