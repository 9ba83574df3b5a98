//! Positions of several conversations on their way through the canisters of a fleet.
//!
//! A conversation travels from canister to canister until the last one has computed it, or one of
//! them cannot. Pure: `driver` makes the calls.

use candid::Principal;

use crate::hop::{Answer, Head, Leg, Outcome};

/// How often a canister may say of a conversation that a later hop was answered before. Once is enough
/// for one that keeps its word; without a bound, another one has the driver pay for hops for ever.
const MAX_STALE: u32 = 4;

/// Largest sequence number that a canister may say it has answered: a conversation that goes on from
/// there does not come to the last number.
const MAX_SEQUENCE: u64 = 1 << 63;

/// The conversations that travel together.
pub struct Batch {
    pub head: Head,
    pub hidden: usize,
    /// Blocks of the model.
    pub blocks: usize,
    pub passengers: Vec<Passenger>,
}

/// A conversation on its way.
pub struct Passenger {
    /// Its turn in the group.
    pub turn: usize,
    /// No hop of the conversation was made before.
    pub is_new: bool,
    /// What the present canister has still to compute.
    leg: Leg,
    first: u32,
    positions: usize,
    /// What the present canister has computed.
    results: Vec<f32>,
    /// Sequence number of the next hop.
    pub sequence: u64,
    /// How often the present canister has called the number stale.
    stale: u32,
    /// Why it travels no further, and whose answer that is.
    arrival: Option<(Outcome, Principal)>,
}

impl Passenger {
    /// Set out with what the driver has computed.
    pub fn new(turn: usize, is_new: bool, leg: Leg) -> Self {
        let (first, positions, sequence) = (leg.position, leg.positions, leg.sequence);
        let (results, stale, arrival) = (Vec::new(), 0, None);
        Self { turn, is_new, leg, first, positions, results, sequence, stale, arrival }
    }

    /// Return the positions of the batch.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Return the position after the last one.
    pub fn end(&self) -> usize {
        self.first as usize + self.positions
    }

    /// Tell whether the result of the last position was wanted.
    pub fn wants_result(&self) -> bool {
        self.leg.wants_result
    }

    /// Tell whether it travels on.
    pub fn is_aboard(&self) -> bool {
        self.arrival.is_none()
    }

    /// Tell whether a canister lacked positions.
    pub fn has_gap(&self) -> bool {
        matches!(self.arrival, Some((Outcome::Gap { .. }, _)))
    }

    /// Return whose answer ended its way.
    pub fn member(&self) -> Option<Principal> {
        self.arrival.as_ref().map(|(_, member)| *member)
    }

    /// Return what came of it, and from whom if it did not come through.
    pub fn outcome(self) -> (Outcome, Option<Principal>) {
        match self.arrival {
            Some((outcome, member)) => (outcome, Some(member)),
            None => (Outcome::Activations(self.leg.activations), None),
        }
    }

    fn is_unserved(&self) -> bool {
        self.is_aboard() && self.leg.positions > 0
    }

    /// Take a canister's answer; tells whether it is one.
    fn take(&mut self, answer: Answer, hidden: usize, member: Principal) -> bool {
        let (computed, leg) = (answer.positions as usize, &mut self.leg);
        match answer.outcome {
            // The last canister gives those of one position or none.
            Outcome::Activations(some)
                if computed <= leg.positions && some.len() <= computed * hidden =>
            {
                self.results.extend(some);
                leg.activations.drain(..computed * hidden);
                leg.positions -= computed;
                leg.position += computed as u32;
            }
            Outcome::Gap { held } if held >= u64::from(leg.position) => return false,
            Outcome::Token(..) if computed != leg.positions => return false,
            Outcome::Activations(_) => return false,
            Outcome::Stale { sequence } if self.stale == MAX_STALE || sequence > MAX_SEQUENCE => {
                return false;
            }
            Outcome::Stale { sequence } => {
                self.stale += 1;
                self.sequence = sequence.saturating_add(1);
            }
            outcome => self.arrival = Some((outcome, member)),
        }
        true
    }
}

