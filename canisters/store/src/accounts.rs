//! Accounts: who answers for the bytes that the node stores.
//!
//! An account belongs to a principal and a scope, one model or all, as its grants do. It counts the
//! frame bytes of each lease and each version that is charged to it, and what they left behind
//! until a collection has let go of it (see `remainders`). Its limit is the quota of the last
//! grant; account and limit outlive the grant, so that nothing is gained by a revocation, an expiry
//! or a new grant.
//!
//! A lease is charged to all that answer for it:
//! - the account of the grant that a controller gave its holder on the model, and then no other;
//! - else each account that the holder has, on the model and on all models, and the sponsor of the
//!   model: the account that its first version was charged to. Owners, and those whom they let
//!   upload, are bound by what the model was made under, whoever owns it by now. A transfer by a
//!   controller makes the controller the sponsor.
//!
//! Controllers have an account without a limit.

use candid::Principal;
use ic_stable_structures::Memory;

use crate::Context;
use crate::api::Role;
use crate::catalog::{Row, Tag};
use crate::grants::{grant_key, scope};
use crate::inner::Inner;
use crate::row::{Reader, Writer};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    pub principal: Principal,
    pub model: Option<String>,
    pub limit_bytes: Option<u64>,
    pub used_bytes: u64,
}

impl Row for AccountRow {
    fn encode(&self) -> Vec<u8> {
        let model = self.model.as_deref().unwrap_or_default();
        let row = Writer::default().principal(self.principal).short(model.as_bytes());
        row.option(self.limit_bytes).u64(self.used_bytes).finish()
    }

    fn decode(row: &[u8]) -> Self {
        let mut row = Reader::new(row);
        let (principal, model) = (row.principal(), row.text());
        let account = Self {
            principal,
            model: (!model.is_empty()).then_some(model),
            limit_bytes: row.option(),
            used_bytes: row.u64(),
        };
        row.end();
        account
    }
}

/// The number of an account, filed under principal and scope.
struct AccountId(u32);

impl Row for AccountId {
    fn encode(&self) -> Vec<u8> {
        Writer::default().u32(self.0).finish()
    }

    fn decode(row: &[u8]) -> Self {
        Self(Reader::new(row).u32())
    }
}

fn account_key(id: u32) -> Vec<u8> {
    Writer::tagged(Tag::Account).u32(id).finish()
}

fn account_scope_key(principal: Principal, model: Option<&str>) -> Vec<u8> {
    scope(Writer::tagged(Tag::AccountScope).principal(principal), model).finish()
}

impl<M: Memory + Clone> Inner<M> {
    pub(crate) fn account_row(&self, id: u32) -> Option<AccountRow> {
        self.catalog.get(&account_key(id))
    }

    pub(crate) fn put_account(&mut self, id: u32, row: &AccountRow) {
        self.catalog.put(account_key(id), row);
    }

    fn account(&self, principal: Principal, model: Option<&str>) -> Option<u32> {
        self.catalog.get(&account_scope_key(principal, model)).map(|AccountId(id)| id)
    }

    fn account_or_new(&mut self, principal: Principal, model: Option<&str>) -> u32 {
        if let Some(id) = self.account(principal, model) {
            return id;
        }
        let id = self.header.next_account;
        self.header.next_account += 1;
        let model_name = model.map(Into::into);
        let row = AccountRow { principal, model: model_name, limit_bytes: None, used_bytes: 0 };
        self.put_account(id, &row);
        self.catalog.put(account_scope_key(principal, model), &AccountId(id));
        id
    }

    /// Give the account of a grant its limit.
    pub(crate) fn limit_account(&mut self, to: Principal, model: Option<&str>, quota: Option<u64>) {
        let id = self.account_or_new(to, model);
        if let Some(row) = self.account_row(id) {
            self.put_account(id, &AccountRow { limit_bytes: quota, ..row });
        }
    }

    /// Remove an account whose grant is gone, if nothing is charged to it and it sponsors nothing.
    pub(crate) fn close_account(&mut self, principal: Principal, name: &str) {
        let is_granted = self.catalog.contains(&grant_key(principal, Role::Uploader, Some(name)));
        let Some(id) = self.account(principal, Some(name)).filter(|_| !is_granted) else { return };
        let idle = self.account_row(id).is_none_or(|row| row.used_bytes == 0);
        if idle && self.model_row(name).is_none_or(|model| model.sponsor != id) {
            self.catalog.remove(&account_key(id));
            self.catalog.remove(&account_scope_key(principal, Some(name)));
        }
    }

    /// Return the accounts that an upload of the caller is charged to, rising.
    pub(crate) fn payers(&mut self, context: &Context, name: &str) -> Vec<u32> {
        let caller = context.caller;
        if context.controller {
            return vec![self.account_or_new(caller, None)];
        }
        let own = self.account(caller, Some(name));
        let grant = self.live_grant(context, Role::Uploader, Some(name));
        if grant.is_some_and(|grant| grant.by_controller) {
            return own.into_iter().collect();
        }
        let sponsor = self.model_row(name).map(|model| model.sponsor);
        let accounts = own.into_iter().chain(self.account(caller, None)).chain(sponsor);
        let mut accounts: Vec<u32> = accounts.collect();
        accounts.sort_unstable();
        accounts.dedup();
        accounts
    }

    /// Return the sponsor of a model that the caller makes, or as a controller gives away.
    pub(crate) fn sponsor(&mut self, context: &Context, name: &str) -> u32 {
        let grant = self.live_grant(context, Role::Uploader, Some(name));
        let model = grant.filter(|_| !context.controller).map(|_| name);
        self.account_or_new(context.caller, model)
    }
}
