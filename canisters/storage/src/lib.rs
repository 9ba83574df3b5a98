//! The storage canister: exports around `datanode-store`.
//!
//! No method awaits, so that every message is atomic. `put_frames` and `get_frames` are exported in
//! `put` and `get`, since frames are never in the heap as a whole; `storage.did` describes all of them.

extern crate self as datanode_storage;

pub mod argument;
pub mod export;
pub mod get;
pub mod inspect;
mod metadata;
pub mod put;
pub mod reply;
pub mod state;

use datanode_idl::{query, update};
use datanode_store::Error;
use datanode_store::api::*;
use serde_bytes::ByteBuf;

use state::{certify, context, read, write};

type Answer<T> = Result<T, Error>;

#[cfg(not(feature = "library"))]
#[datanode_idl::init]
fn init(settings: Settings) {
    state::create(settings);
}

#[cfg(not(feature = "library"))] // takes no argument; one that comes is ignored
#[ic_cdk::post_upgrade]
fn post_upgrade() {
    state::open();
}

#[update]
fn begin_upload(upload: Upload) -> Answer<Lease> {
    write(|store| store.begin_upload(&context(), upload))
}

#[update]
fn renew_upload(lease: u64) -> Answer<Lease> {
    write(|store| store.renew_upload(&context(), lease))
}

#[update]
fn end_upload(lease: u64) -> Answer<()> {
    write(|store| store.end_upload(&context(), lease))
}

#[query]
fn leases(after: Option<u64>) -> Answer<LeasePage> {
    read(|store| store.leases(&context(), after))
}

#[update]
fn end_lease(lease: u64) -> Answer<()> {
    write(|store| store.end_lease(&context(), lease))
}

#[update]
fn pin_frames(lease: u64, frames: Vec<Hash>) -> Answer<ByteBuf> {
    write(|store| store.pin_frames(&context(), lease, &frames))
}

#[query]
fn lease_frames(lease: u64, cursor: ByteBuf) -> Answer<HeldPage> {
    read(|store| store.lease_frames(&context(), lease, &cursor))
}

#[query]
fn missing_frames(lease: u64, frames: Vec<Hash>) -> Answer<ByteBuf> {
    read(|store| store.missing_frames(&context(), lease, &frames))
}

#[query]
fn find_contents(contents: Vec<Hash>) -> Answer<Vec<Option<Held>>> {
    read(|store| store.find_contents(&context(), &contents))
}

#[update]
fn seal_model(lease: u64, seal: Seal, cursor: ByteBuf) -> Answer<SealStep> {
    certify(|store| store.seal_model(&context(), lease, seal, &cursor))
}

#[query]
fn get_manifest(wanted: PartRef) -> Answer<ByteBuf> {
    read(|store| store.get_manifest(&context(), &wanted))
}

#[query]
fn models(after: Option<String>) -> Answer<ModelPage> {
    read(|store| store.models(&context(), after.as_deref()))
}

#[query]
fn model(name: String) -> Answer<Model> {
    read(|store| store.model(&context(), &name))
}

#[query]
fn tensor_list(name: String, version: Option<u32>, cursor: ByteBuf) -> Answer<TensorPage> {
    read(|store| store.tensor_list(&context(), &name, version, &cursor))
}

#[query]
fn witness(wanted: WitnessRef) -> Answer<Witness> {
    let certificate = ic_cdk::api::data_certificate().map(ByteBuf::from);
    let witness = read(|store| store.witness(&context(), &wanted))?;
    Ok(Witness { certificate, ..witness })
}

#[update]
fn scrub(cursor: ByteBuf, max_bytes: u64) -> Answer<ScrubPage> {
    write(|store| store.scrub(&context(), &cursor, max_bytes))
}

#[update]
fn delete_model(name: String, version: Option<u32>, cursor: ByteBuf) -> Answer<DeletePage> {
    certify(|store| store.delete_model(&context(), &name, version, &cursor))
}

#[update]
fn collect_garbage(force: Force, cursor: ByteBuf) -> Answer<GarbagePage> {
    write(|store| store.collect_garbage(&context(), force, &cursor))
}

#[update]
fn grant(grant: Grant) -> Answer<()> {
    write(|store| store.grant(&context(), grant))
}

#[update]
fn revoke(revoke: Revoke) -> Answer<()> {
    write(|store| store.revoke(&context(), revoke))
}

#[query]
fn grants(model: Option<String>) -> Answer<Vec<Grant>> {
    read(|store| store.grants(&context(), model.as_deref()))
}

#[update]
fn transfer_model(transfer: Transfer) -> Answer<()> {
    write(|store| store.transfer_model(&context(), transfer))
}

#[update]
fn set_visibility(change: SetVisibility) -> Answer<()> {
    certify(|store| store.set_visibility(&context(), change))
}

#[query]
fn status() -> Status {
    read(|store| store.status(&context()))
}

/// `put_frames` as Candid sees it; the real one is exported in `put`.
#[cfg(test)]
#[allow(dead_code)] // only its signature is read
#[candid::candid_method(update, rename = "put_frames")]
fn put_frames_entry(lease: u64, frames: Vec<ByteBuf>) -> Answer<Vec<PutResult>> {
    let _ = (lease, frames);
    Ok(Vec::new())
}

/// `get_frames` as Candid sees it; the real one is exported in `get`.
#[cfg(test)]
#[allow(dead_code)] // only its signature is read
#[candid::candid_method(query, rename = "get_frames")]
fn get_frames_entry(wanted: FrameRef) -> Answer<Vec<FrameAnswer>> {
    let _ = wanted;
    Ok(Vec::new())
}

#[cfg(test)]
candid::export_service!();

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    /// What the code exports, as text; `tests/datanode/node/test_candid_interface.py` compares it with
    /// `storage.did`, so that no parser of Candid is built here (it is half of all crates).
    fn exported() -> String {
        super::__export_service() + "\n"
    }

    fn golden() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/exported.did")
    }

    #[test]
    fn the_exports_are_those_that_are_compared_with_the_did_file() {
        assert_eq!(exported(), std::fs::read_to_string(golden()).unwrap());
    }

    /// Run by hand when the interface changes.
    #[test]
    #[ignore = "writes the text of the exports"]
    fn write_the_exports() {
        std::fs::write(golden(), exported()).unwrap();
    }
}
