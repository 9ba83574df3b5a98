//! Who may do what.
//!
//! Controllers may do everything. The owner of a model may do everything with it. A grant of the
//! role uploader on a model allows to write into it and to read it; on all models, to make new ones
//! and to read nothing. A grant of the role reader allows to read. What a caller may not read looks
//! like what does not exist.

use std::collections::{BTreeMap, BTreeSet};

use candid::Principal;
use ic_stable_structures::Memory;

use crate::api::{Role, Visibility};
use crate::grants::{GrantRow, grant_key, role_prefix};
use crate::models::{ModelRow, NameRow, id_key};
use crate::row::Writer;
use crate::store::Store;
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
}

/// What tells whether a caller may read a frame, remembered within one call.
#[derive(Default)]
pub struct Readable {
    models: BTreeMap<u32, bool>,
    /// Seals in progress, given up or deleted. Their references are there, and hold for nobody.
    unsealed: Option<BTreeSet<u32>>,
}

impl<M: Memory + Clone> Store<M> {
    /// Tell whether a call of a method with this need could succeed.
    pub fn admits(&self, context: &Context, need: Need) -> bool {
        let owns = || {
            let prefix = Writer::tagged(b'o').principal(context.caller).finish();
            self.catalog.keys(&prefix).next().is_some()
        };
        let deletes = || self.doomed().any(|(_, doomed)| doomed.owner == context.caller);
        let uploads = || {
            self.catalog
                .walk(&role_prefix(context.caller, Role::Uploader), None)
                .any(|(_, grant): (_, GrantRow)| grant.lasts(context.now_ns))
        };
        context.controller
            || match need {
                Need::Controller => false,
                Need::Owner => owns() || deletes(),
                Need::Uploader => owns() || uploads(),
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

    pub(crate) fn may_read(&self, context: &Context, name: &str, model: &ModelRow) -> bool {
        context.controller
            || model.visibility == Visibility::Public
            || model.owner == context.caller
            || self.live_grant(context, Role::Reader, Some(name)).is_some()
            || self.live_grant(context, Role::Uploader, Some(name)).is_some()
            || self.live_grant(context, Role::Reader, None).is_some()
    }

    /// Return a model that the caller may read.
    pub(crate) fn readable(&self, context: &Context, name: &str) -> Outcome<ModelRow> {
        self.model_row(name)
            .filter(|model| self.may_read(context, name, model))
            .ok_or_else(|| Error::NotFound(name.into()))
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

    /// Tell whether a sealed model that the caller may read refers to a frame.
    pub(crate) fn reads(&self, context: &Context, digest: &Digest, known: &mut Readable) -> bool {
        let mut from = Some((0, 0));
        while let Some((id, seal)) = from.and_then(|from| self.holds.next_reference(digest, from)) {
            let readable = || self.reads_model(context, id);
            from = if !*known.models.entry(id).or_insert_with(readable) {
                id.checked_add(1).map(|next| (next, 0))
            } else if known.unsealed.get_or_insert_with(|| self.unsealed()).contains(&seal) {
                seal.checked_add(1).map(|next| (id, next))
            } else {
                return true;
            };
        }
        false
    }

    /// List the seals that have references and are no version.
    fn unsealed(&self) -> BTreeSet<u32> {
        self.doomed().map(|(seal, _)| seal).chain(self.referring_seals()).collect()
    }

    fn reads_model(&self, context: &Context, id: u32) -> bool {
        let Some(NameRow(name)) = self.catalog.get(&id_key(id)) else { return false };
        self.model_row(&name).is_some_and(|model| self.may_read(context, &name, &model))
    }

    pub(crate) fn controller_only(context: &Context) -> Outcome<()> {
        if context.controller { Ok(()) } else { Err(Error::Unauthorized) }
    }

    pub(crate) fn somebody(principal: Principal) -> Outcome<()> {
        if principal == Principal::anonymous() || principal == Principal::management_canister() {
            let text = "neither the anonymous principal nor the management canister can hold it";
            return Err(Error::BadRequest(text.into()));
        }
        Ok(())
    }
}
