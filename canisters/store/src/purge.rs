//! Removing the references of deleted versions and abandoned seals.
//!
//! One pass over all references and contents serves all seals that were doomed when it started. It needs no
//! manifest, so that a damaged one does not keep its frames alive for ever.

use std::collections::BTreeSet;

use candid::Principal;
use ic_stable_structures::Memory;

use crate::catalog::{Row, Tag};
use crate::contents::{self, ContentKey};
use crate::held::{ReferenceKey, split_reference};
use crate::inner::Inner;
use crate::key::Key;
use crate::row::{Reader, Writer};

/// References that are looked at for one unit of work.
const LOOKS_A_UNIT: u32 = 8;

/// A seal whose references are to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    pub model: u32,
    pub name: String,
    /// Who may ask how far the removal is.
    pub owner: Principal,
    /// Whether the running pass removes it.
    active: bool,
}

impl Doomed {
    pub fn new(model: u32, name: String, owner: Principal) -> Self {
        Self { model, name, owner, active: false }
    }
}

impl Row for Doomed {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::default().u32(self.model).short(self.name.as_bytes());
        row.principal(self.owner).u8(self.active.into()).finish()
    }

    fn decode(row: &[u8]) -> Self {
        let mut row = Reader::new(row);
        let doomed = Self {
            model: row.u32(),
            name: row.text(),
            owner: row.principal(),
            active: row.u8() == 1,
        };
        row.end();
        doomed
    }
}

/// Where a pass has come to: it walks the references first, then the contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    References(Option<ReferenceKey>),
    Contents(Option<ContentKey>),
}

const REFERENCES: u8 = 0;
const CONTENTS: u8 = 1;

impl Row for Pass {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::References(key) => Writer::default()
                .u8(REFERENCES)
                .raw(key.as_ref().map_or(&[], |key| &key.0))
                .finish(),
            Self::Contents(key) => {
                let key = key.as_ref().map_or(&[][..], |key| &key.0);
                Writer::default().u8(CONTENTS).raw(key).finish()
            }
        }
    }

    fn decode(row: &[u8]) -> Self {
        match row.split_first() {
            Some((&CONTENTS, key)) => Self::Contents(key.try_into().ok().map(Key)),
            Some((_, key)) => Self::References(key.try_into().ok().map(Key)),
            None => Self::References(None),
        }
    }
}

fn doomed_key(seal: u32) -> Vec<u8> {
    Writer::tagged(Tag::Doomed).u32(seal).finish()
}

impl<M: Memory + Clone> Inner<M> {
    /// Have the references of a seal removed.
    pub(crate) fn doom(&mut self, seal: u32, doomed: &Doomed) {
        self.catalog.put(doomed_key(seal), doomed);
    }

    /// List the seals whose references are to be removed.
    pub(crate) fn doomed(&self) -> impl Iterator<Item = (u32, Doomed)> {
        self.catalog.walk(&Tag::Doomed.key(), None).map(|(key, row)| (Reader::new(&key).u32(), row))
    }

    /// Do some of the removal; tell whether nothing is left of it for seals below `end`.
    pub(crate) fn purge(&mut self, end: u32, units: &mut u32) -> bool {
        loop {
            let all: Vec<(u32, Doomed)> = self.doomed().collect();
            if all.iter().all(|(seal, _)| *seal >= end) {
                return true;
            }
            let active: BTreeSet<u32> =
                all.iter().filter(|(_, row)| row.active).map(|(seal, _)| *seal).collect();
            // Never all of it: however many there are, each step removes something.
            let looked = 1 + all.len() as u32 / LOOKS_A_UNIT;
            *units = units.saturating_sub(looked.min(*units / 2));
            if active.is_empty() {
                for (seal, row) in all {
                    self.doom(seal, &Doomed { active: true, ..row });
                }
            } else if self.pass(&active, units) {
                for seal in &active {
                    self.catalog.remove(&doomed_key(*seal));
                }
                self.catalog.remove(&Tag::Pass.key());
            }
            if *units == 0 {
                return self.doomed().all(|(seal, _)| seal >= end);
            }
        }
    }

    /// Go on with a pass; tell whether it has come to the end.
    fn pass(&mut self, seals: &BTreeSet<u32>, units: &mut u32) -> bool {
        let mut at = self.catalog.get(&Tag::Pass.key()).unwrap_or(Pass::References(None));
        if let Pass::References(last) = at {
            let doomed = |key: &ReferenceKey| seals.contains(&split_reference(key).seal);
            let walked = Walked::over(self.holds.walk_references(last), doomed, units);
            walked.doomed.iter().for_each(|key| self.holds.unrefer(key));
            at = if walked.ended {
                Pass::Contents(None)
            } else {
                Pass::References(walked.last.or(last))
            };
        }
        if let Pass::Contents(last) = at {
            let doomed = |key: &ContentKey| seals.contains(&contents::split(key).1);
            let walked = Walked::over(self.contents.walk(last), doomed, units);
            walked.doomed.iter().for_each(|key| self.contents.remove(key));
            if walked.ended {
                return true;
            }
            at = Pass::Contents(walked.last.or(last));
        }
        self.catalog.put(Tag::Pass.key(), &at);
        false
    }
}

/// What a walk over the keys of a table found.
struct Walked<K> {
    doomed: Vec<K>,
    last: Option<K>,
    ended: bool,
}

impl<K: Copy> Walked<K> {
    /// Look at as many keys as there are units for, and spend them.
    fn over(
        keys: impl Iterator<Item = K>,
        is_doomed: impl Fn(&K) -> bool,
        units: &mut u32,
    ) -> Self {
        let mut looks = units.saturating_mul(LOOKS_A_UNIT);
        let mut walked = Self { doomed: Vec::new(), last: None, ended: true };
        for key in keys {
            if looks < LOOKS_A_UNIT {
                walked.ended = false;
                break;
            }
            looks -= 1;
            walked.last = Some(key);
            if is_doomed(&key) {
                looks = looks.saturating_sub(LOOKS_A_UNIT - 1);
                walked.doomed.push(key);
            }
        }
        *units = if walked.ended { looks / LOOKS_A_UNIT } else { 0 };
        walked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::Sealing;
    use ic_stable_structures::VectorMemory;

    #[test]
    fn more_seals_than_a_step_can_look_at_are_removed_all_the_same() {
        let mut store = Inner::create(VectorMemory::default(), [0; 32]).unwrap();
        let doomed = Doomed::new(1, "llama".into(), Principal::anonymous());
        let units = 64;
        for seal in 1..=units * LOOKS_A_UNIT {
            store.doom(seal, &doomed);
        }
        store.holds.refer(&[7; 32], Sealing { sealer: 1, model: 1, seal: 1 });
        let steps = (0..10).take_while(|_| !store.purge(u32::MAX, &mut { units })).count();
        assert!(steps < 10, "it comes to an end");
        assert!(!store.holds.is_referred(&[7; 32]));
    }
}
