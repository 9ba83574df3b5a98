//! Finding models and versions, and writing a model with what finds it.

use ic_stable_structures::Memory;

use crate::catalog::Present;
use crate::models::{
    ModelRow, NameRow, VersionRow, id_key, model_key, owner_key, version_key, versions_prefix,
};
use crate::store::Store;
use crate::{Error, Outcome};

impl<M: Memory + Clone> Store<M> {
    /// Return the row of a model that is not deleted.
    pub(crate) fn model_row(&self, name: &str) -> Option<ModelRow> {
        self.catalog.get(&model_key(name)).filter(|row: &ModelRow| row.latest > 0)
    }

    /// Return a version of a model, the latest by default.
    pub(crate) fn version_row(
        &self,
        name: &str,
        model: &ModelRow,
        version: Option<u32>,
    ) -> Outcome<VersionRow> {
        self.catalog
            .get(&version_key(model.id, version.unwrap_or(model.latest)))
            .ok_or_else(|| Error::NotFound(name.into()))
    }

    /// List the versions of a model, rising.
    pub(crate) fn version_rows(&self, id: u32) -> impl Iterator<Item = VersionRow> {
        self.catalog.walk(&versions_prefix(id), None).map(|(_, row)| row)
    }

    /// Write a model and what finds it by owner and id.
    pub(crate) fn put_model(&mut self, name: &str, row: &ModelRow) {
        self.catalog.put(model_key(name), row);
        self.catalog.put(id_key(row.id), &NameRow(name.into()));
        self.catalog.put(owner_key(row.owner, name), &Present);
    }
}
