//! Leases as rows of the catalog: one a name, found by number, by name and by holder.

use candid::Principal;
use ic_stable_structures::Memory;

use crate::api::Lease;
use crate::catalog::{Present, Row, Tag};
use crate::inner::Inner;
use crate::limits::LEASE_NS;
use crate::row::{Reader, Writer};
use crate::{Context, Error, Outcome};

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    pub id: u64,
    pub model: String,
    pub holder: Principal,
    pub used_ns: u64,
    pub frames: u32,
    pub frame_bytes: u64,
    /// What its bytes are charged to.
    pub accounts: Vec<u32>,
}

impl Row for LeaseRow {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::default().u64(self.id).short(self.model.as_bytes());
        let row = row.principal(self.holder).u64(self.used_ns);
        row.u32(self.frames).u64(self.frame_bytes).numbers(&self.accounts).finish()
    }

    fn decode(row: &[u8]) -> Self {
        let mut row = Reader::new(row);
        let lease = Self {
            id: row.u64(),
            model: row.text(),
            holder: row.principal(),
            used_ns: row.u64(),
            frames: row.u32(),
            frame_bytes: row.u64(),
            accounts: row.numbers(),
        };
        row.end();
        lease
    }
}

impl LeaseRow {
    pub fn expires_ns(&self) -> u64 {
        self.used_ns.saturating_add(LEASE_NS)
    }

    /// Return the lease as it travels.
    pub fn describe(&self) -> Lease {
        Lease {
            id: self.id,
            model: self.model.clone(),
            holder: self.holder,
            expires_ns: self.expires_ns(),
            frames: self.frames,
            frame_bytes: self.frame_bytes,
        }
    }
}

/// The number of the lease on a name.
pub struct LeaseId(pub u64);

impl Row for LeaseId {
    fn encode(&self) -> Vec<u8> {
        Writer::default().u64(self.0).finish()
    }

    fn decode(row: &[u8]) -> Self {
        Self(Reader::new(row).u64())
    }
}

/// What a caller holds frames under: its leases, whether expired or not.
pub struct Holder {
    /// Stands in front of the rows of further leases, see `held`.
    pub tag: u64,
    leases: Vec<u64>,
}

impl Holder {
    pub fn has(&self, lease: u64) -> bool {
        self.leases.contains(&lease)
    }
}

fn holder_key(holder: Principal, id: u64) -> Vec<u8> {
    Writer::tagged(Tag::Holder).principal(holder).u64(id).finish()
}

fn lease_key(id: u64) -> Vec<u8> {
    Writer::tagged(Tag::Lease).u64(id).finish()
}

fn lease_name_key(model: &str) -> Vec<u8> {
    Writer::tagged(Tag::LeaseName).raw(model.as_bytes()).finish()
}

impl<M: Memory + Clone> Inner<M> {
    pub(crate) fn lease_row(&self, id: u64) -> Option<LeaseRow> {
        self.catalog.get(&lease_key(id))
    }

    pub(crate) fn lease_on(&self, model: &str) -> Option<LeaseRow> {
        let LeaseId(id) = self.catalog.get(&lease_name_key(model))?;
        self.lease_row(id)
    }

    pub(crate) fn lease_rows(&self) -> impl Iterator<Item = LeaseRow> {
        self.lease_rows_after(None)
    }

    /// Walk the leases with higher numbers than this one.
    pub(crate) fn lease_rows_after(&self, after: Option<u64>) -> impl Iterator<Item = LeaseRow> {
        let after = after.map(u64::to_be_bytes);
        let after = after.as_ref().map(<[u8; 8]>::as_slice);
        self.catalog.walk(&Tag::Lease.key(), after).map(|(_, row)| row)
    }

    /// Return what a principal holds frames under.
    pub(crate) fn holder(&self, principal: Principal) -> Holder {
        let prefix = Writer::tagged(Tag::Holder).principal(principal).finish();
        let ids = self.catalog.keys(&prefix).map(|key| Reader::new(&key).u64());
        Holder { tag: self.header.holder_tag(principal), leases: ids.collect() }
    }

    /// List the leases of a principal.
    pub(crate) fn leases_of(&self, principal: Principal) -> Vec<LeaseRow> {
        let ids = self.holder(principal).leases;
        ids.into_iter().filter_map(|id| self.lease_row(id)).collect()
    }

    /// Return the caller's lease with this number. Whatever is not the caller's looks alike.
    pub(crate) fn lease_of(&self, context: &Context, id: u64) -> Outcome<LeaseRow> {
        let lease = self.lease_row(id).filter(|lease| lease.holder == context.caller);
        let lease = lease.ok_or(Error::LeaseLost)?;
        if self.may_upload(context, &lease.model) { Ok(lease) } else { Err(Error::Unauthorized) }
    }

    /// Write a lease that is used now.
    pub(crate) fn renew(&mut self, context: &Context, lease: &mut LeaseRow) {
        lease.used_ns = context.now_ns;
        self.put_lease(lease);
    }

    /// Write a lease as it is.
    pub(crate) fn put_lease(&mut self, lease: &LeaseRow) {
        self.catalog.put(lease_key(lease.id), lease);
    }

    /// Write a lease that is new.
    pub(crate) fn add_lease(&mut self, context: &Context, model: String) -> LeaseRow {
        let id = self.header.number();
        self.header.leases += 1;
        let (holder, used_ns) = (context.caller, context.now_ns);
        let accounts = self.payers(context, &model);
        let lease = LeaseRow { id, model, holder, used_ns, frames: 0, frame_bytes: 0, accounts };
        self.catalog.put(lease_name_key(&lease.model), &LeaseId(id));
        self.catalog.put(holder_key(holder, id), &Present);
        self.catalog.put(lease_key(id), &lease);
        lease
    }

    /// Remove a lease. The rows of its frames are left to the garbage collection; without the
    /// lease they hold nothing.
    pub(crate) fn remove_lease(&mut self, lease: &LeaseRow) {
        self.catalog.remove(&lease_key(lease.id));
        self.catalog.remove(&lease_name_key(&lease.model));
        self.catalog.remove(&holder_key(lease.holder, lease.id));
        self.header.leases -= 1;
    }
}
