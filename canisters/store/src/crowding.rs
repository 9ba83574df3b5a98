//! Which lease gives way when there are as many as may be.
//!
//! Only expired leases do. Those that hold no frames go first, then the oldest. Among the leases of
//! all, one that holds frames goes only if its holder has at least an equal share of them, and
//! those of the largest holder go first: however many leases some principals take, an uploader
//! with fewer keeps its frames.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use candid::Principal;

use crate::leases::LeaseRow;

/// Return the lease of a holder that gives way to another one of the same holder.
pub fn gives_way_to_holder(own: &[LeaseRow], now_ns: u64) -> Option<&LeaseRow> {
    expired(own, now_ns).min_by_key(|lease| (lease.frames > 0, lease.used_ns))
}

/// Return the lease that gives way to one of another holder.
pub fn gives_way_to_all(leases: &[LeaseRow], now_ns: u64) -> Option<&LeaseRow> {
    let mut counts: BTreeMap<Principal, usize> = BTreeMap::new();
    for lease in leases {
        *counts.entry(lease.holder).or_default() += 1;
    }
    let share = leases.len().div_ceil(counts.len().max(1));
    expired(leases, now_ns)
        .filter(|lease| lease.frames == 0 || counts[&lease.holder] >= share)
        .min_by_key(|lease| match lease.frames {
            0 => (false, Reverse(0), lease.used_ns),
            _ => (true, Reverse(counts[&lease.holder]), lease.used_ns),
        })
}

fn expired(leases: &[LeaseRow], now_ns: u64) -> impl Iterator<Item = &LeaseRow> {
    leases.iter().filter(move |lease| lease.expires_ns() <= now_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LEASE_NS, MAX_LEASES, MAX_LEASES_A_HOLDER};

    fn lease(holder: u32, used_ns: u64, frames: u32) -> LeaseRow {
        let holder = Principal::from_slice(&holder.to_be_bytes());
        let model = String::new();
        let (frame_bytes, accounts) = (frames.into(), vec![1]);
        LeaseRow { id: used_ns, model, holder, used_ns, frames, frame_bytes, accounts }
    }

    #[test]
    fn empty_and_oldest_leases_give_way_first() {
        let leases = [lease(1, 5, 1), lease(1, 9, 0), lease(1, 7, 0), lease(1, 8, 3)];
        let id = |now| gives_way_to_holder(&leases, now).map(|lease| lease.id);
        assert_eq!([LEASE_NS + 4, LEASE_NS + 5, u64::MAX].map(id), [None, Some(5), Some(7)]);
    }

    #[test]
    fn an_uploader_with_few_leases_keeps_its_frames_in_a_flood() {
        let of_each = MAX_LEASES_A_HOLDER as u32;
        let flooders = MAX_LEASES / of_each - 1;
        let flood = |used: u64| (0..flooders * of_each).map(move |i| lease(i % flooders, used, 1));
        let few = |used: u64| (0..of_each - 1).map(move |_| lease(9_999, used, 8));
        let last = [lease(9_998, 500, 1)];
        let now = 700 + LEASE_NS;
        let all: Vec<_> = flood(600).chain(few(100)).chain(last.clone()).collect();
        assert_eq!(all.len(), MAX_LEASES as usize);
        assert_eq!(gives_way_to_all(&all, now).map(|lease| lease.id), Some(600));
        let live: Vec<_> = flood(now).chain(few(100)).chain(last).collect();
        assert_eq!(gives_way_to_all(&live, now), None);
    }
}
