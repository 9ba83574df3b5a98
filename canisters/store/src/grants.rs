//! Grants: roles of somebody on one model or on all.

use candid::Principal;
use ic_stable_structures::Memory;

use crate::api::{Grant, Revoke, Role, SetVisibility, Transfer};
use crate::catalog::{Present, Row, Tag};
use crate::inner::Inner;
use crate::limits::MAX_GRANTS_A_SCOPE;
use crate::models::owner_key;
use crate::name::check_name;
use crate::regions::Purpose;
use crate::row::{Reader, Writer};
use crate::{Context, Error, Outcome};

/// How long a grant lasts and how much it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantRow {
    pub expires_ns: Option<u64>,
    pub quota_bytes: Option<u64>,
    /// Whether a controller gave it, not the owner of the model.
    pub by_controller: bool,
}

impl Row for GrantRow {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::default().option(self.expires_ns).option(self.quota_bytes);
        row.u8(self.by_controller.into()).finish()
    }

    fn decode(row: &[u8]) -> Self {
        let mut row = Reader::new(row);
        let (expires_ns, quota_bytes) = (row.option(), row.option());
        let grant = Self { expires_ns, quota_bytes, by_controller: row.u8() == 1 };
        row.end();
        grant
    }
}

impl GrantRow {
    pub fn lasts(&self, now_ns: u64) -> bool {
        self.expires_ns.is_none_or(|expires_ns| now_ns < expires_ns)
    }
}

fn role_id(role: Role) -> u8 {
    match role {
        Role::Uploader => 1,
        Role::Reader => 2,
    }
}

/// Append the scope: 0, or 1 and a name.
pub fn scope(key: Writer, model: Option<&str>) -> Writer {
    match model {
        None => key.u8(0),
        Some(name) => key.u8(1).short(name.as_bytes()),
    }
}

/// Return what the keys of all grants of a role to somebody start with.
pub fn role_prefix(to: Principal, role: Role) -> Vec<u8> {
    Writer::tagged(Tag::Grant).principal(to).u8(role_id(role)).finish()
}

/// The name comes last and without its length, so that grants to somebody sort by name.
pub fn grant_key(to: Principal, role: Role, model: Option<&str>) -> Vec<u8> {
    let key = Writer::tagged(Tag::Grant).principal(to).u8(role_id(role));
    match model {
        None => key.u8(0),
        Some(name) => key.u8(1).raw(name.as_bytes()),
    }
    .finish()
}

/// Return what the keys of all grants of a role on single models to somebody start with; the names
/// follow.
pub fn named_prefix(to: Principal, role: Role) -> Vec<u8> {
    Writer::tagged(Tag::Grant).principal(to).u8(role_id(role)).u8(1).finish()
}

fn scope_prefix(model: Option<&str>) -> Vec<u8> {
    scope(Writer::tagged(Tag::GrantScope), model).finish()
}

fn scope_key(to: Principal, role: Role, model: Option<&str>) -> Vec<u8> {
    scope(Writer::tagged(Tag::GrantScope), model).principal(to).u8(role_id(role)).finish()
}

impl<M: Memory + Clone> Inner<M> {
    /// Give a role; one that is there already is replaced.
    ///
    /// # Errors
    /// The caller is neither owner nor controller (for all models and for names without a model:
    /// controller), or the grant makes no sense.
    pub fn grant(&mut self, context: &Context, grant: Grant) -> Outcome<()> {
        let model = grant.model.as_deref();
        self.may_grant(context, model)?;
        Self::require_grantable(grant.to)?;
        if grant.role == Role::Reader && grant.quota_bytes.is_some() {
            return Err(Error::BadRequest("a reader has no quota".into()));
        }
        if grant.expires_ns.is_some_and(|expires_ns| expires_ns <= context.now_ns) {
            return Err(Error::BadRequest("the grant would have expired already".into()));
        }
        let key = grant_key(grant.to, grant.role, model);
        let full = self.catalog.keys(&scope_prefix(model)).count() >= MAX_GRANTS_A_SCOPE;
        if full && !self.catalog.contains(&key) {
            return Err(Error::Conflict("there are too many grants on it: revoke some".into()));
        }
        self.reserve_tables(Purpose::Fill)?;
        let Grant { expires_ns, quota_bytes, .. } = grant;
        let by_controller = context.controller;
        self.catalog.put(key, &GrantRow { expires_ns, quota_bytes, by_controller });
        if grant.role == Role::Uploader {
            self.limit_account(grant.to, model, quota_bytes);
        }
        self.catalog.put(scope_key(grant.to, grant.role, model), &Present);
        Ok(())
    }

