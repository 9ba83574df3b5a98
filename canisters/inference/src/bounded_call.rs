//! Calls of other canisters, each with a bounded wait for its response and repeated while its outcome
//! is unknown: what is called must be safe to repeat.
//!
//! The response stays where the system keeps it and is read from there, in the callback: a copy of
//! 2 MB would touch 31 pages of the heap, each of which costs 160,000 instructions.
//!
//! A response may come to another module than the one that made the call: if the canister is upgraded
//! before, without being stopped. The module refuses that (`refuse_upgrade`). Where it cannot, a
//! callback that finds no call of its number traps: it carries no address of a heap that is gone.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use candid::Principal;
use datanode_storage::argument::Received;
use datanode_storage::state::CALL_CYCLES;
use datanode_store::Error;
use ic_cdk::api::{self, CanisterStatusCode};
use ic_cdk_executor::{
    MethodHandle, cancel_all_tasks_attached_to_current_method, extend_current_method_context,
    in_callback_executor_context_for, in_trap_recovery_context_for, is_recovering_from_trap,
};

use crate::foreign_text;

/// How long a call waits for its response, seconds.
const TIMEOUT_S: u32 = 120;

/// How often a call is made whose outcome is unknown, or which the network refuses.
const TRIES: u32 = 5;

/// Codes of rejects after which a call is repeated: `SYS_TRANSIENT` and `SYS_UNKNOWN`.
const REPEATED: [u32; 2] = [2, 6];

/// What is called.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub callee: Principal,
    pub method: &'a str,
    pub argument: &'a [u8],
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The canister has too few cycles for the call.
    LowCycles { balance: u128, needed: u128 },
    /// The callee does not answer.
    NoAnswer(String),
}

impl Failure {
    /// Return it as an error: `name` tells who does not answer, and only controllers are told the
    /// balance.
    pub fn into_error(self, is_controller: bool, name: impl FnOnce(&str) -> Error) -> Error {
        match self {
            Self::LowCycles { balance, needed } => {
                let balance = is_controller.then_some(balance);
                Error::LowCycles { balance, needed }
            }
            Self::NoAnswer(why) => name(&format!("does not answer: {why}")),
        }
    }
}

/// Make a call; `each_try` is told of each time, and `take` reads the response.
///
/// # Errors
/// The canister has too few cycles, or there is no response.
pub async fn call<R>(
    request: Request<'_>,
    mut each_try: impl FnMut(),
    take: impl FnOnce(&Received) -> R,
) -> Result<R, Failure> {
    let mut reason = String::new();
    for _ in 0..TRIES {
        check_balance(request)?;
        each_try();
        match Attempt::new(request).await {
            // Until the next await this is the callback, in which the response can be read.
            Outcome::Replied => return Ok(take(&Received::new())),
            Outcome::Rejected { code, message } => {
                reason = message;
                if !REPEATED.contains(&code) {
                    break;
                }
            }
            Outcome::NotMade => {
                reason = "too many calls are under way".into();
                break;
            }
        }
    }
    Err(Failure::NoAnswer(reason))
}

fn check_balance(Request { method, argument, .. }: Request<'_>) -> Result<(), Failure> {
    let needed = CALL_CYCLES + api::cost_call(method.len() as u64, argument.len() as u64);
    let balance = api::canister_liquid_cycle_balance();
    if balance < needed { Err(Failure::LowCycles { balance, needed }) } else { Ok(()) }
}

/// How one call has ended.
enum Outcome {
    Replied,
    Rejected { code: u32, message: String },
    NotMade,
}

enum State {
    /// The call is not made yet.
    New,
    Waiting {
        waker: Waker,
        method: MethodHandle,
    },
    Ended(Outcome),
    /// Nobody waits any more.
    Left,
}

type Shared = RefCell<State>;

/// Calls whose responses have not come, by the numbers that their callbacks carry.
#[derive(Default)]
struct OpenCalls(Vec<(u32, Rc<Shared>)>);

thread_local! {
    static OPEN: RefCell<OpenCalls> = const { RefCell::new(OpenCalls(Vec::new())) };
}

impl OpenCalls {
    /// Add a call, and return its number. Numbers follow the time, in microseconds: a response that an
    /// earlier module waited for is not taken for that to a new call. They come again after an hour,
    /// when no call is as old.
    fn add(&mut self, now_ns: u64, call: Rc<Shared>) -> u32 {
        let mut number = (now_ns / 1_000) as u32;
        while self.0.iter().any(|(other, _)| *other == number) {
            number = number.wrapping_add(1);
        }
        self.0.push((number, call));
        number
    }

    /// Remove a call; none if there is none of this number.
    fn take(&mut self, number: u32) -> Option<Rc<Shared>> {
        let at = self.0.iter().position(|(other, _)| *other == number)?;
        Some(self.0.swap_remove(at).1)
    }
}

fn take_open(number: usize) -> Option<Rc<Shared>> {
    OPEN.with_borrow_mut(|open| open.take(number as u32))
}

