//! Who may do what.
//!
//! Controllers may do everything. The owner of a model may do everything with it. A grant of the
//! role uploader on a model allows to write into it and to read it; on all models, to make new ones
//! and to read nothing. A grant of the role reader allows to read. What a caller may not read looks
//! like what does not exist.

use std::collections::BTreeSet;

use candid::Principal;
use ic_stable_structures::Memory;

use crate::api::{Role, Visibility};
use crate::catalog::Tag;
use crate::grants::{GrantRow, grant_key, named_prefix, role_prefix};
use crate::held::{Reference, references_from};
use crate::inner::Inner;
use crate::key::same;
use crate::leases::Holder;
use crate::limits::REFERENCES_A_LOOK_UP;
use crate::models::ModelRow;
use crate::row::Writer;
use crate::{Context, Digest, Error, Outcome};

/// What a method asks of its caller, as far as it can be told without the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Control the canister.
    Controller,
    /// Own a model, have deleted one whose references are still being removed, or control the
    /// canister.
    Owner,
    /// Be granted the upload of a model, own one, or control the canister.
    Uploader,
    /// As an uploader, or be granted the reading of a model.
    Reader,
}

/// What of the rest depends on the caller, looked up once a call.
pub struct Readable {
    caller: Principal,
    /// Number of the caller; one that none has if it has never uploaded.
    pub user: u32,
    /// What the caller holds frames under.
    pub holder: Holder,
    /// Controllers and readers of all models.
    all: bool,
    /// Names of models that a grant lets the caller read.
    granted: BTreeSet<String>,
    /// Seals in progress, given up or deleted. Their references are there, and hold for nobody.
    unsealed: BTreeSet<u32>,
}

/// Tell whether somebody reads a model without a grant.
fn is_open_to(model: &ModelRow, caller: Principal) -> bool {
    model.visibility == Visibility::Public || model.owner == caller
}

impl<M: Memory + Clone> Inner<M> {
    /// Tell whether a call of a method with this need could succeed.
    pub fn admits(&self, context: &Context, need: Need) -> bool {
        let owns = || {
            let prefix = Writer::tagged(Tag::Owner).principal(context.caller).finish();
            self.catalog.keys(&prefix).next().is_some()
        };
        let deletes = || self.doomed().any(|(_, doomed)| doomed.owner == context.caller);
        let has = |role| {
            self.catalog
                .walk(&role_prefix(context.caller, role), None)
                .any(|(_, grant): (_, GrantRow)| grant.lasts(context.now_ns))
        };
        let uploads = || has(Role::Uploader);
        context.controller
            || match need {
                Need::Controller => false,
                Need::Owner => owns() || deletes(),
                Need::Uploader => owns() || uploads(),
                Need::Reader => owns() || uploads() || has(Role::Reader),
            }
    }

    /// Return a grant that has not expired.
    pub(crate) fn live_grant(
        &self,
        context: &Context,
        role: Role,
        model: Option<&str>,
    ) -> Option<GrantRow> {
        let row: Option<GrantRow> = self.catalog.get(&grant_key(context.caller, role, model));
        row.filter(|grant| grant.lasts(context.now_ns))
    }

    /// Tell whether the caller may write into a model, or make it.
    pub(crate) fn may_upload(&self, context: &Context, name: &str) -> bool {
        if context.controller {
            return true;
        }
        let owner = self.model_row(name).map(|model| model.owner);
        owner == Some(context.caller)
            || self.live_grant(context, Role::Uploader, Some(name)).is_some()
            || (owner.is_none() && self.live_grant(context, Role::Uploader, None).is_some())
    }

    /// Return a model that the caller may read.
    ///
    /// What the caller was granted is looked up first, and a row is read in any case, so that a
    /// model that it may not read costs as much as one that does not exist.
    pub(crate) fn readable(&self, context: &Context, name: &str) -> Outcome<ModelRow> {
        let granted = self.is_reader(context, name);
        let found = self.model_row(name);
        let exists = found.is_some();
        let model = found.unwrap_or_else(ModelRow::of_nothing);
        if exists & (granted | is_open_to(&model, context.caller)) {
            Ok(model)
        } else {
            Err(Error::NotFound(name.into()))
        }
    }

