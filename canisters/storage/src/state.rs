//! The one store of the canister, and what a message brings along.

use std::cell::RefCell;

use datanode_store::api::Settings;
use datanode_store::{Context, Digest, OpenError, Store};
use ic_cdk::api;
use ic_stable_structures::DefaultMemoryImpl;

/// What a call of another canister pays, cycles: more than executing any method costs. Callers
/// must attach it (the canister setting `minimum_incoming_canister_call_cycles`). The price is the
/// same for all calls but those of `get_frames` (see `get`): one that follows the instructions would
/// tell what is stored.
pub const CALL_CYCLES: u128 = 250_000_000;

/// The store over stable memory.
pub type Node = Store<DefaultMemoryImpl>;

thread_local! {
    static STORE: RefCell<Option<Node>> = const { RefCell::new(None) };
}

/// Create the store of a new canister.
pub fn create(settings: Settings) {
    let seed = Digest::try_from(settings.blinding_seed.as_slice())
        .unwrap_or_else(|_| api::trap("the blinding seed is not 32 bytes long"));
    keep(Store::create(DefaultMemoryImpl::default(), seed));
}

/// Open the store that stable memory holds; trap, and so refuse the upgrade, if it holds none.
pub fn open() {
    keep(Store::open(DefaultMemoryImpl::default()));
}

fn keep(opened: Result<Node, OpenError>) {
    let store = opened.unwrap_or_else(|error| api::trap(error.to_string()));
    STORE.with_borrow_mut(|kept| *kept = Some(store));
    change(publish);
}

/// Run a query.
pub fn read<R>(work: impl FnOnce(&Node) -> R) -> R {
    charge(CALL_CYCLES);
    peek(work)
}

/// Look at the store without charging for it.
pub fn peek<R>(work: impl FnOnce(&Node) -> R) -> R {
    STORE.with_borrow(|store| match store {
        Some(store) => work(store),
        None => api::trap("the store is not open"),
    })
}

/// Run an update.
pub fn write<R>(work: impl FnOnce(&mut Node) -> R) -> R {
    charge(CALL_CYCLES);
    change(work)
}

/// Have a call of another canister pay, and give it the rest back. Messages of users carry no cycles.
pub fn charge(price: u128) {
    if api::in_replicated_execution() {
        let attached = api::msg_cycles_available();
        if attached > 0 {
            api::msg_cycles_accept(attached.min(price));
        }
    }
}

/// Run an update that has paid.
pub fn change<R>(work: impl FnOnce(&mut Node) -> R) -> R {
    STORE.with_borrow_mut(|store| match store {
        Some(store) => work(store),
        None => api::trap("the store is not open"),
    })
}

/// Run an update that may change the hash tree.
pub fn certify<R>(work: impl FnOnce(&mut Node) -> R) -> R {
    write(|store| {
        let result = work(store);
        publish(store);
        result
    })
}

/// Have the subnet certify the root of the hash tree, if it has changed.
fn publish(store: &mut Node) {
    let root = store.take_root();
    #[cfg(feature = "library")]
    let root = beside::around(store, root);
    if let Some(root) = root {
        api::certified_data_set(root);
    }
}

/// Return what the present message brings along.
pub fn context() -> Context {
    let caller = api::msg_caller();
    Context {
        now_ns: api::time(),
        caller,
        controller: api::is_controller(&caller),
        node: api::canister_self(),
        balance_cycles: api::canister_cycle_balance(),
        liquid_cycles: api::canister_liquid_cycle_balance(),
        heap_bytes: heap_bytes(),
        replicated: api::in_replicated_execution(),
    }
}

#[cfg(target_family = "wasm")]
fn heap_bytes() -> u64 {
    core::arch::wasm32::memory_size(0) as u64 * 65_536
}

#[cfg(not(target_family = "wasm"))]
fn heap_bytes() -> u64 {
    0
}

/// What a canister around the store certifies beside it.
#[cfg(feature = "library")]
pub mod beside {
    use std::cell::Cell;

    use datanode_store::Digest;

    use super::Node;

    /// Returns the root of what to certify beside the store, if it is another one than before.
    pub type Beside = fn(&Node) -> Option<Digest>;

    thread_local! {
        static BESIDE: Cell<Beside> = const { Cell::new(|_| None) };
    }

    /// Have a function called after each message that may have changed what the store certifies.
    pub fn register(beside: Beside) {
        BESIDE.set(beside);
    }

    /// Call it now.
    pub fn renew() {
        super::change(super::publish);
    }

    /// Return the root of all that is certified, if it has changed; `root` is that of the store.
    pub(super) fn around(store: &mut Node, root: Option<Digest>) -> Option<Digest> {
        match BESIDE.get()(store) {
            None => root,
            Some(tree) => Some(store.certify_beside(&tree)),
        }
    }
}