/// Refuse an upgrade while calls wait for their responses: callbacks are positions in a table of this
/// module's functions, and other ones stand there in another module. A stopped canister has none.
pub fn refuse_upgrade() {
    let is_waiting = OPEN.with_borrow(|open| !open.0.is_empty());
    if is_waiting && api::canister_status() != CanisterStatusCode::Stopped {
        api::trap(IN_FLIGHT);
    }
}

const IN_FLIGHT: &str = "calls of other canisters are in flight, whose responses must not come to \
    another module: stop the canister, upgrade it, then start it";
const FORMER_CALL: &str = "the canister was upgraded while this call waited for another canister: \
    load the model, then ask again";

/// One call.
struct Attempt<'a> {
    request: Request<'a>,
    state: Rc<Shared>,
}

impl<'a> Attempt<'a> {
    fn new(request: Request<'a>) -> Self {
        Self { request, state: Rc::new(RefCell::new(State::New)) }
    }

    /// Make the call; tell whether it is under way.
    fn perform(&self) -> bool {
        let Request { callee, method, argument } = self.request;
        let number =
            OPEN.with_borrow_mut(|open| open.add(api::time(), self.state.clone())) as usize;
        // SAFETY: both callbacks take any number.
        unsafe {
            ic0::call_new(callee.as_slice(), method, respond, number, respond, number);
            ic0::call_on_cleanup(clean_up, number);
        }
        ic0::call_data_append(argument);
        ic0::call_cycles_add128(CALL_CYCLES);
        ic0::call_with_best_effort_response(TIMEOUT_S);
        let is_made = ic0::call_perform() == 0;
        if !is_made {
            take_open(number);
        }
        is_made
    }
}

impl Future for Attempt<'_> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let waker = context.waker().clone();
        let method = match self.state.replace(State::Left) {
            State::Ended(outcome) => return Poll::Ready(outcome),
            State::Waiting { method, .. } => method,
            State::New if self.perform() => extend_current_method_context(),
            State::New => return Poll::Ready(Outcome::NotMade),
            State::Left => api::trap("a call was awaited twice"),
        };
        self.state.replace(State::Waiting { waker, method });
        Poll::Pending
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if is_recovering_from_trap() {
            self.state.replace(State::Left);
        }
    }
}

/// Callback of a reply and of a reject.
extern "C" fn respond(number: usize) {
    let Some(state) = take_open(number) else { api::trap(FORMER_CALL) };
    let outcome = match api::msg_reject_code() {
        0 => Outcome::Replied,
        code => Outcome::Rejected { code, message: reject_message() },
    };
    let State::Waiting { waker, method } = state.replace(State::Ended(outcome)) else {
        api::trap("the message that made this call has ended");
    };
    in_callback_executor_context_for(method, || waker.wake());
}

/// Read as much of a reject's text as is kept.
fn reject_message() -> String {
    let length = ic0::msg_reject_msg_size();
    let mut start = vec![0; length.min(foreign_text::MAX_BYTES)];
    ic0::msg_reject_msg_copy(&mut start, 0);
    foreign_text::bounded(&start, length)
}

/// Called when `respond` has trapped: the message ends, and what it holds is dropped.
extern "C" fn clean_up(number: usize) {
    let Some(state) = take_open(number) else { return };
    if let State::Waiting { method, .. } = state.replace(State::Left) {
        in_trap_recovery_context_for(method, cancel_all_tasks_attached_to_current_method);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_find_their_own_call_and_no_call_of_another_module() {
        let call = || Rc::new(RefCell::new(State::New));
        let now_ns = u64::from(u32::MAX) * 1_000;
        let (calls, mut open) = ([call(), call(), call()], OpenCalls::default());
        let numbers = calls.each_ref().map(|call| open.add(now_ns, call.clone()));
        assert_eq!(numbers, [u32::MAX, 0, 1]);
        let mut later = OpenCalls::default();
        later.add(now_ns + 1_000_000, call());
        for (number, call) in numbers.into_iter().zip(&calls) {
            assert!(later.take(number).is_none());
            assert!(Rc::ptr_eq(&open.take(number).unwrap(), call));
            assert!(open.take(number).is_none());
        }
    }

    fn named(why: &str) -> Error {
        Error::Conflict(format!("aaaaa-aa {why}"))
    }

    #[test]
    fn only_controllers_are_told_the_balance() {
        let low = Failure::LowCycles { balance: 5, needed: 7 };
        let told = |balance| Error::LowCycles { balance, needed: 7 };
        assert_eq!(low.clone().into_error(true, named), told(Some(5)));
        assert_eq!(low.into_error(false, named), told(None));
    }

    #[test]
    fn whoever_does_not_answer_is_named_with_the_reason() {
        let failure = Failure::NoAnswer("it is stopped".into());
        let text = "aaaaa-aa does not answer: it is stopped";
        assert_eq!(failure.into_error(true, named), Error::Conflict(text.into()));
    }
}