    /// Tell whether the caller reads whatever has this name, by control or by a grant.
    fn is_reader(&self, context: &Context, name: &str) -> bool {
        let grants = [
            self.live_grant(context, Role::Reader, Some(name)),
            self.live_grant(context, Role::Uploader, Some(name)),
            self.live_grant(context, Role::Reader, None),
        ];
        context.controller || grants.iter().any(Option::is_some)
    }

    /// Return a model that the caller owns or controls.
    pub(crate) fn owned(&self, context: &Context, name: &str) -> Outcome<ModelRow> {
        let model = self.readable(context, name)?;
        if context.controller || model.owner == context.caller {
            Ok(model)
        } else {
            Err(Error::Unauthorized)
        }
    }

    /// Look up what the caller may read.
    pub(crate) fn readable_by(&self, context: &Context) -> Readable {
        self.holds.begin_look_ups();
        let caller = context.caller;
        let grants = [Role::Reader, Role::Uploader]
            .map(|role| self.catalog.walk::<GrantRow>(&named_prefix(caller, role), None));
        let live = grants.into_iter().flatten().filter(|(_, grant)| grant.lasts(context.now_ns));
        Readable {
            caller,
            user: self.sealer(caller).unwrap_or(u32::MAX),
            holder: self.holder(caller),
            all: context.controller || self.live_grant(context, Role::Reader, None).is_some(),
            granted: live.filter_map(|(name, _)| String::from_utf8(name).ok()).collect(),
            unsealed: self.unsealed(),
        }
    }

    /// Tell whether a sealed model that the caller may read refers to a frame.
    ///
    /// The work is the same whether others' models refer to the frame or none does: it looks at so
    /// many of anybody's references, from where those of the frame begin, be they the frame's or the
    /// next ones', and at so many from the caller's own ones on. A frame that more models of others
    /// refer to may be told as not readable; then it is sent again, as any other.
    pub(crate) fn reads(&self, digest: &Digest, known: &Readable) -> bool {
        if known.all {
            let mut references = self.holds.references(digest);
            return references.any(|reference| self.is_readable(&reference, known));
        }
        self.holds.look_up(|rows| {
            let read = |sealer| {
                let window = references_from(rows, digest, sealer).take(REFERENCES_A_LOOK_UP);
                window.fold(false, |found, reference| {
                    let readable =
                        same(&reference.digest, digest) & self.is_readable(&reference, known);
                    found | readable
                })
            };
            read(0) | read(known.user)
        })
    }

    fn is_readable(&self, reference: &Reference, known: &Readable) -> bool {
        self.reads_model(reference.model, known) & self.is_sealed(reference.seal, known)
    }

    /// Tell whether the caller may read the model with this id.
    pub(crate) fn reads_model(&self, id: u32, known: &Readable) -> bool {
        self.audiences.get(&id).is_some_and(|audience| {
            known.all
                | audience.public
                | (audience.owner == known.caller)
                | known.granted.contains(&audience.name)
        })
    }

    /// Tell whether a seal that left references is a version now.
    pub(crate) fn is_sealed(&self, seal: u32, known: &Readable) -> bool {
        !known.unsealed.contains(&seal)
    }

    /// List the seals that have references and are no version.
    fn unsealed(&self) -> BTreeSet<u32> {
        self.doomed().map(|(seal, _)| seal).chain(self.referring_seals()).collect()
    }

    pub(crate) fn require_controller(context: &Context) -> Outcome<()> {
        if context.controller { Ok(()) } else { Err(Error::Unauthorized) }
    }

    pub(crate) fn require_grantable(principal: Principal) -> Outcome<()> {
        if principal == Principal::anonymous() || principal == Principal::management_canister() {
            let text = "neither the anonymous principal nor the management canister can hold it";
            return Err(Error::BadRequest(text.into()));
        }
        Ok(())
    }
}
