//! Quotas: how many frame bytes an uploader may hold in live leases and sealed models.
//!
//! A grant on a model counts what its holder leases and has sealed in that model; a grant on all
//! models counts everywhere, in models that its holder came to own too, else whoever seals a first
//! small version would be rid of it. Other owners, and controllers, have no quota.

use candid::Principal;
use ic_stable_structures::Memory;

use crate::api::Role;
use crate::catalog::Row;
use crate::grants::{GrantRow, grant_key};
use crate::leases::LeaseRow;
use crate::row::{Reader, Writer};
use crate::store::Store;
use crate::{Context, Error, Outcome};

/// A limit and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    limit_bytes: u64,
    used_bytes: u64,
}

impl Quota {
    /// Check that so many bytes fit.
    pub fn check(&self, bytes: u64) -> Outcome<()> {
        let Self { limit_bytes, used_bytes } = *self;
        if used_bytes.saturating_add(bytes) <= limit_bytes {
            return Ok(());
        }
        Err(Error::Quota { limit_bytes, used_bytes })
    }

    /// Count bytes that were taken.
    pub fn take(&mut self, bytes: u64) {
        self.used_bytes = self.used_bytes.saturating_add(bytes);
    }
}

/// Frame bytes of all versions that somebody sealed.
struct Sealed(u64);

impl Row for Sealed {
    fn encode(&self) -> Vec<u8> {
        Writer::default().u64(self.0).finish()
    }

    fn decode(row: &[u8]) -> Self {
        Self(Reader::new(row).u64())
    }
}

fn sealed_key(principal: Principal) -> Vec<u8> {
    Writer::tagged(b'u').principal(principal).finish()
}

impl<M: Memory + Clone> Store<M> {
    /// Return the quota that the caller uploads under; none without a limit.
    pub(crate) fn quota(&self, context: &Context, lease: &LeaseRow) -> Quota {
        let without = Quota { limit_bytes: u64::MAX, used_bytes: 0 };
        if context.controller {
            return without;
        }
        let model = self.model_row(&lease.model);
        let owns = model.as_ref().is_some_and(|row| row.owner == context.caller);
        if !owns && let Some(grant) = self.live_grant(context, Role::Uploader, Some(&lease.model)) {
            let Some(limit_bytes) = grant.quota_bytes else { return without };
            let versions = model.iter().flat_map(|row| self.version_rows(row.id));
            let sealed = versions.filter(|version| version.sealed_by == context.caller);
            let sealed: u64 = sealed.map(|version| version.frame_bytes).sum();
            return Quota { limit_bytes, used_bytes: sealed.saturating_add(lease.frame_bytes) };
        }
        // An expired one too: an owner uploads without a grant, but not beyond it.
        let grant: Option<GrantRow> =
            self.catalog.get(&grant_key(context.caller, Role::Uploader, None));
        let Some(limit_bytes) = grant.and_then(|grant| grant.quota_bytes) else { return without };
        let leases = self.lease_rows().filter(|lease| lease.holder == context.caller);
        let leased: u64 = leases.map(|lease| lease.frame_bytes).sum();
        let Sealed(sealed) = self.catalog.get(&sealed_key(context.caller)).unwrap_or(Sealed(0));
        Quota { limit_bytes, used_bytes: sealed.saturating_add(leased) }
    }

    /// Count what somebody has sealed, or what was deleted of it.
    pub(crate) fn count_sealed(&mut self, principal: Principal, more: u64, less: u64) {
        let key = sealed_key(principal);
        let Sealed(sealed) = self.catalog.get(&key).unwrap_or(Sealed(0));
        let sealed = sealed.saturating_add(more).saturating_sub(less);
        if sealed == 0 {
            self.catalog.remove(&key);
        } else {
            self.catalog.put(key, &Sealed(sealed));
        }
    }
}
