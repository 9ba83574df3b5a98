//! Finding models and versions, and writing a model with what finds it.

use ic_stable_structures::Memory;

use crate::api::Visibility;
use crate::audience::Audience;
use crate::catalog::Present;
use crate::inner::Inner;
use crate::models::{
    ModelRow, Tombstone, VersionNumber, VersionRow, digests_key, manifest_prefix, model_key,
    owner_key, public_key, tombstone_key, version_key, versions_prefix,
};
use crate::row::Reader;
use crate::{Digest, Error, Outcome};

impl<M: Memory + Clone> Inner<M> {
    /// Return the row of a model.
    pub(crate) fn model_row(&self, name: &str) -> Option<ModelRow> {
        self.catalog.get(&model_key(name))
    }

    /// Return the number of the next version of a name, of a deleted one too.
    pub(crate) fn next_version(&self, name: &str) -> u32 {
        let alive = self.model_row(name).map(|row| row.next_version);
        let deleted = || {
            let tombstone: Option<Tombstone> = self.catalog.get(&tombstone_key(name));
            tombstone.map(|row| row.next_version)
        };
        alive.or_else(deleted).unwrap_or(1)
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

    /// Return the number of the version with these digests.
    pub(crate) fn version_of(&self, id: u32, manifest: &Digest, placement: &Digest) -> Option<u32> {
        let number = self.catalog.get(&digests_key(id, manifest, placement));
        number.map(|VersionNumber(number)| number)
    }

    /// Return a version with this manifest.
    pub(crate) fn version_with(&self, id: u32, manifest: &Digest) -> Option<VersionRow> {
        let mut numbers = self.catalog.walk(&manifest_prefix(id, manifest), None);
        let (_, VersionNumber(number)) = numbers.next()?;
        self.catalog.get(&version_key(id, number))
    }

    /// Return the highest version of a model.
    pub(crate) fn last_version(&self, id: u32) -> Option<VersionRow> {
        self.catalog.last(version_key(id, 0)..=version_key(id, u32::MAX))
    }

    /// Write a version and what finds it by its digests.
    pub(crate) fn put_version(&mut self, id: u32, row: &VersionRow) {
        self.catalog.put(version_key(id, row.version), row);
        let key = digests_key(id, &row.manifest, &row.placement);
        self.catalog.put(key, &VersionNumber(row.version));
    }

    /// Remove a version and what finds it.
    pub(crate) fn remove_version(&mut self, id: u32, row: &VersionRow) {
        self.catalog.remove(&version_key(id, row.version));
        self.catalog.remove(&digests_key(id, &row.manifest, &row.placement));
    }

    /// List the versions of a model, rising.
    pub(crate) fn version_rows(&self, id: u32) -> impl Iterator<Item = VersionRow> {
        self.catalog.walk(&versions_prefix(id), None).map(|(_, row)| row)
    }

    /// Return the first version, by model id and number, from these on.
    pub(crate) fn version_from(&self, model: u32, version: u32) -> Option<(u32, VersionRow)> {
        let before = version_key(model, version.saturating_sub(1));
        let (prefix, before) = before.split_at(1);
        let mut rows = self.catalog.walk(prefix, Some(before));
        rows.next().map(|(key, row)| (Reader::new(&key).u32(), row))
    }

    /// Write a model and what finds it by id and by reader.
    pub(crate) fn put_model(&mut self, name: &str, row: &ModelRow) {
        self.catalog.put(model_key(name), row);
        self.audiences.insert(row.id, Audience::of(name, row));
        self.catalog.put(owner_key(row.owner, name), &Present);
        match row.visibility {
            Visibility::Public => self.catalog.put(public_key(name), &Present),
            Visibility::Private => self.catalog.remove(&public_key(name)),
        }
    }

    /// Remove a model and what finds it; its name keeps the number of its next version.
    pub(crate) fn remove_model(&mut self, name: &str, row: &ModelRow) {
        self.catalog.remove(&model_key(name));
        self.audiences.remove(&row.id);
        self.catalog.remove(&owner_key(row.owner, name));
        self.catalog.remove(&public_key(name));
        let next_version = row.next_version;
        self.catalog.put(tombstone_key(name), &Tombstone { next_version });
    }
}
