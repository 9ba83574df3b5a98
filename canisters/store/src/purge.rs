//! Removing the references of deleted versions and abandoned seals.
//!
//! One pass over all references serves all seals that were doomed when it started. It needs no
//! manifest, so that a damaged one does not keep its frames alive for ever.

use std::collections::BTreeSet;

use candid::Principal;
use ic_stable_structures::Memory;

use crate::catalog::Row;
use crate::held::{Key, split_reference};
use crate::row::{Reader, Writer};
use crate::store::Store;

/// References that are looked at for one unit of work.
const LOOKS_A_UNIT: u32 = 8;

const DOOMED: &[u8] = b"d";
const PASS: &[u8] = b"p";

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

/// The reference that a pass has come to.
struct Pass(Option<Key>);

impl Row for Pass {
    fn encode(&self) -> Vec<u8> {
        self.0.map_or_else(Vec::new, Vec::from)
    }

    fn decode(row: &[u8]) -> Self {
        Self(Key::try_from(row).ok())
    }
}

fn doomed_key(seal: u32) -> Vec<u8> {
    Writer::tagged(DOOMED[0]).u32(seal).finish()
}

impl<M: Memory + Clone> Store<M> {
    /// Have the references of a seal removed.
    pub(crate) fn doom(&mut self, seal: u32, doomed: &Doomed) {
        self.catalog.put(doomed_key(seal), doomed);
    }

    /// List the seals whose references are to be removed.
    pub(crate) fn doomed(&self) -> impl Iterator<Item = (u32, Doomed)> {
        self.catalog.walk(DOOMED, None).map(|(key, row)| (Reader::new(&key).u32(), row))
    }

    /// Do some of the removal; tell whether nothing is left of it.
    pub(crate) fn purge(&mut self, units: &mut u32) -> bool {
        loop {
            let all: Vec<(u32, Doomed)> = self.doomed().collect();
            if all.is_empty() {
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
                self.catalog.remove(&PASS.to_vec());
            }
            if *units == 0 {
                return self.doomed().next().is_none();
            }
        }
    }

    /// Go on with a pass; tell whether it has come to the end.
    fn pass(&mut self, seals: &BTreeSet<u32>, units: &mut u32) -> bool {
        let at: Option<Pass> = self.catalog.get(&PASS.to_vec());
        let mut last = at.and_then(|pass| pass.0);
        let mut removed = Vec::new();
        let mut looks = units.saturating_mul(LOOKS_A_UNIT);
        let mut ended = true;
        for key in self.holds.walk_references(last) {
            if looks < LOOKS_A_UNIT {
                ended = false;
                break;
            }
            looks -= 1;
            last = Some(key);
            if seals.contains(&split_reference(&key).1) {
                looks = looks.saturating_sub(LOOKS_A_UNIT - 1);
                removed.push(key);
            }
        }
        for key in &removed {
            self.holds.unrefer(key);
        }
        *units = if ended { looks / LOOKS_A_UNIT } else { 0 };
        if !ended {
            self.catalog.put(PASS.to_vec(), &Pass(last));
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ic_stable_structures::VectorMemory;

    #[test]
    fn more_seals_than_a_step_can_look_at_are_removed_all_the_same() {
        let mut store = Store::create(VectorMemory::default(), [0; 32]).unwrap();
        let doomed = Doomed::new(1, "llama".into(), Principal::anonymous());
        let units = 64;
        for seal in 1..=units * LOOKS_A_UNIT {
            store.doom(seal, &doomed);
        }
        store.holds.refer(&[7; 32], 1, 1);
        let steps = (0..10).take_while(|_| !store.purge(&mut { units })).count();
        assert!(steps < 10, "it comes to an end");
        assert!(!store.holds.is_referred(&[7; 32]));
    }
}
