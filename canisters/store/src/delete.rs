//! Deleting a model or one of its versions.

use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::api::DeletePage;
use crate::cursor::{self, Work};
use crate::inner::Inner;
use crate::limits::{GRACE_NS, STEP_UNITS};
use crate::models::{ModelRow, VersionRow};
use crate::name::check_name;
use crate::purge::Doomed;
use crate::regions::Purpose;
use crate::{Context, Error, Outcome};

impl<M: Memory + Clone> Inner<M> {
    /// Delete a model or one version. It is gone for readers with the first step; further steps
    /// remove its references, and what they held falls to garbage.
    ///
    /// A model goes with its last version, and its grants with it. Its name may be used again;
    /// versions go on rising.
    ///
    /// # Errors
    /// The caller is neither owner nor controller, or there is no such version.
    pub fn delete_model(
        &mut self,
        context: &Context,
        name: &str,
        version: Option<u32>,
        cursor: &[u8],
    ) -> Outcome<DeletePage> {
        check_name(name)?;
        let started = cursor::parse_task(Work::Delete, cursor)?.is_some();
        let pending = self.pending(context, name).is_some();
        let model = match self.owned(context, name) {
            _ if started => None,
            Ok(model) => Some(model),
            Err(Error::NotFound(_)) if pending => None,
            Err(error) => return Err(error),
        };
        if model.is_some() || pending {
            self.reserve_tables(Purpose::Free)?;
            if let Some(model) = model {
                self.delete_versions(name, model, version)?;
            }
            self.purge(u32::MAX, &mut { STEP_UNITS });
        }
        Ok(DeletePage { next: self.pending(context, name) })
    }

    fn delete_versions(
        &mut self,
        name: &str,
        model: ModelRow,
        version: Option<u32>,
    ) -> Outcome<()> {
        let rows: Vec<VersionRow> = match version {
            Some(_) => vec![self.version_row(name, &model, version)?],
            None => self.version_rows(model.id).collect(),
        };
        for row in &rows {
            self.remove_version(model.id, row);
            let until_ns = row.sealed_ns.saturating_add(GRACE_NS);
            self.leave(&row.accounts, row.charged_bytes, until_ns);
            self.doom(row.seal, &Doomed::new(model.id, name.into(), model.owner));
        }
        let latest = self.last_version(model.id).map_or(0, |row| row.version);
        let versions = model.versions - rows.len() as u32;
        let model = ModelRow { latest, versions, ..model };
        self.tree.remove(name, &model, rows.iter().map(|row| row.version));
        if latest > 0 {
            self.put_model(name, &model);
            return Ok(());
        }
        self.remove_model(name, &model);
        self.revoke_all(name);
        self.header.models -= 1;
        Ok(())
    }

    /// Return a cursor while references under this name, that the caller may know of, are left.
    fn pending(&self, context: &Context, name: &str) -> Option<ByteBuf> {
        let mut doomed = self.doomed().filter(|(_, row)| row.name == name);
        let knows = |row: &Doomed| context.controller || row.owner == context.caller;
        doomed.any(|(_, row)| knows(&row)).then(|| cursor::task(Work::Delete, 0))
    }
}
