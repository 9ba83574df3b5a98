//! Drives a model over several canisters: embedding, first blocks and sampling here, the further
//! blocks by hops.
//!
//! A message computes a batch of positions of its conversations, sends their activations through the
//! other canisters, and so on until its tokens are generated. Between two calls other messages run;
//! whatever they do, a conversation holds a text, and how many of its positions every canister has
//! computed. What a canister lacks is computed again.

use std::future::{Future, ready};
use std::pin::Pin;

use candid::Principal;
use datanode_storage::argument::Argument;
use datanode_store::Error;

use crate::api::Fleet;
use crate::batch::Batch;
use crate::bounded_call::{self, Request};
use crate::group::Group;
use crate::hop::{self, Reply};
use crate::reader::Reader;
use crate::state::resume;

/// Sets conversations free when the message ends, however it does.
struct Busy(Vec<u64>);

impl Drop for Busy {
    fn drop(&mut self) {
        resume(|reader| self.0.iter().for_each(|number| reader.conversations.release(*number)));
    }
}

/// A message that generates.
pub type Generating = Pin<Box<dyn Future<Output = Result<Group, Error>>>>;

/// Finish a message, with calls of other canisters or without. Boxed: the module has it once.
#[inline(never)]
pub fn finish(begun: Result<Group, Error>) -> Generating {
    match begun {
        Ok(group) if group.hops.is_some() => Box::pin(run(group)),
        begun => Box::pin(ready(begun)),
    }
}

/// Generate in conversations, which are busy until this ends.
async fn run(mut group: Group) -> Result<Group, Error> {
    let _busy = Busy(group.numbers());
    while let Some((fleet, mut batch)) = resume(|reader| reader.batch(&mut group, used())) {
        let sent = send(&fleet, &mut batch, &mut group).await;
        resume(|reader| reader.take(&mut group, batch, sent));
    }
    resume(|reader| reader.say(&mut group, used()));
    Ok(group)
}

/// Instructions of this canister in the message so far, in all its parts between calls.
fn used() -> u64 {
    ic_cdk::api::performance_counter(1)
}

/// Send a batch through all canisters.
async fn send(fleet: &Fleet, batch: &mut Batch, group: &mut Group) -> Result<(), Error> {
    for &member in &fleet.blocks {
        pass(member, batch, group).await?;
        if !batch.has_aboard() {
            return Ok(());
        }
    }
    if batch.has_arrived() { Ok(()) } else { Err(incomplete()) }
}

/// Have one canister compute its blocks for a batch, in as many hops as it takes.
async fn pass(member: Principal, batch: &mut Batch, group: &mut Group) -> Result<(), Error> {
    if !batch.is_whole() {
        return Err(member_error(member, "is listed behind the last blocks"));
    }
    loop {
        let argument = batch.encode();
        let (end_block, answers) = match call(member, &argument, group).await? {
            Reply::Outcomes { end_block, answers } => (end_block, answers),
            Reply::Refused(why) => return Err(member_error(member, &why)),
        };
        let instructions = answers.iter().map(|answer| answer.instructions);
        group.elsewhere = instructions.fold(group.elsewhere, u64::saturating_add);
        match batch.take(member, end_block, answers) {
            Some(true) => return Ok(()),
            Some(false) => {}
            None => return Err(member_error(member, NO_SENSE)),
        }
    }
}

const NO_SENSE: &str = "gave no sensible reply";

/// Make one hop: again, unchanged, while its outcome is unknown.
async fn call(member: Principal, argument: &[u8], group: &mut Group) -> Result<Reply, Error> {
    let request = Request { callee: member, method: hop::METHOD, argument };
    let hops = group.hops.get_or_insert_default();
    let each_try = || {
        hops.count += 1;
        hops.bytes += argument.len() as u64;
    };
    let reply = bounded_call::call(request, each_try, Argument::whole).await;
    let reply = reply.map_err(|failure| {
        failure.into_error(group.is_controller, |why| member_error(member, why))
    })?;
    hops.bytes += reply.len() as u64;
    Reply::decode(&reply).ok_or_else(|| member_error(member, NO_SENSE))
}

pub fn member_error(member: Principal, why: &str) -> Error {
    Error::Conflict(format!("member {member} of the fleet {why}"))
}

pub fn incomplete() -> Error {
    Error::Conflict("the members that are configured do not have all blocks of the model".into())
}

impl Reader {
    /// Tell whether the model that is configured is on several canisters, driven by this one.
    pub fn is_driver(&self) -> bool {
        self.fleet().is_some_and(|fleet| !fleet.blocks.is_empty())
    }

    /// Compute a hop of a driver.
    pub fn hop(&mut self, caller: Principal, argument: &[u8], used: impl Fn() -> u64) -> Vec<u8> {
        let Some((head, mut legs)) = hop::decode(argument) else {
            let why = "does not know this kind of hop: upgrade all members to one release";
            return Reply::refused(why);
        };
        let Some(configuration) = self.configuration() else { return Reply::refused(NOT_LOADED) };
        let whole = configuration.fleet.as_ref().map(|fleet| fleet.whole.as_slice());
        if configuration.mode != head.mode || whole != Some(&head.whole) {
            return Reply::refused("is configured with another version or mode of the model");
        }
        let Ok(loaded) = self.stage.loaded() else { return Reply::refused(NOT_LOADED) };
        let hidden = loaded.model.config().hidden;
        if loaded.part.first_block != head.first_block as usize {
            return Reply::refused("has other blocks than the driver expects");
        }
        if legs.iter().any(|leg| leg.activations.len() != leg.positions * hidden) {
            return Reply::refused("got activations of another size");
        }
        self.guests.answer(caller, &mut legs, loaded, &used)
    }

    /// Tell whether a canister may have hops computed.
    pub fn admits_driver(&self, caller: Principal) -> bool {
        self.fleet().is_some_and(|fleet| fleet.drivers.contains(&caller))
    }

    pub(crate) fn fleet(&self) -> Option<&Fleet> {
        self.configuration().and_then(|configuration| configuration.fleet.as_ref())
    }
}

const NOT_LOADED: &str = "has not loaded its part: run `datanode load` on the fleet";
