//! What callers do.

use std::collections::BTreeSet;

use datanode_store::api::Role;
use datanode_store::limits::{GRACE_NS, LEASE_NS};
use proptest::prelude::*;

use super::model::{FRAMES, NAMES};
use crate::support::User::{self, *};

#[derive(Clone, Debug)]
pub enum Act {
    Begin(User, usize, bool),
    End(User, usize),
    Put(User, usize, Vec<u64>),
    Pin(User, usize, BTreeSet<u64>),
    Seal(User, usize, BTreeSet<u64>),
    Delete(User, usize, Option<u32>),
    Collect(bool),
    Grant(User, User, Role, Option<usize>, bool),
    Revoke(User, User, Role, Option<usize>),
    Show(User, usize, bool),
    Transfer(User, usize, User),
    Corrupt(u64),
    Scrub,
    Find,
    Wait(u64),
    Reopen,
}

pub fn acts() -> impl Strategy<Value = Act> {
    let user = || prop::sample::select(User::ALL.to_vec());
    let holder = || prop::sample::select(vec![Operator, Alice, Bob]);
    let name = || 0..NAMES.len();
    let scope = || prop::option::of(0..NAMES.len());
    let role = || prop::sample::select(vec![Role::Uploader, Role::Reader]);
    let frames = || prop::collection::vec(0..FRAMES, 1..5);
    prop_oneof![
        4 => (holder(), name(), any::<bool>()).prop_map(|(u, n, t)| Act::Begin(u, n, t)),
        1 => (holder(), name()).prop_map(|(u, n)| Act::End(u, n)),
        6 => (holder(), name(), frames()).prop_map(|(u, n, f)| Act::Put(u, n, f)),
        3 => (holder(), name(), prop::collection::btree_set(0..FRAMES, 1..5))
            .prop_map(|(u, n, f)| Act::Pin(u, n, f)),
        5 => (holder(), name(), prop::collection::btree_set(0..FRAMES, 1..4))
            .prop_map(|(u, n, f)| Act::Seal(u, n, f)),
        2 => (user(), name(), prop::option::of(1..4u32)).prop_map(|(u, n, v)| Act::Delete(u, n, v)),
        2 => any::<bool>().prop_map(Act::Collect),
        4 => (user(), holder(), role(), scope(), any::<bool>())
            .prop_map(|(u, t, r, s, e)| Act::Grant(u, t, r, s, e)),
        1 => (user(), user(), role(), scope()).prop_map(|(u, t, r, s)| Act::Revoke(u, t, r, s)),
        1 => (user(), name(), any::<bool>()).prop_map(|(u, n, p)| Act::Show(u, n, p)),
        1 => (user(), name(), holder()).prop_map(|(u, n, t)| Act::Transfer(u, n, t)),
        1 => (0..FRAMES).prop_map(Act::Corrupt),
        1 => Just(Act::Scrub),
        3 => Just(Act::Find),
        2 => prop::sample::select(vec![1, LEASE_NS, GRACE_NS]).prop_map(Act::Wait),
        1 => Just(Act::Reopen),
    ]
}
