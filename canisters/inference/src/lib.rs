//! The inference canister: a storage canister that also runs a model of the Llama family from the
//! weights that it stores.
//!
//! All methods of the storage canister come with `datanode-storage`. The methods here begin with
//! `model_`, but for the page (`http`); `inference.did` describes all of them. No method awaits but
//! those that generate with a model over several canisters. Every other message is atomic: one that
//! runs out of instructions leaves the model and the conversations as they were.

mod alike;
pub mod api;
mod batch;
mod block;
mod bounded_call;
mod checkpoint;
mod conversation;
mod conversations;
mod driver;
mod foreign_text;
mod generate;
mod group;
mod hop;
mod http;
mod inspect;
mod load;
mod memory;
mod metadata;
mod page;
mod plan;
mod pull;
mod reader;
mod setup;
mod state;
#[cfg(test)]
mod tiny;
mod website;

use candid::Principal;
use datanode_idl::{init, query, update};
use datanode_storage::state::{beside, create, open};
use datanode_store::Error;
use datanode_store::api::{PutResult, Settings};
use ic_cdk::{post_upgrade, pre_upgrade};

use api::*;
use pull::Pull;
use state::{change, look, resume, show};

type Answer<T> = Result<T, Error>;

fn used() -> u64 {
    ic_cdk::api::performance_counter(0)
}

#[init]
fn init(settings: Settings) {
    beside::register(show);
    create(settings);
}

#[pre_upgrade]
fn pre_upgrade() {
    bounded_call::refuse_upgrade();
}

/// Takes no argument; one that comes is ignored.
#[post_upgrade]
fn post_upgrade() {
    beside::register(show);
    open();
}

#[update]
fn model_configure(configuration: Configuration) -> Answer<LoadPlan> {
    change(|reader, context| reader.configure(context, configuration))
}

#[update]
fn model_load(budget: LoadBudget) -> Answer<LoadStep> {
    change(|reader, context| reader.load(context, budget.max_instructions, used))
}

#[query]
fn model_status() -> Answer<ModelStatus> {
    look(|reader, context| {
        inspect::require_readable(reader, context)?;
        Ok(reader.status(context.heap_bytes))
    })
}

#[query]
fn model_tokenize(text: String) -> Answer<Vec<u32>> {
    look(|reader, context| {
        inspect::require_readable(reader, context)?;
        reader.tokenize(&text)
    })
}

#[update]
async fn model_start(prompt: Prompt) -> Answer<Generated> {
    generate(vec![Wanted::Start(prompt)]).await?.one()
}

#[update]
async fn model_continue(wanted: Continue) -> Answer<Generated> {
    generate(vec![Wanted::Continue(wanted)]).await?.one()
}

#[update]
async fn model_generate_many(wanted: Vec<Wanted>) -> Answer<GeneratedMany> {
    Ok(generate(wanted).await?.many())
}

fn generate(wanted: Vec<Wanted>) -> driver::Generating {
    driver::finish(change(|reader, context| reader.generate(context, wanted, used)))
}

/// Compute this canister's blocks for a driver; see `hop`.
#[ic_cdk::update(guard = "require_driver", decode_with = "untouched", encode_with = "untouched")]
fn model_hop(hop: Vec<u8>) -> Vec<u8> {
    resume(|reader| reader.hop(ic_cdk::api::msg_caller(), &hop, used))
}

fn untouched(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// Refuse hops of canisters that are no drivers, and have them pay for it.
fn require_driver() -> Result<(), String> {
    if resume(|reader| reader.admits_driver(ic_cdk::api::msg_caller())) {
        return Ok(());
    }
    datanode_storage::state::read(|_| ());
    Err("only the drivers of this canister's fleet may call model_hop".into())
}

#[query]
fn model_ask(prompt: Prompt) -> Answer<Generated> {
    look(|reader, context| {
        inspect::require_asker(reader, context)?;
        reader.ask(context, &prompt, used)
    })
}

#[query]
fn model_logits(tokens: Tokens) -> Answer<Logits> {
    look(|reader, context| {
        inspect::require_asker(reader, context)?;
        reader.logits(&tokens)
    })
}

/// Fetch frames of another node by a call, and hold them under a lease of the caller.
#[update]
async fn model_pull(pull: Pull) -> Answer<Vec<PutResult>> {
    pull::pull(pull).await
}

#[update]
fn model_end(conversation: u64) -> Answer<()> {
    change(|reader, context| {
        reader.end(context, conversation);
        Ok(())
    })
}

#[update]
fn model_add_runner(runner: Principal) -> Answer<()> {
    change(|reader, context| reader.set_runner(context, runner, true))
}

#[update]
fn model_remove_runner(runner: Principal) -> Answer<()> {
    change(|reader, context| reader.set_runner(context, runner, false))
}

#[query]
fn model_runners() -> Answer<Runners> {
    look(|reader, context| reader.runners(context))
}

#[cfg(test)]
use http::interface::{HttpRequest, HttpResponse};

#[cfg(test)]
candid::export_service!();

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    /// What the code exports beside the methods of the storage canister.
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
