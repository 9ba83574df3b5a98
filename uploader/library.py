"""The uploader from Python: the same work as `datanode upload`, without a terminal."""

from contextlib import closing
from pathlib import Path

from datanode.fees import FeeSchedule
from uploader.place import open_place
from uploader.progress import Progress, Silent
from uploader.session.upload import UploadOptions, UploadSummary, Workplace
from uploader.session.upload import upload as upload_source
from uploader.source import open_source
from uploader.state.outbox import Outbox


def upload(
    source: str | Path,
    model: str,
    *,
    node: str | None = None,
    network: str | None = None,
    identity: str | None = None,
    state: str | None = None,
    options: UploadOptions | None = None,
    progress: Progress | None = None,
) -> UploadSummary:
    """Bring a checkpoint into a node and seal it; calling it again resumes.

    What is not given comes from `DATANODE_*` variables and `datanode.toml`, as for the command.

    Args:
        source: A `.safetensors` file, an index of shards, or a folder from a hub.
        model: Name to store it under.
        node: A known node's name or a canister id.
        network: `local`, `ic` or a URL.
        identity: PEM file of the identity that signs.
        state: URL of the state database.
        options: Takeover, budget, threads and the like.
        progress: Listens to what happens.

    Raises:
        DataNodeError: See `datanode.errors`; what is stored by then is paid and kept.

    Example:
        >>> import uploader
        >>> summary = uploader.upload("./my-model", "my-model")  # doctest: +SKIP
        >>> summary.version  # doctest: +SKIP
        1
    """
    listener = progress or Silent()
    with (
        closing(open_source(source)) as opened,
        open_place(
            listener.note,
            network=network,
            identity=identity,
            node=node,
            state=state,
            signs=True,
        ) as place,
        place.state() as store,
        place.state_location.lock(place.node_principal(), model),
    ):
        target = place.node()
        workplace = Workplace(
            node=target,
            me=place.identity.principal,
            reader=place.reader(target),
            state=store,
            outbox=Outbox(place.state_location.outbox(target.principal, model)),
            fees=FeeSchedule.load(),
            progress=listener,
        )
        return upload_source(opened, model, workplace, options)
