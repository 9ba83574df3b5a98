//! What all exported methods share: `datanode_idl`'s attributes write a method around these.

use std::future::Future;
use std::pin::Pin;

use datanode_idl::{Arguments, Fault, Idl, Items, SKIPPING_QUOTA, Shape};
use ic_cdk::api;
use ic_cdk::futures::internals::{in_executor_context, in_query_executor_context};

/// Run an update that does not await.
#[inline(never)]
pub fn update(method: fn()) {
    in_executor_context(method);
}

/// Run an update that awaits.
#[inline(never)]
pub fn update_async(method: fn() -> Pin<Box<dyn Future<Output = ()>>>) {
    in_executor_context(|| ic_cdk::futures::spawn(method()));
}

/// Run a query.
#[inline(never)]
pub fn query(method: fn()) {
    in_query_executor_context(method);
}

/// Take the arguments of the message; traps if they are not what the method expects.
pub fn arguments<T: Arguments>() -> T {
    if T::SHAPES.is_empty() {
        return T::read(&mut Items::default());
    }
    let bytes = api::msg_arg_data();
    T::read(&mut decode(&bytes, T::SHAPES))
}

#[inline(never)]
fn decode<'a>(bytes: &'a [u8], shapes: &[&'static Shape]) -> Items<'a> {
    datanode_idl::decode(bytes, shapes, SKIPPING_QUOTA).unwrap_or_else(|fault| refuse(fault))
}

fn refuse(fault: Fault) -> ! {
    let mut text = String::from("the argument cannot be read: ");
    text.push_str(fault.text());
    api::trap(text)
}

/// Reply with a value.
pub fn reply<T: Idl>(value: &T) {
    send(datanode_idl::encode(value));
}

#[inline(never)]
fn send(message: Vec<u8>) {
    api::msg_reply(message);
}
