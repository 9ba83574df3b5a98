use candid::Principal;
use datanode_llama::{Part, Sampler};
use serde_bytes::ByteBuf;

use super::*;
use crate::api::{Configuration, Mode};
use crate::block::Guests;
use crate::hop::{Reply, decode};
use crate::reader::Stage;
use crate::setup::Setup;
use crate::tiny;

const MEMBER: Principal = Principal::management_canister();
const OWNER: Principal = Principal::anonymous();
const DRIVEN: Part = Part { first_block: 0, end_block: 1, embed: true, head: true };
const REST: Part = Part { first_block: 1, end_block: 3, embed: false, head: false };
const TOKENS: usize = 40;

/// A canister with a part of the tiny model, and the bytes that its caches may take.
fn reader(part: Part, cache_bytes: usize) -> Reader {
    let configuration = Configuration {
        model: String::new(),
        version: None,
        mode: Mode::Exact,
        part: None,
        fleet: (part == DRIVEN).then(|| Fleet {
            whole: ByteBuf::from([0; 32]),
            drivers: Vec::new(),
            blocks: vec![MEMBER],
        }),
    };
    let setup = Setup { configuration: Some(configuration), ..Setup::default() };
    let mut reader = Reader::new(setup);
    let loaded = Loaded { cache_bytes, ..tiny::loaded(part) };
    reader.stage = Stage::Loaded(Box::new(loaded));
    reader
}

fn prompts(count: usize) -> Vec<Vec<u32>> {
    let token = |prompt: usize, at: usize| ((prompt * 7 + at * 5 + at * at) % 15) as u32;
    (0..count).map(|prompt| (0..3 + 5 * prompt).map(|at| token(prompt, at)).collect()).collect()
}

fn begin(reader: &mut Reader, prompts: &[Vec<u32>]) -> Group {
    let mut group = begin_apart(reader, prompts, u64::MAX);
    reader.find_beginnings(&mut group);
    group
}

fn begin_apart(reader: &mut Reader, prompts: &[Vec<u32>], max_instructions: u64) -> Group {
    let hops = reader.is_driver().then(Hops::default);
    let mut group = Group::default();
    (group.owner, group.hops) = (OWNER, hops);
    for prompt in prompts {
        let model = &reader.stage.loaded().unwrap().model;
        let sampler = Sampler::new(0.7, prompt.len() as u64);
        let conversation = Conversation::new(model, prompt.clone(), None, sampler).unwrap();
        let number = reader.conversations.insert(OWNER, 1, conversation);
        let conversation = reader.conversations.begin(OWNER, number).unwrap();
        group.add(Ok(Turn::new(number, conversation, TOKENS as u32, max_instructions)));
    }
    group
}

fn texts(reader: &mut Reader, group: &Group) -> Vec<Vec<u32>> {
    assert!(group.turns.iter().all(Result::is_ok), "{:?}", group.turns);
    let text = |number| reader.conversations.get(OWNER, number).unwrap().tokens.clone();
    group.numbers().into_iter().map(text).collect()
}

/// What each prompt alone gives on one canister.
fn alone(prompts: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let whole = Part { end_block: 3, ..DRIVEN };
    let one = |prompt: &Vec<u32>| {
        let mut reader = reader(whole, usize::MAX);
        let mut group = begin(&mut reader, std::slice::from_ref(prompt));
        reader.generate_here(&mut group, &|| 0);
        texts(&mut reader, &group).remove(0)
    };
    prompts.iter().map(one).collect()
}

/// Drive a group over two canisters; `harm` may change what the other one holds before a hop.
fn drive(
    reader: &mut Reader,
    group: &mut Group,
    member: &mut Loaded,
    harm: impl FnMut(usize, &mut Guests),
) -> usize {
    drive_counting(reader, group, member, harm, |_| ())
}

/// The same; `count` sees the legs of each hop.
fn drive_counting(
    reader: &mut Reader,
    group: &mut Group,
    member: &mut Loaded,
    mut harm: impl FnMut(usize, &mut Guests),
    mut count: impl FnMut(&[Leg]),
) -> usize {
    let (mut guests, mut hops) = (Guests::default(), 0);
    while let Some((_, mut batch)) = reader.batch(group, 0) {
        let loaded = reader.stage.loaded().unwrap();
        let one = loaded.model.cache().bytes_for(2 * TOKENS);
        assert!(reader.conversations.cache_bytes() <= loaded.cache_bytes.saturating_add(one));
        loop {
            hops += 1;
            harm(hops, &mut guests);
            let (head, mut legs) = decode(&batch.encode()).unwrap();
            assert_eq!(head.first_block, 1);
            count(&legs);
            let reply = guests.answer(MEMBER, &mut legs, member, || 0);
            let Some(Reply::Outcomes { end_block, answers }) = Reply::decode(&reply) else {
                panic!()
            };
            if batch.take(MEMBER, end_block, answers).unwrap() {
                break;
            }
        }
        reader.take(group, batch, Ok(()));
    }
    hops
}

#[test]
fn conversations_together_get_what_each_gets_alone() {
    let prompts = prompts(6);
    let expected = alone(&prompts);
    let lengths: Vec<_> = expected.iter().map(Vec::len).collect();
    assert!(lengths.iter().zip(&prompts).all(|(length, prompt)| *length > prompt.len()));
    let mut here = reader(Part { end_block: 3, ..DRIVEN }, usize::MAX);
    let mut group = begin(&mut here, &prompts);
    here.generate_here(&mut group, &|| 0);
    assert_eq!(texts(&mut here, &group), expected);
    let mut driver = reader(DRIVEN, usize::MAX);
    let mut group = begin(&mut driver, &prompts);
    let hops = drive(&mut driver, &mut group, &mut tiny::loaded(REST), |_, _| ());
    assert_eq!(texts(&mut driver, &group), expected);
    // Fewer than a third of those that each alone takes.
    assert!(hops < 3 * TOKENS, "{hops}");
}