impl Batch {
    /// Tell whether any conversation travels on.
    pub fn has_aboard(&self) -> bool {
        self.passengers.iter().any(Passenger::is_aboard)
    }

    /// Tell whether all blocks are computed.
    pub fn has_arrived(&self) -> bool {
        self.head.first_block as usize == self.blocks
    }

    /// Tell whether there are activations of all positions for a further canister.
    pub fn is_whole(&self) -> bool {
        let aboard = self.passengers.iter().filter(|passenger| passenger.is_aboard());
        aboard
            .map(|passenger| &passenger.leg)
            .all(|leg| leg.activations.len() == leg.positions * self.hidden)
    }

    /// Encode a hop, with new sequence numbers.
    pub fn encode(&mut self) -> Vec<u8> {
        for passenger in &mut self.passengers {
            passenger.leg.sequence = passenger.sequence;
            passenger.sequence = passenger.sequence.saturating_add(1);
        }
        let unserved = self.passengers.iter().filter(|passenger| passenger.is_unserved());
        self.head.encode(unserved.map(|passenger| &passenger.leg))
    }

    /// Take a canister's answers to a hop; tells whether it has computed all, or nothing if it gave
    /// no sensible reply.
    pub fn take(
        &mut self,
        member: Principal,
        end_block: u32,
        answers: Vec<Answer>,
    ) -> Option<bool> {
        let unserved = self.passengers.iter_mut().filter(|passenger| passenger.is_unserved());
        let mut answers = answers.into_iter();
        let mut is_useful = false;
        for passenger in unserved {
            let answer = answers.next()?;
            is_useful |= answer.positions > 0 || !matches!(answer.outcome, Outcome::Activations(_));
            if !passenger.take(answer, self.hidden, member) {
                return None;
            }
        }
        if !is_useful || answers.next().is_some() {
            return None;
        }
        if self.passengers.iter().any(Passenger::is_unserved) {
            return Some(false);
        }
        self.head.first_block = end_block;
        for passenger in self.passengers.iter_mut().filter(|passenger| passenger.is_aboard()) {
            let leg = &mut passenger.leg;
            (leg.position, leg.positions) = (passenger.first, passenger.positions);
            leg.activations = std::mem::take(&mut passenger.results);
            passenger.stale = 0;
        }
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Mode;
    use crate::hop;

    const MEMBER: Principal = Principal::management_canister();
    const HIDDEN: usize = 2;

    /// Conversations with some positions each, from position 10 on.
    fn batch(positions: &[usize]) -> Batch {
        let head = Head { mode: Mode::Fast, first_block: 1, whole: [0; 32] };
        let passengers = positions.iter().enumerate().map(|(turn, &positions)| {
            let leg = Leg {
                conversation: turn as u64,
                sequence: 5,
                base: 0,
                position: 10,
                temperature: 0.0,
                sampling: 0,
                wants_result: true,
                positions,
                activations: vec![0.5; positions * HIDDEN],
            };
            Passenger::new(turn, false, leg)
        });
        Batch { head, hidden: HIDDEN, blocks: 3, passengers: passengers.collect() }
    }

    fn sent(batch: &mut Batch) -> Vec<(u64, u64, u32, usize)> {
        let (_, legs) = hop::decode(&batch.encode()).unwrap();
        let told = |leg: &Leg| (leg.conversation, leg.sequence, leg.position, leg.positions);
        legs.iter().map(told).collect()
    }

    fn computed(positions: u32) -> Answer {
        let outcome = Outcome::Activations(vec![1.0; positions as usize * HIDDEN]);
        Answer { positions, instructions: 1, outcome }
    }

    fn other(outcome: Outcome) -> Answer {
        Answer { positions: 0, instructions: 1, outcome }
    }

    #[test]
    fn what_a_canister_left_out_is_sent_again() {
        let mut batch = batch(&[3, 1, 2]);
        assert_eq!(sent(&mut batch), [(0, 5, 10, 3), (1, 5, 10, 1), (2, 5, 10, 2)]);
        let answers = vec![computed(2), computed(1), computed(0)];
        assert_eq!(batch.take(MEMBER, 2, answers), Some(false));
        assert_eq!(sent(&mut batch), [(0, 6, 12, 1), (2, 6, 10, 2)]);
        assert_eq!(batch.take(MEMBER, 2, vec![computed(1), computed(2)]), Some(true));
        assert!(batch.is_whole() && !batch.has_arrived());
        assert_eq!(sent(&mut batch), [(0, 7, 10, 3), (1, 7, 10, 1), (2, 7, 10, 2)]);
        let token = |positions| Answer { positions, ..other(Outcome::Token(7, 8)) };
        assert_eq!(batch.take(MEMBER, 3, vec![token(3), token(1), token(2)]), Some(true));
        assert!(batch.has_arrived() && !batch.has_aboard());
        for passenger in batch.passengers {
            assert_eq!(passenger.outcome(), (Outcome::Token(7, 8), Some(MEMBER)));
        }
    }

    #[test]
    fn what_becomes_of_one_conversation_does_not_stop_the_others() {
        let mut batch = batch(&[1, 1, 1, 1]);
        batch.encode();
        let refused = Outcome::Refused("why".into());
        let answers = vec![
            other(Outcome::Gap { held: 3 }),
            other(refused.clone()),
            other(Outcome::Stale { sequence: 40 }),
            computed(1),
        ];
        assert_eq!(batch.take(MEMBER, 2, answers), Some(false));
        assert_eq!(sent(&mut batch), [(2, 41, 10, 1)]);
        assert_eq!(batch.take(MEMBER, 2, vec![computed(1)]), Some(true));
        assert_eq!(sent(&mut batch).iter().map(|leg| leg.0).collect::<Vec<_>>(), [2, 3]);
        assert!(batch.passengers[0].has_gap());
        let outcomes: Vec<_> = batch.passengers.into_iter().map(Passenger::outcome).collect();
        assert_eq!(outcomes[1], (refused, Some(MEMBER)));
        assert_eq!(outcomes[3], (Outcome::Activations(vec![1.0; HIDDEN]), None));
    }

    #[test]
    fn a_canister_that_calls_every_number_stale_is_given_up() {
        let mut batch = batch(&[1]);
        for sequence in 40..44 {
            batch.encode();
            let answers = vec![other(Outcome::Stale { sequence })];
            assert_eq!(batch.take(MEMBER, 2, answers), Some(false));
        }
        let answers = vec![other(Outcome::Stale { sequence: 99 })];
        assert_eq!(batch.take(MEMBER, 2, answers), None);
        assert_eq!(batch.take(MEMBER, 2, vec![computed(1)]), Some(true));
        batch.encode();
        let answers = vec![other(Outcome::Stale { sequence: 50 })];
        assert_eq!(batch.take(MEMBER, 3, answers), Some(false));
    }

    #[test]
    fn senseless_replies_are_none() {
        for answers in [
            vec![],
            vec![computed(1)],
            vec![computed(1); 3],
            vec![computed(0); 2],
            vec![computed(2), computed(1)],
            vec![computed(1), Answer { positions: 0, ..computed(1) }],
            vec![computed(1), Answer { positions: 1, ..computed(2) }],
            vec![computed(1), other(Outcome::Stale { sequence: MAX_SEQUENCE + 1 })],
            vec![computed(1), other(Outcome::Token(1, 1))],
            vec![computed(1), other(Outcome::Gap { held: 10 })],
        ] {
            let mut batch = batch(&[1, 1]);
            batch.encode();
            assert_eq!(batch.take(MEMBER, 2, answers.clone()), None, "{answers:?}");
        }
    }

    #[test]
    fn the_last_result_is_for_no_further_canister() {
        let mut batch = batch(&[2]);
        batch.encode();
        let answer = Answer { positions: 2, ..computed(1) };
        assert_eq!(batch.take(MEMBER, 3, vec![answer]), Some(true));
        assert!(batch.has_arrived() && batch.has_aboard() && !batch.is_whole());
    }
}
