//! What ended leases and deleted versions left behind: charged until it is collected.
//!
//! The frames of a lease that has ended stay for 14 days, those of a deleted version until the next
//! collection. Their bytes stay charged to the same accounts until a collection that began later
//! has come to its end: by then, what nothing else holds is freed.

use ic_stable_structures::Memory;

use crate::accounts::AccountRow;
use crate::catalog::{Row, Tag};
use crate::inner::Inner;
use crate::row::{Reader, Writer};

/// Remainders that are looked at for one unit of work.
const LOOKS_A_UNIT: u32 = 8;
/// Remainders of an account are added up by hours.
const HOUR_NS: u64 = 3_600_000_000_000;

/// Bytes that were left behind.
struct Remainder(u64);

impl Row for Remainder {
    fn encode(&self) -> Vec<u8> {
        Writer::default().u64(self.0).finish()
    }

    fn decode(row: &[u8]) -> Self {
        Self(Reader::new(row).u64())
    }
}

/// Which remainders a collection releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Those of before its number.
    pub collection: u32,
    /// Those that were kept until then; none: all.
    pub until_ns: Option<u64>,
}

fn remainder_key(until_ns: u64, collection: u32, account: u32) -> Vec<u8> {
    Writer::tagged(Tag::Remainder).u64(until_ns).u32(collection).u32(account).finish()
}

impl<M: Memory + Clone> Inner<M> {
    /// Have accounts count bytes that a lease or version no longer holds, as long as they may be
    /// stored.
    pub(crate) fn leave(&mut self, accounts: &[u32], bytes: u64, until_ns: u64) {
        let until_ns = until_ns.checked_next_multiple_of(HOUR_NS).unwrap_or(u64::MAX);
        for account in accounts.iter().filter(|_| bytes > 0) {
            let key = remainder_key(until_ns, self.header.collections, *account);
            let Remainder(before) = self.catalog.get(&key).unwrap_or(Remainder(0));
            self.catalog.put(key, &Remainder(before.saturating_add(bytes)));
        }
    }

    /// Discharge accounts of what a collection has let go of; tell whether that was all.
    pub(crate) fn release(&mut self, release: Release, units: &mut u32) -> bool {
        let mut released = Vec::new();
        let mut looks = units.saturating_mul(LOOKS_A_UNIT);
        for (key, Remainder(bytes)) in self.catalog.walk(&Tag::Remainder.key(), None) {
            let mut row = Reader::new(&key);
            let (until_ns, collection, account) = (row.u64(), row.u32(), row.u32());
            if looks == 0 || release.until_ns.is_some_and(|now_ns| until_ns > now_ns) {
                break;
            }
            looks -= 1;
            if collection < release.collection {
                looks = looks.saturating_sub(2 * LOOKS_A_UNIT);
                released.push((remainder_key(until_ns, collection, account), account, bytes));
            }
        }
        // A step that finds nothing to release ends it, so that every collection ends.
        let ended = looks > 0 || released.is_empty();
        *units = looks / LOOKS_A_UNIT;
        for (key, account, bytes) in released {
            self.catalog.remove(&key);
            if let Some(row) = self.account_row(account) {
                let used_bytes = row.used_bytes.saturating_sub(bytes);
                self.put_account(account, &AccountRow { used_bytes, ..row });
            }
        }
        ended
    }
}
