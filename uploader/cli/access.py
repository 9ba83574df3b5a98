"""`datanode grant` and `datanode revoke`: who else may read or upload."""

from typing import Annotated

import typer

from datanode.node.port import Grant, Role, Visibility
from datanode.units import DAY_S, SECOND_NS
from uploader.cli import options
from uploader.cli.amounts import parse_principal
from uploader.cli.output import Output
from uploader.place import open_place

To = Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Who; or `public` for every reader.")]
RoleArgument = Annotated[Role, typer.Argument(help="What they may do.")]
On = Annotated[
    str | None, typer.Option("--model", help="One model; without it all (controllers only).")
]
PUBLIC = "public"


def grant_command(
    to: To,
    role: RoleArgument = Role.READER,
    *,
    model: On = None,
    days: Annotated[float | None, typer.Option(min=0, help="Ends after this many days.")] = None,
    quota: Annotated[
        int | None, typer.Option(min=0, metavar="BYTES", help="Most frame bytes of an uploader.")
    ] = None,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Let PRINCIPAL read or upload a model."""
    output = Output(as_json=as_json)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
    ) as place:
        target = place.node()
        if to == PUBLIC and model is not None:
            target.set_visibility(model, Visibility.PUBLIC)
        else:
            expires_ns = (
                None if days is None else place.agent.time_ns() + int(days * DAY_S * SECOND_NS)
            )
            target.grant(
                Grant(
                    to=parse_principal(to),
                    role=role,
                    model=model,
                    expires_ns=expires_ns,
                    quota_bytes=quota,
                )
            )
    output.summary(
        f"{to} is {role.value} of {model or 'all models'}", to=to, role=role.value, model=model
    )


def revoke_command(
    to: To,
    role: RoleArgument = Role.READER,
    *,
    model: On = None,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Take a role back from PRINCIPAL."""
    output = Output(as_json=as_json)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
    ) as place:
        target = place.node()
        if to == PUBLIC and model is not None:
            target.set_visibility(model, Visibility.PRIVATE)
        else:
            target.revoke(parse_principal(to), role, model)
    output.summary(
        f"{to} is no longer {role.value} of {model or 'all models'}",
        to=to,
        role=role.value,
        model=model,
    )