    /// Take a role back; one that is not there is no error.
    ///
    /// # Errors
    /// As `grant`.
    pub fn revoke(&mut self, context: &Context, revoke: Revoke) -> Outcome<()> {
        let model = revoke.model.as_deref();
        self.may_grant(context, model)?;
        self.reserve_tables(Purpose::Free)?;
        self.catalog.remove(&grant_key(revoke.to, revoke.role, model));
        self.catalog.remove(&scope_key(revoke.to, revoke.role, model));
        if let Some(name) = model {
            self.close_account(revoke.to, name);
        }
        Ok(())
    }

    /// List the roles on a model, or those on all models; expired ones included.
    ///
    /// # Errors
    /// As `grant`.
    pub fn grants(&self, context: &Context, model: Option<&str>) -> Outcome<Vec<Grant>> {
        self.may_grant(context, model)?;
        Ok(self.list_grants(model))
    }

    /// Give a model to another owner.
    ///
    /// # Errors
    /// The caller is neither owner nor controller.
    pub fn transfer_model(&mut self, context: &Context, transfer: Transfer) -> Outcome<()> {
        let Transfer { model: name, to } = transfer;
        check_name(&name)?;
        let mut model = self.owned(context, &name)?;
        Self::require_grantable(to)?;
        self.reserve_tables(Purpose::Free)?;
        self.catalog.remove(&owner_key(model.owner, &name));
        model.owner = to;
        if context.controller {
            model.sponsor = self.sponsor(context, &name);
        }
        self.put_model(&name, &model);
        Ok(())
    }

    /// Make a model public or private.
    ///
    /// # Errors
    /// The caller is neither owner nor controller.
    pub fn set_visibility(&mut self, context: &Context, change: SetVisibility) -> Outcome<()> {
        check_name(&change.model)?;
        let mut model = self.owned(context, &change.model)?;
        self.reserve_tables(Purpose::Free)?;
        model.visibility = change.visibility;
        self.put_model(&change.model, &model);
        self.tree.blind(&change.model, &model);
        Ok(())
    }

    /// Take all roles on a model back, for it is deleted.
    pub(crate) fn revoke_all(&mut self, name: &str) {
        for Grant { to, role, .. } in self.list_grants(Some(name)) {
            self.catalog.remove(&grant_key(to, role, Some(name)));
            self.catalog.remove(&scope_key(to, role, Some(name)));
            self.close_account(to, name);
        }
    }

    fn list_grants(&self, model: Option<&str>) -> Vec<Grant> {
        let keys = self.catalog.keys(&scope_prefix(model));
        let grants = keys.filter_map(|key| {
            let mut key = Reader::new(&key);
            let to = key.principal();
            let role =
                if key.u8() == role_id(Role::Uploader) { Role::Uploader } else { Role::Reader };
            let row: GrantRow = self.catalog.get(&grant_key(to, role, model))?;
            let GrantRow { expires_ns, quota_bytes, .. } = row;
            Some(Grant { to, role, model: model.map(Into::into), expires_ns, quota_bytes })
        });
        grants.collect()
    }

    fn may_grant(&self, context: &Context, model: Option<&str>) -> Outcome<()> {
        let Some(name) = model else { return Self::require_controller(context) };
        check_name(name)?;
        if context.controller { Ok(()) } else { self.owned(context, name).map(|_| ()) }
    }
}
