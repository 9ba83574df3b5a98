//! The one reader of the canister, opened when it is first needed.

use std::cell::RefCell;

use datanode_storage::state::{context, read};
use datanode_store::Context;
use ic_cdk::api;

use crate::memory;
use crate::reader::Reader;
use crate::setup::Setup;

thread_local! {
    static READER: RefCell<Option<Reader>> = const { RefCell::new(None) };
}

fn open() -> Reader {
    Reader::new(memory::load().unwrap_or_else(|error| api::trap(error)))
}

/// Run a query of the reader.
pub fn look<R>(work: impl FnOnce(&Reader, &Context) -> R) -> R {
    READER.with_borrow(|reader| match reader {
        Some(reader) => work(reader, &context()),
        None => work(&open(), &context()),
    })
}

/// Run an update of the reader; what must outlive an upgrade is written down if it changed.
pub fn change<R>(work: impl FnOnce(&mut Reader, &Context) -> R) -> R {
    // A call of another canister pays as for a method of the store.
    read(|_| ());
    READER.with_borrow_mut(|reader| {
        let reader = reader.get_or_insert_with(open);
        let before = reader.setup().clone();
        let result = work(reader, &context());
        if *reader.setup() != before {
            save(reader.setup());
        }
        result
    })
}

/// Go on with an update after a call of another canister, or begin one that changes nothing that
/// must outlive an upgrade.
pub fn resume<R>(work: impl FnOnce(&mut Reader) -> R) -> R {
    READER.with_borrow_mut(|reader| work(reader.get_or_insert_with(open)))
}

fn save(setup: &Setup) {
    memory::save(setup).unwrap_or_else(|error| api::trap(error));
}
