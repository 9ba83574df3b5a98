"""Access control of the memory store: controllers, owners, grants, visibility."""

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
    sponsor: Principal | None = None

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
    limits: dict[tuple[Principal, str | None], int | None] = field(default_factory=dict)
    by_owner: set[tuple[Principal, str | None]] = field(default_factory=set)

    def give(self, grant: Grant, *, by_controller: bool) -> None:
        """Give a role; the quota of an uploader outlives the grant."""
        self.grants[grant.to, grant.role, grant.model] = grant
        if grant.role is Role.UPLOADER:
            key = (grant.to, grant.model)
            self.limits[key] = grant.quota_bytes
            (self.by_owner.discard if by_controller else self.by_owner.add)(key)

    def payers(self, caller: Principal, model: str, now_ns: int) -> dict[Principal, int | None]:
        """The principals whose quotas an upload counts on, each with its limit."""
        if caller in self.controllers:
            return {caller: None}
        key = (caller, model)
        if self._granted(caller, Role.UPLOADER, model, now_ns) and key not in self.by_owner:
            return {caller: self.limits[key]}
        own = [self.limits[key] for key in (key, (caller, None)) if key in self.limits]
        payers = {caller: min((limit for limit in own if limit is not None), default=None)}
        found = self.models.get(model)
        if found is not None and found.sponsor not in (None, caller):
            assert found.sponsor is not None
            payers[found.sponsor] = self.limits.get((found.sponsor, None))
        return payers

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

    def is_uploader(self, caller: Principal, now_ns: int) -> bool:
        """Whether some model is the caller's, or some grant lets it upload."""
        return (
            caller in self.controllers
            or any(model.owner == caller for model in self.models.values())
            or any(
                self._granted(to, role, scope, now_ns)
                for to, role, scope in self.grants
                if (to, role) == (caller, Role.UPLOADER)
            )
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
