//! Who reads a model without a grant, by the model's id, on the heap.
//!
//! References name models by id. One catalog look-up for each would make a frame that many models
//! refer to cost more than one that none refers to.

use std::collections::BTreeMap;

use candid::Principal;
use ic_stable_structures::Memory;

use crate::api::Visibility;
use crate::catalog::{Catalog, Tag};
use crate::models::ModelRow;

/// Who reads a model.
pub struct Audience {
    pub name: String,
    pub owner: Principal,
    pub public: bool,
}

impl Audience {
    pub fn of(name: &str, row: &ModelRow) -> Self {
        let public = row.visibility == Visibility::Public;
        Self { name: name.into(), owner: row.owner, public }
    }
}

/// Read the audiences of all models.
pub fn all<M: Memory>(catalog: &Catalog<M>) -> BTreeMap<u32, Audience> {
    let rows = catalog.walk::<ModelRow>(&Tag::Model.key(), None);
    let named = rows.filter_map(|(name, row)| Some((String::from_utf8(name).ok()?, row)));
    named.map(|(name, row)| (row.id, Audience::of(&name, &row))).collect()
}