#[test]
fn caches_without_room_for_all_give_the_same_texts() {
    let prompts = prompts(5);
    let expected = alone(&prompts);
    let bytes = |part| tiny::loaded(part).model.cache().bytes_for(32);
    let whole = Part { end_block: 3, ..DRIVEN };
    for room in [1, 3, 5] {
        let mut here = reader(whole, room * bytes(whole));
        let mut group = begin(&mut here, &prompts);
        here.generate_here(&mut group, &|| 0);
        assert_eq!(texts(&mut here, &group), expected, "{room}");
        let mut driver = reader(DRIVEN, room * bytes(DRIVEN));
        let mut group = begin(&mut driver, &prompts);
        drive(&mut driver, &mut group, &mut tiny::loaded(REST), |_, _| ());
        assert_eq!(texts(&mut driver, &group), expected, "{room}");
        let mut driver = reader(DRIVEN, usize::MAX);
        let mut group = begin(&mut driver, &prompts);
        let mut member = Loaded { cache_bytes: room * bytes(REST), ..tiny::loaded(REST) };
        let hops = drive(&mut driver, &mut group, &mut member, |_, _| ());
        assert_eq!(texts(&mut driver, &group), expected, "{room}");
        assert!(hops < 12 * TOKENS, "{hops}");
    }
}

/// Prompts of which each begins with the first 20 tokens of the others.
fn alike(count: usize) -> Vec<Vec<u32>> {
    let (beginning, prompts) = (&prompts(5)[4][..20], prompts(count));
    prompts.iter().map(|end| [beginning, &end[..3]].concat()).collect()
}

#[test]
fn prompts_that_begin_alike_are_computed_once_and_give_the_same_texts() {
    let (prompts, whole) = (alike(6), Part { end_block: 3, ..DRIVEN });
    let expected = alone(&prompts);
    let mut positions = [0, 0];
    for (computed, is_shared) in positions.iter_mut().zip([true, false]) {
        let begin = |reader: &mut Reader| {
            if is_shared {
                return begin(reader, &prompts);
            }
            begin_apart(reader, &prompts, u64::MAX)
        };
        let mut here = reader(whole, usize::MAX);
        let mut group = begin(&mut here);
        here.generate_here(&mut group, &|| 0);
        assert_eq!(texts(&mut here, &group), expected);
        let mut driver = reader(DRIVEN, usize::MAX);
        let mut group = begin(&mut driver);
        let mut member = tiny::loaded(REST);
        let count = |legs: &[Leg]| *computed += legs.iter().map(|leg| leg.positions).sum::<usize>();
        drive_counting(&mut driver, &mut group, &mut member, |_, _| (), count);
        assert_eq!(texts(&mut driver, &group), expected);
    }
    assert_eq!(positions[1] - positions[0], 5 * 20);
}

#[test]
fn prompts_that_begin_alike_advance_in_messages_that_end_within_the_beginning() {
    let prompts = alike(3);
    let whole = Part { end_block: 3, ..DRIVEN };
    let mut here = reader(whole, usize::MAX);
    let mut group = begin_apart(&mut here, &prompts, 3);
    here.find_beginnings(&mut group);
    let used = std::cell::Cell::new(0);
    here.generate_here(&mut group, &|| {
        used.set(used.get() + 1);
        used.get()
    });
    for number in group.numbers() {
        let positions = here.conversations.peek(number).unwrap().positions();
        assert!((1..20).contains(&positions), "{positions}");
    }
}

#[test]
fn prompts_that_begin_alike_go_on_without_the_first_one() {
    let prompts = alike(4);
    let expected = alone(&prompts);
    let bytes = |part| tiny::loaded(part).model.cache().bytes_for(32);
    for room in [1, 2, usize::MAX / bytes(REST)] {
        let mut driver = reader(DRIVEN, room * bytes(DRIVEN));
        let mut group = begin(&mut driver, &prompts);
        let mut member = Loaded { cache_bytes: room * bytes(REST), ..tiny::loaded(REST) };
        drive(&mut driver, &mut group, &mut member, |hop, guests| {
            if hop % 60 == 20 {
                *guests = Guests::default();
            }
        });
        assert_eq!(texts(&mut driver, &group), expected, "{room}");
    }
    for mut reader in
        [reader(DRIVEN, usize::MAX), reader(Part { end_block: 3, ..DRIVEN }, usize::MAX)]
    {
        let mut group = begin(&mut reader, &prompts);
        group.fail(0, incomplete());
        group.next();
        if group.hops.is_some() {
            drive(&mut reader, &mut group, &mut tiny::loaded(REST), |_, _| ());
        } else {
            reader.generate_here(&mut group, &|| 0);
        }
        group.turns.remove(0).unwrap_err();
        assert_eq!(texts(&mut reader, &group), expected[1..]);
    }
}

#[test]
fn a_member_that_is_loaded_anew_gets_all_positions_again() {
    let prompts = prompts(4);
    let mut driver = reader(DRIVEN, usize::MAX);
    let mut group = begin(&mut driver, &prompts);
    drive(&mut driver, &mut group, &mut tiny::loaded(REST), |hop, guests| {
        if hop % 60 == 20 {
            *guests = Guests::default();
        }
    });
    assert_eq!(texts(&mut driver, &group), alone(&prompts));
}
