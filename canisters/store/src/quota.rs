//! Quotas: how many bytes an account may be charged.

use candid::Principal;
use ic_stable_structures::Memory;

use crate::accounts::AccountRow;
use crate::inner::Inner;
use crate::leases::LeaseRow;
use crate::limits::GRACE_NS;
use crate::{Context, Error, Outcome};

/// The accounts that a call is charged to.
pub struct Charge {
    caller: Principal,
    /// Controllers are counted, not limited.
    limited: bool,
    accounts: Vec<(u32, AccountRow)>,
}

impl Charge {
    /// Check that so many bytes fit into every account.
    ///
    /// The figures of an account are told to its principal alone.
    pub fn check(&self, bytes: u64) -> Outcome<()> {
        if !self.limited {
            return Ok(());
        }
        let exceeded = |account: &&AccountRow| {
            let after = account.used_bytes.saturating_add(bytes);
            account.limit_bytes.is_some_and(|limit_bytes| after > limit_bytes)
        };
        let is_own = |account: &&AccountRow| account.principal == self.caller;
        let mut accounts = self.accounts.iter().map(|(_, account)| account).filter(exceeded);
        match accounts.clone().find(is_own) {
            Some(AccountRow { limit_bytes: Some(limit_bytes), used_bytes, .. }) => {
                Err(Error::Quota { limit_bytes: *limit_bytes, used_bytes: *used_bytes })
            }
            _ if accounts.next().is_some() => {
                Err(Error::Conflict("the quota that this model was made under is used up".into()))
            }
            _ => Ok(()),
        }
    }

    /// Count bytes that were taken.
    pub fn take(&mut self, bytes: u64) {
        for (_, account) in &mut self.accounts {
            account.used_bytes = account.used_bytes.saturating_add(bytes);
        }
    }

    /// Take bytes back that were counted before.
    pub fn give_back(&mut self, bytes: u64) {
        for (_, account) in &mut self.accounts {
            account.used_bytes = account.used_bytes.saturating_sub(bytes);
        }
    }
}

impl<M: Memory + Clone> Inner<M> {
    /// Return the accounts that a use of a lease is charged to.
    ///
    /// If they are others than before, because grants or the owner changed, the new ones take over
    /// what the lease holds, and the old ones count it until it is collected.
    ///
    /// # Errors
    /// It does not fit into a new one.
    pub(crate) fn charge(&mut self, context: &Context, lease: &mut LeaseRow) -> Outcome<Charge> {
        let payers = self.payers(context, &lease.model);
        if payers != lease.accounts {
            let new = payers.iter().filter(|id| !lease.accounts.contains(id)).copied().collect();
            let mut charge = self.open_charge(context, new);
            charge.check(lease.frame_bytes)?;
            charge.take(lease.frame_bytes);
            self.settle(&charge);
            let old: Vec<u32> =
                lease.accounts.iter().filter(|id| !payers.contains(id)).copied().collect();
            self.leave(&old, lease.frame_bytes, context.now_ns.saturating_add(GRACE_NS));
            lease.accounts.clone_from(&payers);
            self.put_lease(lease);
        }
        Ok(self.open_charge(context, payers))
    }

    pub(crate) fn open_charge(&self, context: &Context, accounts: Vec<u32>) -> Charge {
        let rows = accounts.into_iter().filter_map(|id| Some((id, self.account_row(id)?)));
        let (caller, limited) = (context.caller, !context.controller);
        Charge { caller, limited, accounts: rows.collect() }
    }

    /// Write down what was taken.
    pub(crate) fn settle(&mut self, charge: &Charge) {
        for (id, account) in &charge.accounts {
            self.put_account(*id, account);
        }
    }
}
