//! Sealing: what it takes, what it refuses, and that it may be interrupted anywhere.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::api::*;
use datanode_store::limits::LEASE_NS;
use datanode_store::{Error, Store};
use serde_bytes::ByteBuf;

fn small(seed: u64) -> Checkpoint {
    let chunks: Vec<_> = (0..3).map(|i| raw_frame(&some_bytes(seed * 10 + i, 900))).collect();
    Checkpoint::new(&chunks)
}

fn refused(change: impl FnOnce(&mut Draft)) -> Error {
    let chunks: Vec<_> = (0..4).map(|i| raw_frame(&some_bytes(i, 900))).collect();
    let files = [
        File { path: "a".into(), chunks: chunks[..1].to_vec() },
        File { path: "b".into(), chunks: chunks[1..].to_vec() },
    ];
    let checkpoint = Checkpoint::with(&files, change);
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    world.put(Operator, lease, &checkpoint.all_frames()).unwrap();
    let error = world.seal(Operator, lease, &checkpoint.seal("llama")).unwrap_err();
    assert_eq!(world.details().models, 0);
    assert_eq!(world.details().task, None);
    assert_eq!(world.begin(Operator, "llama").unwrap().id, lease, "the lease is still there");
    error
}

fn is_bad(change: impl FnOnce(&mut Draft), words: &str) {
    match refused(change) {
        Error::BadManifest(text) => assert!(text.contains(words), "{text:?} has not {words:?}"),
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_sealed_model_can_be_read_and_belongs_to_its_sealer() {
    let mut world = World::new();
    let checkpoint = small(1);
    assert_eq!(world.sealed(Operator, "llama", &checkpoint), 1);
    let model = world.store.model(&world.context(Operator), "llama").unwrap();
    assert_eq!(model.owner, Operator.principal());
    assert_eq!((model.visibility, model.latest), (Visibility::Private, 1));
    let version = &model.versions[0];
    assert_eq!((version.chunks, version.raw_bytes, version.frame_bytes), (3, 2_700, 2_892));
    assert_eq!((version.sealed_ns, version.sealed_by), (world.now_ns, Operator.principal()));
    let frames = world.frames(Operator, "llama", checkpoint.manifest(), &[2, 0]).unwrap();
    let expected = [2, 0].map(|i: usize| FrameAnswer::Frame(checkpoint.chunks[i].clone().into()));
    assert_eq!(frames, expected);
    let parts = [
        (ManifestPart::Head, &checkpoint.head),
        (ManifestPart::ChunkPage(0), &checkpoint.pages[0]),
        (ManifestPart::TensorPage(0), &checkpoint.pages[1]),
        (ManifestPart::Placement, &checkpoint.placement),
    ];
    for (part, frame) in parts {
        let wanted = PartRef { model: "llama".into(), manifest: Hash(checkpoint.manifest()), part };
        assert_eq!(world.store.get_manifest(&world.context(Operator), &wanted).unwrap(), frame);
    }
    let tensors = world.store.tensor_list(&world.context(Operator), "llama", None, &[]).unwrap();
    assert_eq!(tensors.tensors[0].shape, [3, 4]);
    assert_eq!(tensors.next, None);
}

#[test]
fn versions_rise_and_the_same_manifest_is_the_same_version() {
    let mut world = World::new();
    assert_eq!(world.sealed(Operator, "llama", &small(1)), 1);
    assert_eq!(world.sealed(Operator, "llama", &small(2)), 2);
    assert_eq!(world.sealed(Operator, "llama", &small(1)), 1);
    assert_eq!(world.details().leases, 0, "sealing ends the lease");
    // The answer was lost and the lease has ended: the same call gives the same version.
    assert_eq!(world.seal(Operator, 1, &small(2).seal("llama")), Ok(2));
    assert_eq!(world.seal(Alice, 1, &small(2).seal("llama")), Err(Error::LeaseLost));
}

#[test]
fn missing_frames_are_named_and_counted() {
    let mut world = World::new();
    let lease = world.lease(Operator, "llama");
    let checkpoint = small(1);
    let seal = checkpoint.seal("llama");
    let missing = |world: &mut World| match world.seal(Operator, lease, &seal) {
        Err(Error::Incomplete { missing, missing_total }) => {
            assert_eq!(missing.len(), missing_total as usize);
            missing.into_iter().map(|Hash(digest)| digest).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(&mut world), [hash(&checkpoint.placement), hash(&checkpoint.head)]);
    world.put(Operator, lease, &[checkpoint.head.clone(), checkpoint.placement.clone()]).unwrap();
    assert_eq!(missing(&mut world), [hash(&checkpoint.pages[0]), hash(&checkpoint.pages[1])]);
    world.put(Operator, lease, &checkpoint.pages).unwrap();
    world.put(Operator, lease, &checkpoint.chunks[..1]).unwrap();
    assert_eq!(missing(&mut world), [hash(&checkpoint.chunks[1]), hash(&checkpoint.chunks[2])]);
    world.put(Operator, lease, &checkpoint.chunks[1..]).unwrap();
    assert_eq!(world.seal(Operator, lease, &seal), Ok(1));
}

#[test]
fn at_most_1024_missing_frames_are_named_and_all_are_counted() {
    let mut world = World::new();
    let chunks: Vec<_> = (0..1_500).map(|i| raw_frame(&some_bytes(i, 20))).collect();
    let checkpoint = Checkpoint::new(&chunks);
    let lease = world.lease(Operator, "llama");
    world.put(Operator, lease, &checkpoint.parts()).unwrap();
    match world.seal(Operator, lease, &checkpoint.seal("llama")) {
        Err(Error::Incomplete { missing, missing_total }) => {
            assert_eq!((missing.len(), missing_total), (1_024, 1_500));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_frame_is_missing_until_it_is_put_again() {
    let mut world = World::new();
    let checkpoint = small(1);
    let lease = world.lease(Operator, "llama");
    world.put(Operator, lease, &checkpoint.all_frames()).unwrap();
    world.corrupt(&checkpoint.chunks[1]);
    world.corrupt(&checkpoint.head);
    let corrupt = world.store.scrub(&world.context(Operator), &[], u64::MAX).unwrap().corrupt;
    assert_eq!(corrupt.len(), 2);
    let seal = checkpoint.seal("llama");
    let incomplete = |frame: &Vec<u8>| {
        Err(Error::Incomplete { missing: vec![Hash(hash(frame))], missing_total: 1 })
    };
    assert_eq!(world.seal(Operator, lease, &seal), incomplete(&checkpoint.head));
    world.put(Operator, lease, std::slice::from_ref(&checkpoint.head)).unwrap();
    assert_eq!(world.seal(Operator, lease, &seal), incomplete(&checkpoint.chunks[1]));
    world.put(Operator, lease, &checkpoint.chunks).unwrap();
    assert_eq!(world.seal(Operator, lease, &seal), Ok(1));
    assert_eq!(world.details().damaged_frames, 0);
}

#[test]
fn a_damaged_page_that_nobody_has_noticed_is_missing() {
    let mut world = World::new();
    let checkpoint = small(1);
    let lease = world.lease(Operator, "llama");
    world.put(Operator, lease, &checkpoint.all_frames()).unwrap();
    world.corrupt(&checkpoint.pages[0]);
    let seal = checkpoint.seal("llama");
    assert!(matches!(world.seal(Operator, lease, &seal), Err(Error::Incomplete { .. })));
    assert_eq!(world.details().damaged_frames, 1);
}

#[test]
fn a_frame_whose_header_is_damaged_is_missing_and_not_a_bad_manifest() {
    for at in [0, 5, 8, 16] {
        let mut world = World::new();
        let checkpoint = small(1);
        let lease = world.lease(Operator, "llama");
        world.put(Operator, lease, &checkpoint.all_frames()).unwrap();
        let frame = &checkpoint.chunks[1];
        let start = world.memory.find(frame).unwrap();
        world.memory.flip(start + at);
        let seal = checkpoint.seal("llama");
        let missing = vec![Hash(hash(frame))];
        let told = world.seal(Operator, lease, &seal);
        assert_eq!(told, Err(Error::Incomplete { missing, missing_total: 1 }), "byte {at}");
        assert_eq!(world.missing(Operator, lease, &[hash(frame)]), Ok(vec![true]));
        assert_eq!(world.put(Operator, lease, &checkpoint.chunks).unwrap()[1], PutResult::Stored);
        assert_eq!(world.seal(Operator, lease, &seal), Ok(1));
        assert_eq!(world.details().damaged_frames, 0);
    }
}

#[test]
fn a_manifest_that_does_not_fit_is_refused_in_words() {
    is_bad(|draft| draft.files[0].1 += 1, "file a are not as long");
    is_bad(|draft| draft.files[1].1 -= 1, "file b are not as long");
    is_bad(|draft| draft.files[1].2 = 2, "do not follow each other");
    is_bad(|draft| draft.chunk_count = 3, "chunk count");
    is_bad(|draft| draft.tensor_count = 3, "as many tensors");
    is_bad(|draft| draft.tensors[0].4 = 2, "tensor.0 is not within");
    is_bad(|draft| draft.tensors[1].1 = 9, "tensor.1 is not within");
    is_bad(|draft| draft.part_codec = 1, "not a raw frame");
    is_bad(|draft| draft.records[2][0] ^= 1, "record of chunk 2");
    is_bad(|draft| draft.records[2][68] ^= 1, "record of chunk 2");
    is_bad(|draft| draft.records[2][72] ^= 1, "record of chunk 2");
    is_bad(|draft| draft.records[2][73] ^= 1, "record of chunk 2");
    is_bad(|draft| draft.records_a_page = 2, "chunk pages");
    is_bad(|draft| draft.placed_manifest = Some([1; 32]), "another manifest");
    is_bad(|draft| draft.placed_chunks = Some(5), "the same chunks");
    is_bad(|draft| draft.nodes[0] = vec![9], "does not name this node");
    is_bad(|draft| draft.nodes.push(vec![9]), "does not name this node");
}

#[test]
fn an_expected_version_that_would_be_another_is_a_conflict() {
    let mut world = World::new();
    world.sealed(Operator, "llama", &small(1));
    let checkpoint = small(2);
    let lease = world.lease(Operator, "llama");
    world.put(Operator, lease, &checkpoint.all_frames()).unwrap();
    let expect = |version| Seal { expected_version: Some(version), ..checkpoint.seal("llama") };
    assert!(matches!(world.seal(Operator, lease, &expect(1)), Err(Error::Conflict(_))));
    assert!(matches!(world.seal(Operator, lease, &expect(3)), Err(Error::Conflict(_))));
    assert_eq!(world.seal(Operator, lease, &expect(2)), Ok(2));
}

fn many(count: u64) -> Checkpoint {
    let chunks: Vec<_> = (0..count).map(|i| raw_frame(&i.to_le_bytes())).collect();
    Checkpoint::new(&chunks)
}

/// Put a checkpoint whose seal takes several steps.
fn prepared() -> (World, u64, Checkpoint) {
    let mut world = World::new();
    let checkpoint = many(9_000);
    let lease = world.lease(Operator, "llama");
    for frames in checkpoint.all_frames().chunks(200) {
        world.put(Operator, lease, frames).unwrap();
    }
    (world, lease, checkpoint)
}

#[test]
fn a_seal_over_several_pages_survives_an_upgrade_after_each_step() {
    let mut world = World::new();
    let checkpoint = many(16_500);
    assert_eq!(checkpoint.pages.len(), 3, "two chunk pages and one of tensors");
    assert_eq!(world.sealed(Operator, "llama", &checkpoint), 1);
    let last = world.frames(Operator, "llama", checkpoint.manifest(), &[16_499]).unwrap();
    assert_eq!(last, [FrameAnswer::Frame(checkpoint.chunks[16_499].clone().into())]);
}

#[test]
fn a_seal_goes_on_from_another_machine_and_refuses_foreign_cursors() {
    let (mut world, lease, checkpoint) = prepared();
    let seal = checkpoint.seal("llama");
    let context = world.context(Operator);
    let step = world.store.seal_model(&context, lease, seal.clone(), &[]).unwrap();
    let SealStep::Next(cursor) = step else { panic!("{step:?}") };
    assert_eq!(world.collect(true), Ok((0, 0)), "garbage does not wait for a seal");
    let mut foreign = cursor.clone();
    foreign[8] ^= 1;
    for wrong in [foreign.as_slice(), &cursor[1..], &[2; 9], &[0; 32]] {
        let answer = world.store.seal_model(&context, lease, seal.clone(), wrong);
        assert!(matches!(answer, Err(Error::BadRequest(_))), "{answer:?}");
    }
    world.advance(LEASE_NS);
    assert_eq!(world.collect(true), Ok((0, 0)), "an expired lease holds until somebody takes it");
    assert_eq!(world.details().task, Some("1 seals".into()));
    let long = [1; 257];
    let answer = world.store.seal_model(&context, lease, seal.clone(), &long);
    assert_eq!(answer, Err(Error::TooLarge { limit: 256, got: 257 }));
    assert_eq!(world.seal(Operator, lease, &seal), Ok(1));
    let again = world.store.seal_model(&world.context(Operator), lease, seal, &cursor);
    assert_eq!(again, Ok(SealStep::Done(1)), "the last step again");
}

#[test]
fn a_seal_that_is_given_up_leaves_no_reference() {
    let (mut world, lease, checkpoint) = prepared();
    let memory = world.memory.clone();
    for steps in 1.. {
        world.memory = memory.snapshot();
        world.store = Store::open(world.memory.clone()).unwrap();
        let mut cursor = ByteBuf::new();
        for _ in 0..steps {
            let context = world.context(Operator);
            let seal = checkpoint.seal("llama");
            match world.store.seal_model(&context, lease, seal, &cursor).unwrap() {
                SealStep::Next(next) => cursor = next,
                SealStep::Done(_) => {
                    assert!(steps > 2, "it was given up while it made references, too");
                    return;
                }
            }
        }
        world.store.end_upload(&world.context(Operator), lease).unwrap();
        let (freed, _) = world.collect(true).unwrap();
        assert_eq!(freed as usize, checkpoint.all_frames().len());
        let details = world.details();
        assert_eq!((details.frames, details.frame_bytes, details.task), (0, 0, None));
    }
}

#[test]
fn a_checkpoint_may_be_empty() {
    let mut world = World::new();
    let files = [File { path: "empty".into(), chunks: vec![] }];
    let checkpoint = Checkpoint::with(&files, |draft| {
        draft.tensors.clear();
        draft.tensor_count = 0;
    });
    assert_eq!(world.sealed(Operator, "nothing", &checkpoint), 1);
}
