//! All types that travel are read and written as crate `candid` does.

use datanode_idl::judge::agree;
use datanode_store::Error;
use datanode_store::api::*;

const COUNT: usize = 40;

macro_rules! agree {
    ($($of:ty),*) => {$(
        assert!(agree::<$of>(COUNT) > 0, stringify!($of));
    )*};
}

#[test]
fn arguments_are_read_as_crate_candid_reads_them() {
    agree!(Upload, Seal, FrameRef, PartRef, WitnessRef, Force, Grant, Revoke, Transfer);
    agree!(SetVisibility, Settings, Vec<Hash>, Option<u64>, Option<String>);
}

#[test]
fn replies_are_written_as_crate_candid_writes_them() {
    agree!(Result<Lease, Error>, Result<LeasePage, Error>, Result<Vec<PutResult>, Error>);
    agree!(Result<HeldPage, Error>, Result<Vec<Option<Held>>, Error>, Result<SealStep, Error>);
    agree!(Result<Vec<FrameAnswer>, Error>, Result<Model, Error>, Result<ModelPage, Error>);
    agree!(Result<TensorPage, Error>, Result<Witness, Error>, Result<ScrubPage, Error>);
    agree!(Result<DeletePage, Error>, Result<GarbagePage, Error>, Result<Vec<Grant>, Error>);
    agree!(Result<(), Error>, Status);
}
