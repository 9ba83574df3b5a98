"""Options that say which files of a source are read, and what a command tells of its files."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from uploader.cli.output import Output

if TYPE_CHECKING:
    from uploader.source import Source

_SOURCE_HELP: Final = (
    "A .safetensors file, an index of shards, or a folder from a hub; or s3://BUCKET/KEY, "
    "or hf://ORG/MODEL[@REVISION]."
)
SourceArgument = Annotated[str, typer.Argument(metavar="SOURCE", help=_SOURCE_HELP)]
Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="GLOB", help="Take only these files; may be repeated."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="GLOB", help="Leave these files out; may be repeated."),
]
Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        metavar="GLOB",
        help="Take these files too, e.g. weights in another format; may be repeated.",
    ),
]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Follow links that lead out of the folder.")
]
IgnoreInode = Annotated[
    bool,
    typer.Option(
        "--ignore-inode", help="Do not compare inode numbers, for file systems that change them."
    ),
]
RequestPayer = Annotated[
    bool,
    typer.Option("--request-payer", help="Pay for requests to a bucket whose readers pay."),
]


def tell_files(output: Output, source: "Source") -> None:
    """Say which files are left out and why, and what is odd about the others."""
    from uploader.source import notes_on  # noqa: PLC0415 - see `upload`

    if output.as_json:
        for each in source.left_out:
            output.item(kind="left_out", path=each.path, reason=each.reason)
    for note in notes_on(source):
        output.say(note)
