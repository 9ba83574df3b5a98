//! The one reader of the canister, opened when it is first needed.

use std::cell::RefCell;

use datanode_storage::state::{Node, beside, context, peek, read};
use datanode_store::{Context, Digest};
use ic_cdk::api;

use crate::page::Shown;
use crate::reader::Reader;
use crate::setup::Setup;
use crate::{http, memory};

thread_local! {
    static READER: RefCell<Option<Reader>> = const { RefCell::new(None) };
}

fn open() -> Reader {
    peek(open_in)
}

fn open_in(store: &Node) -> Reader {
    Reader::new(memory::load(store).unwrap_or_else(|error| api::trap(error)))
}

/// Show the reader's state on the page; returns the root of what certifies it, if it has changed.
pub fn show(store: &Node) -> Option<Digest> {
    READER.with_borrow_mut(|reader| {
        let reader = reader.get_or_insert_with(|| open_in(store));
        http::show(Shown::of(reader.status(0), |name| store.is_public(name)))
    })
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
    let (result, is_shown) = READER.with_borrow_mut(|reader| {
        let reader = reader.get_or_insert_with(open);
        let (setup, progress) = (reader.setup().clone(), reader.progress());
        let result = work(reader, &context());
        let is_kept = *reader.setup() == setup;
        if !is_kept {
            save(reader.setup());
        }
        (result, is_kept && reader.progress() == progress)
    });
    if !is_shown {
        beside::renew();
    }
    result
}

/// Go on with an update after a call of another canister, or begin one that changes nothing that
/// must outlive an upgrade.
pub fn resume<R>(work: impl FnOnce(&mut Reader) -> R) -> R {
    READER.with_borrow_mut(|reader| work(reader.get_or_insert_with(open)))
}

fn save(setup: &Setup) {
    memory::save(setup).unwrap_or_else(|error| api::trap(error));
}
