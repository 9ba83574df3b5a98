//! Listing models and proving versions.

use std::collections::BTreeSet;

use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

use crate::api::{Hash, Model, ModelPage, Role, Version, Witness, WitnessRef};
use crate::catalog::Tag;
use crate::grants::named_prefix;
use crate::inner::Inner;
use crate::limits::MODELS_A_PAGE;
use crate::models::{ModelRow, owner_prefix};
use crate::name::check_name;
use crate::{Context, Outcome};

impl<M: Memory + Clone> Inner<M> {
    /// List the models that the caller may read, behind a name, each with its latest version.
    ///
    /// A page considers so many names that are public, the caller's own or granted to it: it may be
    /// short, or empty, although others follow.
    ///
    /// # Errors
    /// The name is none.
    pub fn models(&self, context: &Context, after: Option<&str>) -> Outcome<ModelPage> {
        if let Some(after) = after {
            check_name(after)?;
        }
        let mut names = self.candidates(context, after.map(str::as_bytes));
        let more = names.len() > MODELS_A_PAGE;
        names.truncate(MODELS_A_PAGE);
        let next = names.last().filter(|_| more).cloned();
        let models = names.into_iter().filter_map(|name| {
            let row = self.readable(context, &name).ok()?;
            let latest = self.version_row(&name, &row, None).ok()?.describe();
            Some(describe(name, row, vec![latest]))
        });
        Ok(ModelPage { models: models.collect(), next })
    }

    /// Return the first names behind one that the caller might read, more than fit a page if there
    /// are more. No name of a model that it may not read is looked at, but for expired grants.
    fn candidates(&self, context: &Context, after: Option<&[u8]>) -> Vec<String> {
        let reads_all =
            context.controller || self.live_grant(context, Role::Reader, None).is_some();
        let prefixes = if reads_all {
            vec![Tag::Model.key()]
        } else {
            vec![
                Tag::Public.key(),
                owner_prefix(context.caller),
                named_prefix(context.caller, Role::Reader),
                named_prefix(context.caller, Role::Uploader),
            ]
        };
        let mut names = BTreeSet::new();
        for prefix in prefixes {
            let found = self.catalog.keys_after(&prefix, after).take(MODELS_A_PAGE + 1);
            names.extend(found.filter_map(|name| String::from_utf8(name).ok()));
        }
        names.into_iter().take(MODELS_A_PAGE + 1).collect()
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
        let tree = self.beside.prune(self.tree.witness(&wanted.model, row.id, version.version));
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use candid::Principal;
    use ic_stable_structures::VectorMemory;

    use super::*;
    use crate::api::Visibility;
    use crate::limits::MAX_MODELS;
    use crate::models::VersionRow;

    /// A memory that counts how often it is read.
    #[derive(Clone, Default)]
    struct Counting(VectorMemory, Rc<Cell<u64>>);

    impl Memory for Counting {
        fn size(&self) -> u64 {
            self.0.size()
        }

        fn grow(&self, pages: u64) -> i64 {
            self.0.grow(pages)
        }

        fn read(&self, offset: u64, dst: &mut [u8]) {
            self.1.set(self.1.get() + 1);
            self.0.read(offset, dst);
        }

        fn write(&self, offset: u64, src: &[u8]) {
            self.0.write(offset, src);
        }
    }

    fn who(byte: u8) -> Principal {
        Principal::self_authenticating([byte; 32])
    }

    fn context(caller: Principal) -> Context {
        Context {
            now_ns: 1,
            caller,
            controller: false,
            node: who(0),
            balance_cycles: 0,
            liquid_cycles: 0,
            heap_bytes: 0,
            replicated: true,
        }
    }

    fn add(
        store: &mut Inner<Counting>,
        id: u32,
        owner: Principal,
        visibility: Visibility,
    ) -> String {
        let name = format!("model/{id:05}");
        let (latest, next_version, versions) = (1, 2, 1);
        let sponsor = 0;
        let row = ModelRow { id, owner, visibility, latest, next_version, versions, sponsor };
        let sealed_by = owner;
        let version = VersionRow {
            version: 1,
            seal: id,
            manifest: [0; 32],
            placement: [0; 32],
            chunks: 0,
            frame_bytes: 0,
            raw_bytes: 0,
            sealed_ns: 0,
            sealed_by,
            charged_bytes: 0,
            accounts: Vec::new(),
        };
        store.put_version(id, &version);
        store.put_model(&name, &row);
        name
    }

    /// List all that somebody may read; return how many, and the most reads of a page.
    fn listed(store: &Inner<Counting>, reads: &Cell<u64>, caller: Principal) -> (usize, u64) {
        let (mut count, mut most, mut after) = (0, 0, None);
        loop {
            let before = reads.get();
            let page = store.models(&context(caller), after.as_deref()).unwrap();
            most = most.max(reads.get() - before);
            count += page.models.len();
            after = page.next;
            if after.is_none() {
                return (count, most);
            }
        }
    }

    /// A store of 65,536 private models of Alice and 10,000 tombstones.
    fn crowded(memory: Counting) -> Inner<Counting> {
        let mut store = Inner::create(memory, [0; 32]).unwrap();
        for id in 0..10_000 {
            let name = add(&mut store, id, who(1), Visibility::Public);
            let row = store.model_row(&name).unwrap();
            store.remove_model(&name, &row);
        }
        for id in 10_000..10_000 + MAX_MODELS {
            add(&mut store, id, who(1), Visibility::Private);
        }
        store
    }

    #[test]
    fn a_page_reads_nothing_of_models_that_the_caller_may_not_read_nor_of_tombstones() {
        let memory = Counting::default();
        let reads = memory.1.clone();
        let mut store = crowded(memory);
        let (bob, carol) = (who(2), who(3));
        let (none, empty) = listed(&store, &reads, carol);
        assert_eq!(none, 0);
        for id in 100_000..100_600 {
            let visibility = [Visibility::Private, Visibility::Public][id as usize % 2];
            add(&mut store, id, bob, visibility);
        }
        let (own, full) = listed(&store, &reads, bob);
        assert_eq!(own, 600);
        // A page of readable models is what costs; on the real module a read is some 300
        // instructions.
        assert!(empty * 100 < full, "{empty} reads for nothing, {full} for a page");
        assert_eq!(listed(&store, &reads, carol).0, 300, "the public ones");
    }

    /// `tests/hostile/test_many_models.py` installs the real module over this memory.
    #[test]
    #[ignore = "writes a memory to the file that DATANODE_IMAGE names"]
    fn write_an_image_of_many_models() {
        let memory = Counting::default();
        let mut store = crowded(memory.clone());
        for id in 100_000..100_300 {
            add(&mut store, id, who(2), Visibility::Public);
        }
        store.header.next_model = 200_000;
        store.header.next_seal = 200_000;
        store.header.models = MAX_MODELS;
        store.save();
        std::fs::write(std::env::var("DATANODE_IMAGE").unwrap(), &*memory.0.borrow()).unwrap();
    }
}
