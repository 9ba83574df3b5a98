//! Listing models and proving versions.

use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::api::{Hash, Model, ModelPage, Version, Witness, WitnessRef};
use crate::limits::MODELS_A_PAGE;
use crate::models::ModelRow;
use crate::name::check_name;
use crate::store::Store;
use crate::{Context, Outcome};

impl<M: Memory + Clone> Store<M> {
    /// List the models that the caller may read, behind a name, each with its latest version.
    ///
    /// # Errors
    /// The name is none.
    pub fn models(&self, context: &Context, after: Option<&str>) -> Outcome<ModelPage> {
        if let Some(after) = after {
            check_name(after)?;
        }
        let rows = self.catalog.walk::<ModelRow>(b"m", after.map(str::as_bytes));
        let mut models = rows.filter_map(|(name, row)| {
            let name = String::from_utf8(name).ok().filter(|_| row.latest > 0)?;
            if !self.may_read(context, &name, &row) {
                return None;
            }
            let latest = self.version_row(&name, &row, None).ok()?.describe();
            Some(describe(name, row, vec![latest]))
        });
        let page: Vec<Model> = models.by_ref().take(MODELS_A_PAGE).collect();
        let more = models.next().is_some();
        let next = page.last().filter(|_| more).map(|model| model.name.clone());
        Ok(ModelPage { models: page, next })
    }

    /// Describe a model with all its versions.
    ///
    /// # Errors
    /// The caller may not read it.
    pub fn model(&self, context: &Context, name: &str) -> Outcome<Model> {
        check_name(name)?;
        let row = self.readable(context, name)?;
        let versions = self.version_rows(row.id).map(|version| version.describe()).collect();
        Ok(describe(name.into(), row, versions))
    }

    /// Return the witness of a version, the latest by default; the certificate is not in it yet.
    ///
    /// # Errors
    /// The caller may not read the model, or it has no such version.
    pub fn witness(&self, context: &Context, wanted: &WitnessRef) -> Outcome<Witness> {
        check_name(&wanted.model)?;
        let row = self.readable(context, &wanted.model)?;
        let version = self.version_row(&wanted.model, &row, wanted.version)?;
        let tree = self.tree.witness(&wanted.model, version.version);
        let mut witness = Vec::new();
        ciborium::into_writer(&tree, &mut witness).expect("a vector takes all that is written");
        Ok(Witness {
            certificate: None,
            witness: ByteBuf::from(witness),
            version: version.version,
            manifest: Hash(version.manifest),
            placement: Hash(version.placement),
        })
    }
}

fn describe(name: String, row: ModelRow, versions: Vec<Version>) -> Model {
    let ModelRow { owner, visibility, latest, .. } = row;
    Model { name, owner, visibility, latest, versions }
}
