"""`datanode localnet example`: a folder with a canister and its tests, to start from."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from datanode import localnet
from datanode.errors import DestinationError, DiskFullError
from uploader.cli import options
from uploader.cli.output import Output

_INSTALLED = Path(localnet.__file__).parent / "example"
_IN_CHECKOUT = Path(localnet.__file__).parents[2] / "tests" / "datanode" / "localnet" / "example"


def example_command(
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="New folder to write.")],
    *,
    as_json: options.AsJson = False,
) -> None:
    """Write an example: a canister, its interface and its tests.

    Run `pytest` in the folder.
    """
    source = _INSTALLED if _INSTALLED.is_dir() else _IN_CHECKOUT
    if dest.exists():
        raise DestinationError(f"{dest} exists already")
    try:
        shutil.copytree(source, dest, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise DiskFullError(f"cannot write {dest}: {error}") from error
    files = sorted(path.name for path in dest.iterdir())
    Output(as_json=as_json).summary(
        f"{dest} holds {', '.join(files)}; run `pytest {dest}`", folder=str(dest), files=files
    )
