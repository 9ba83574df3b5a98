//! Leases as rows of the catalog: one a name, found by number and by name.

use candid::Principal;
use ic_stable_structures::Memory;

use crate::api::Lease;
use crate::catalog::Row;
use crate::limits::LEASE_NS;
use crate::row::{Reader, Writer};
use crate::store::Store;
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
}

impl Row for LeaseRow {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::default().u64(self.id).short(self.model.as_bytes());
        let row = row.principal(self.holder).u64(self.used_ns);
        row.u32(self.frames).u64(self.frame_bytes).finish()
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

pub const LEASES: &[u8] = b"l";

fn lease_key(id: u64) -> Vec<u8> {
    Writer::tagged(b'l').u64(id).finish()
}

fn lease_name_key(model: &str) -> Vec<u8> {
    Writer::tagged(b'n').raw(model.as_bytes()).finish()
}

impl<M: Memory + Clone> Store<M> {
    pub(crate) fn lease_row(&self, id: u64) -> Option<LeaseRow> {
        self.catalog.get(&lease_key(id))
    }

    pub(crate) fn lease_on(&self, model: &str) -> Option<LeaseRow> {
        let LeaseId(id) = self.catalog.get(&lease_name_key(model))?;
        self.lease_row(id)
    }

    pub(crate) fn lease_rows(&self) -> impl Iterator<Item = LeaseRow> {
        self.catalog.walk(LEASES, None).map(|(_, row)| row)
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
        self.catalog.put(lease_key(lease.id), lease);
    }

    /// Write a lease that is new.
    pub(crate) fn add_lease(&mut self, context: &Context, model: String) -> LeaseRow {
        let id = self.header.number();
        self.header.leases += 1;
        let (holder, used_ns) = (context.caller, context.now_ns);
        let lease = LeaseRow { id, model, holder, used_ns, frames: 0, frame_bytes: 0 };
        self.catalog.put(lease_name_key(&lease.model), &LeaseId(id));
        self.catalog.put(lease_key(id), &lease);
        lease
    }

    /// Remove a lease. The rows of its frames are left to the garbage collection; without the
    /// lease they hold nothing.
    pub(crate) fn remove_lease(&mut self, lease: &LeaseRow) {
        self.catalog.remove(&lease_key(lease.id));
        self.catalog.remove(&lease_name_key(&lease.model));
        self.header.leases -= 1;
    }
}
