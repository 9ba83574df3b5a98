"""Who may do what in the store in memory: controllers, owners, grants, visibility."""

from dataclasses import dataclass, field

from datanode.digest import FrameDigest
from datanode.errors import NotFoundError
from datanode.node.port import Grant, ModelInfo, Role, VersionInfo, Visibility
from datanode.principal import Principal


@dataclass(slots=True)
class Model:
    """A model and its sealed versions."""

    name: str
    owner: Principal
    visibility: Visibility = Visibility.PRIVATE
    latest: int = 0
    versions: dict[int, VersionInfo] = field(default_factory=dict)
    references: dict[int, frozenset[FrameDigest]] = field(default_factory=dict)
    chunks: dict[FrameDigest, list[FrameDigest]] = field(default_factory=dict)

    def info(self) -> ModelInfo:
        return ModelInfo(
            name=self.name,
            owner=self.owner,
            visibility=self.visibility,
            latest=self.latest,
            versions=tuple(self.versions[number] for number in sorted(self.versions)),
        )


@dataclass(slots=True, kw_only=True)
class Roles:
    """Models, their owners, and grants.

    Attributes:
        controllers: Who may do everything.
    """

    controllers: frozenset[Principal]
    models: dict[str, Model] = field(default_factory=dict)
    last_versions: dict[str, int] = field(default_factory=dict)
    grants: dict[tuple[Principal, Role, str | None], Grant] = field(default_factory=dict)

    def may_administer(self, caller: Principal, model: str | None) -> bool:
        if caller in self.controllers:
            return True
        return model in self.models and self.models[model].owner == caller

    def may_upload(self, caller: Principal, model: str, now_ns: int) -> bool:
        """A grant on all models allows to make new ones."""
        return (
            self.may_administer(caller, model)
            or self._granted(caller, Role.UPLOADER, model, now_ns)
            or (model not in self.models and self._granted(caller, Role.UPLOADER, None, now_ns))
        )

    def may_read(self, caller: Principal, model: str, now_ns: int) -> bool:
        """An uploader of one model reads it; an uploader of all reads nothing by that."""
        found = self.models.get(model)
        return found is not None and (
            found.visibility is Visibility.PUBLIC
            or self.may_administer(caller, model)
            or self._granted(caller, Role.READER, model, now_ns)
            or self._granted(caller, Role.READER, None, now_ns)
            or self._granted(caller, Role.UPLOADER, model, now_ns)
        )

    def _granted(self, caller: Principal, role: Role, model: str | None, now_ns: int) -> bool:
        grant = self.grants.get((caller, role, model))
        return grant is not None and (grant.expires_ns is None or now_ns < grant.expires_ns)

    def readable(self, caller: Principal, model: str, now_ns: int) -> Model:
        if not self.may_read(caller, model, now_ns):
            raise NotFoundError(f"no model {model}")
        return self.models[model]

    def quota_of(self, caller: Principal, model: str) -> int | None:
        """The most bytes the caller may hold; None: no end."""
        if self.may_administer(caller, model):
            return None
        grants = [self.grants.get((caller, Role.UPLOADER, scope)) for scope in (model, None)]
        quotas = [grant.quota_bytes for grant in grants if grant is not None]
        return None if None in quotas else max(quota for quota in quotas if quota is not None)
