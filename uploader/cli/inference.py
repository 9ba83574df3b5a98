"""`datanode node promote`, `datanode load`, `datanode generate`: run a model that a node stores."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from datanode.errors import NotFoundError
from datanode.units import format_bytes, format_cycles
from uploader.cli import options
from uploader.cli.output import Output
from uploader.cli.suggest import suggesting_models
from uploader.command_context import CommandContext, open_place

if TYPE_CHECKING:
    from datanode.inference.client import InferenceNode
    from datanode.inference.questions import Generated
    from datanode.node.port import ModelInfo

Exact = Annotated[
    bool,
    typer.Option("--exact", help="Multiply the checkpoint's own words: slower, logits to 1e-5."),
]


_FULL: Final = ", stopped at the longest conversation that the model takes"
_UNFINISHED: Final = ", stopped before the end"


def promote_command(
    node: Annotated[
        str | None,
        typer.Argument(
            metavar="NODE",
            help="A name or a canister id; the only one known.",
            autocompletion=options.known_nodes,
        ),
    ] = None,
    *,
    model: Annotated[
        str,
        typer.Option(metavar="MODEL", help="Model to run.", autocompletion=options.known_models),
    ],
    version: options.Version = None,
    exact: Exact = False,
    load: Annotated[bool, typer.Option(help="Load the model into the heap as well.")] = True,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a node, or a whole fleet, run the models it stores.

    Everything stored stays.

    No weight is sent again: the module is replaced in place. Run the same command again to continue
    after an interruption.
    """
    from datanode.node import deploy  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
        ) as context,
        suggesting_models(context, model),
    ):
        members = context.members()
        _require_version(context.node(members[0]).model(model), version)
        with output.working("installing the inference module"):
            for principal in members:
                deploy.promote_node(context.agent, principal)
        _load(context, output, model, version=version, exact=exact, is_wanted=load)


def _require_version(model: "ModelInfo", version: int | None) -> None:
    """Check it before the module is replaced."""
    if version is not None and version not in {each.version for each in model.versions}:
        raise NotFoundError(
            f"{model.name} has no version {version}",
            safe="Nothing was changed.",
            hint=f"`datanode show {model.name}` lists its versions.",
        )


def load_command(
    model: options.Model,
    *,
    version: options.Version = None,
    exact: Exact = False,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Load MODEL into the heap of each canister that runs it.

    Loading takes several messages. Run the same command again to continue after an interruption,
    and after an upgrade of the canister.
    """
    output = Output(as_json=as_json)
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
        ) as context,
        suggesting_models(context, model),
    ):
        _load(context, output, model, version=version, exact=exact, is_wanted=True)


def _load(
    context: CommandContext,
    output: Output,
    model: str,
    *,
    version: int | None,
    exact: bool,
    is_wanted: bool,
) -> None:
    from datanode.inference.session import MessageCosts, load_model  # noqa: PLC0415 - see `upload`

    if len(context.members()) > 1:
        from uploader.cli.inference_fleet import load_over_fleet  # noqa: PLC0415 - see `upload`

        load_over_fleet(context, output, model, version=version, exact=exact, is_wanted=is_wanted)
        return
    client = _client(context)
    if not is_wanted:
        plan = client.configure(model, version=version, exact=exact)
        output.summary(
            f"{model} version {plan.version} is configured: {plan.weights_count:,} weights, "
            f"{format_bytes(plan.heap_bytes)} of heap",
            model=model,
            version=plan.version,
            weights=plan.weights_count,
            heap_bytes=plan.heap_bytes,
        )
        return
    spending = MessageCosts()
    with output.progress() as progress:
        progress.stage(f"loading {model}")
        for step in load_model(client, model, version=version, exact=exact):
            spending.add(step.instructions)
            progress.count(step.chunks_count, step.total_count, "chunks")
    status = client.status()
    output.summary(
        f"{model} version {status.version} is loaded: {format_bytes(status.heap_bytes)} of heap, "
        f"{spending.messages_count} messages, {spending.instructions / 1e9:.2f}e9 instructions, "
        f"{format_cycles(spending.cycles)}",
        model=model,
        version=status.version,
        heap_bytes=status.heap_bytes,
        messages=spending.messages_count,
        instructions=spending.instructions,
        cycles=spending.cycles,
    )


def generate_command(
    model: options.Model,
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROMPT...", help="Message, or text to continue. Several are run together."
        ),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--prompts", metavar="FILE", help="Read a prompt from each line of FILE; - is stdin."
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Maximum number of tokens.")] = 256,
    query: Annotated[
        bool, typer.Option("--query", help="Ask one replica: free, short, uncertified.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue PROMPT itself, without the chat template.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Fail unless the node runs exactly.")] = (
        False
    ),
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Sampling temperature; 0 takes the most probable token.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Random seed, for repeatable runs.")] = 0,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Generate text with MODEL, and print what it cost.

    Several prompts share what each message costs anyway, so they are cheaper together. Each gets
    the text that it gets alone.
    """
    from datanode.inference.session import (  # noqa: PLC0415 - see `upload`
        is_full,
        questions_of,
        require_model,
        run,
        tokens_a_message,
    )
    from uploader.cli.inference_many import generate_together, read_prompts  # noqa: PLC0415

    output = Output(as_json=as_json)
    wanted = read_prompts(prompts or (), file, as_query=query)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key
    ) as context:
        client = _client(context)
        status = client.status()
        require_model(status, model, exact=exact, as_query=query)
        version = None
        if not raw:
            reader = context.reader(context.coordinator())
            version = reader.open_version(status.model or model, status.version)
        questions = questions_of(
            wanted, version, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        if len(questions) > 1:
            generate_together(client, output, (model, status), questions, wanted)
            return
        last, tokens, spending = run(
            client,
            questions[0],
            as_query=query,
            tokens_a_message=tokens_a_message(status),
            on_text=_shower(output),
        )
    a_token = spending.cycles // max(1, len(tokens))
    full = is_full(status, last.prompt_tokens_count, len(tokens))
    finished = last.finished and not full
    end = "" if finished else _FULL if full else _UNFINISHED
    output.summary(
        f"\n{last.prompt_tokens_count} prompt tokens, {len(tokens)} tokens{end}, "
        f"{format_cycles(spending.cycles)}, {format_cycles(a_token)} a token",
        model=model,
        version=status.version,
        prompt_tokens=last.prompt_tokens_count,
        tokens=len(tokens),
        finished=finished,
        messages=spending.messages_count,
        hops=spending.hops_count,
        instructions=last.instructions if query else spending.instructions,
        cycles=spending.cycles,
        cycles_a_token=a_token,
    )


def _shower(output: Output) -> Callable[["Generated"], None]:
    def show(generated: "Generated") -> None:
        output.item(text=generated.text, tokens=list(generated.tokens))
        output.stream(generated.text)

    return show


def _client(context: CommandContext) -> "InferenceNode":
    from datanode.inference.client import InferenceNode  # noqa: PLC0415 - see `upload`

    return InferenceNode(context.agent, context.members()[0])
