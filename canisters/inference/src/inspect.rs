//! Who may call what, and which ingress messages are let in.

use datanode_storage::inspect::need;
use datanode_storage::state::{context, peek};
use datanode_store::{Context, Error};

use crate::reader::Reader;
use crate::state::look;

/// What a caller is refused who may not read the configured model, whose name it is not told.
const NOT_READABLE: &str = "the model of this canister";

/// Check that the caller may read the model that is configured, or runs it.
pub fn require_readable(reader: &Reader, context: &Context) -> Result<(), Error> {
    let Some(configuration) = reader.configuration() else { return Ok(()) };
    if reader.may_run(context) {
        return Ok(());
    }
    let model = peek(|store| store.model(context, &configuration.model));
    model.map(|_| ()).map_err(|_| Error::NotFound(NOT_READABLE.into()))
}

/// Check that the caller may ask the model in a query: readers may, since a query is free. Called
/// as an update it costs cycles, so only runners may.
pub fn require_asker(reader: &Reader, context: &Context) -> Result<(), Error> {
    if context.replicated && !reader.may_run(context) {
        return Err(Error::Unauthorized);
    }
    require_readable(reader, context)
}

/// Tell whether an ingress message of a method of this crate could succeed.
fn admits(reader: &Reader, context: &Context, method: &str) -> bool {
    match method {
        "model_configure" | "model_add_runner" | "model_remove_runner" | "model_pull" => {
            context.controller
        }
        "model_load" | "model_start" | "model_continue" | "model_generate_many" | "model_end" => {
            reader.may_run(context)
        }
        _ => false,
    }
}

#[ic_cdk::inspect_message]
fn inspect_message() {
    let method = ic_cdk::api::msg_method_name();
    let is_admitted = match need(&method) {
        Some(need) => peek(|store| store.admits(&context(), need)),
        None => look(|reader, context| admits(reader, context, &method)),
    };
    if is_admitted {
        ic_cdk::api::accept_message();
    }
}
