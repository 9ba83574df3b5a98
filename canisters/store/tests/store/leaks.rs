//! What a stranger, and an uploader of another model, learn of a private model: nothing.
//!
//! Two nodes are alike but for one private model. Whoever may not read it asks both the same
//! questions, knowing its name, every digest, the lease id and all bytes, and gets the same answers.

use std::fmt::Debug;

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::api::*;

const SECRET: &str = "secret/model";

struct Known {
    checkpoint: Checkpoint,
    lease: u64,
}

/// Make the node with or without the secret: a sealed model, and an upload that is under way.
fn node_with(secret: bool) -> (World, Known) {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    world.grant(Operator, Bob, Role::Uploader, Some("bobs/model")).unwrap();
    world.grant(Operator, Bob, Role::Reader, Some("other")).unwrap();
    let chunks: Vec<_> = (0..4).map(|seed| raw_frame(&some_bytes(seed, 700))).collect();
    let checkpoint = Checkpoint::new(&chunks[..3]);
    let public = Checkpoint::new(&[raw_frame(b"public")]);
    world.sealed(Alice, "public", &public);
    world.publish("public");
    let mut lease = 77;
    if secret {
        world.sealed(Alice, SECRET, &checkpoint);
        lease = world.lease(Alice, SECRET);
        world.put(Alice, lease, &chunks[3..]).unwrap();
    }
    (world, Known { checkpoint, lease })
}

/// Ask everything that a caller can ask; the answers as text.
fn interrogate(world: &mut World, known: &Known, user: User) -> Vec<String> {
    let mut answers = Vec::new();
    let mut note = |what: &str, answer: &dyn Debug| answers.push(format!("{what}: {answer:?}"));
    let context = world.context(user);
    let Known { checkpoint, lease } = known;
    let lease = *lease;
    let frames = checkpoint.all_frames();
    let digests: Vec<_> = frames.iter().map(|frame| hash(frame)).collect();
    let manifest = Hash(checkpoint.manifest());

    for name in [SECRET, "public", "unknown"] {
        note("model", &world.store.model(&context, name));
        note("tensors", &world.store.tensor_list(&context, name, None, &[]));
        note("frames", &world.frames(user, name, checkpoint.manifest(), &[0, 1]));
        for part in [ManifestPart::Head, ManifestPart::Placement, ManifestPart::ChunkPage(0)] {
            let wanted = PartRef { model: name.into(), manifest, part };
            note("manifest", &world.store.get_manifest(&context, &wanted));
        }
        note("grants", &world.store.grants(&context, Some(name)));
        if name != "public" {
            for version in [None, Some(1), Some(2)] {
                let wanted = WitnessRef { model: name.into(), version };
                note("witness", &world.store.witness(&context, &wanted));
            }
        }
    }
    note("models", &world.store.models(&context, None));
    note("models", &world.store.models(&context, Some("secret")));
    note("status", &world.store.status(&context));
    note("grants", &world.store.grants(&context, None));

    note("renew", &world.store.renew_upload(&context, lease));
    note("end", &world.store.end_upload(&context, lease));
    note("put", &world.put(user, lease, &frames));
    note("pin", &world.pin(user, lease, &digests));
    note("missing", &world.missing(user, lease, &digests));
    note("lease frames", &world.store.lease_frames(&context, lease, &[]));
    note("seal", &world.seal(user, lease, &checkpoint.seal(SECRET)));
    note("begin", &world.begin(user, SECRET));
    note("takeover", &world.begin_with(user, SECRET, true));
    note("delete", &world.delete(user, SECRET, None));
    note("delete", &world.store.delete_model(&context, SECRET, None, &[2, 0, 0, 0, 0, 0, 0, 0, 1]));
    note("scrub", &world.store.scrub(&context, &[], 1 << 20));
    note("collect", &world.store.collect_garbage(&context, Force { force: true }, &[]));
    note("grant", &world.grant(user, Bob, Role::Reader, Some(SECRET)));
    let role = Role::Reader;
    let revoke = Revoke { to: Bob.principal(), role, model: Some(SECRET.into()) };
    note("revoke", &world.store.revoke(&context, revoke));
    let transfer = Transfer { model: SECRET.into(), to: Bob.principal() };
    note("transfer", &world.store.transfer_model(&context, transfer));
    let publish = SetVisibility { model: SECRET.into(), visibility: Visibility::Public };
    note("publish", &world.store.set_visibility(&context, publish));

    if user == Bob {
        note("own upload", &upload(world, user, "bobs/model", checkpoint));
    }
    answers
}

/// Upload the secret's own bytes under a name of one's own, asking before and after each step.
fn upload(world: &mut World, user: User, name: &str, checkpoint: &Checkpoint) -> Vec<String> {
    let mut answers = Vec::new();
    let frames = checkpoint.all_frames();
    let digests: Vec<_> = frames.iter().map(|frame| hash(frame)).collect();
    let lease = world.lease(user, name);
    for _ in 0..2 {
        answers.push(format!("{:?}", world.missing(user, lease, &digests)));
        answers.push(format!("{:?}", world.pin(user, lease, &digests)));
        let sealed = world.seal(user, lease, &checkpoint.seal(name));
        answers.push(format!("{:?}", sealed));
        answers.push(format!("{:?}", world.put(user, lease, &frames)));
        let mut described = world.begin(user, name).unwrap();
        described.id = 0;
        answers.push(format!("{described:?}"));
        let listed = world.store.lease_frames(&world.context(user), lease, &[]);
        answers.push(format!("{listed:?}"));
    }
    answers.push(format!("{:?}", world.seal(user, lease, &checkpoint.seal(name))));
    answers.push(format!("{:?}", world.store.models(&world.context(user), None)));
    answers
}

#[test]
fn a_stranger_who_knows_every_digest_learns_nothing() {
    let (mut with, known) = node_with(true);
    let (mut without, _) = node_with(false);
    let told = interrogate(&mut with, &known, Stranger);
    assert_eq!(told, interrogate(&mut without, &known, Stranger));
}

#[test]
fn an_uploader_of_another_model_who_has_all_bytes_learns_nothing() {
    let (mut with, known) = node_with(true);
    let (mut without, _) = node_with(false);
    let told = interrogate(&mut with, &known, Bob);
    assert_eq!(told, interrogate(&mut without, &known, Bob));
    assert!(told.iter().any(|answer| answer.contains("own upload")));
}

#[test]
fn near_the_quota_the_answers_are_the_same_too() {
    for quota in (0..4_000).step_by(100) {
        let answers = [true, false].map(|secret| {
            let (mut world, known) = node_with(secret);
            let (model, role) = (Some("bobs/model"), Role::Uploader);
            world.grant_with(Operator, Bob, role, model, None, Some(quota)).unwrap();
            upload(&mut world, Bob, "bobs/model", &known.checkpoint)
        });
        assert_eq!(answers[0], answers[1], "quota {quota}");
    }
}

#[test]
fn without_cycles_or_memory_the_answers_are_the_same_too() {
    let answers = [true, false].map(|secret| {
        let (mut world, known) = node_with(secret);
        world.cycles = world.reserve;
        upload(&mut world, Bob, "bobs/model", &known.checkpoint)
    });
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_witness_for_a_public_model_names_nothing_of_a_private_one() {
    let (world, known) = node_with(true);
    let wanted = WitnessRef { model: "public".into(), version: None };
    let witness = world.store.witness(&world.context(Stranger), &wanted).unwrap().witness;
    let contains = |needle: &[u8]| witness.windows(needle.len()).any(|window| window == needle);
    assert!(contains(b"public"), "the search works");
    assert!(!contains(SECRET.as_bytes()));
    assert!(!contains(&known.checkpoint.manifest()));
    let salt = [b"salt\0".as_slice(), &1u32.to_be_bytes(), &[1]].concat();
    let salt = datanode_codec::digest::keyed_hash(&SEED, &salt);
    assert!(!contains(&salt), "not even the salt of the model itself");
}

#[test]
fn the_hash_of_a_private_model_cannot_be_guessed_from_its_digests() {
    let (world, known) = node_with(true);
    let wanted = WitnessRef { model: "public".into(), version: None };
    let witness = world.store.witness(&world.context(Stranger), &wanted).unwrap().witness;
    use ic_certification::{fork_hash, labeled_hash, leaf_hash};
    let leaf = [known.checkpoint.manifest(), hash(&known.checkpoint.placement)].concat();
    let version = labeled_hash(&1u32.to_be_bytes(), &leaf_hash(&leaf));
    let latest = labeled_hash(b"latest", &leaf_hash(&1u32.to_be_bytes()));
    let guess = labeled_hash(SECRET.as_bytes(), &fork_hash(&version, &latest));
    assert!(!witness.windows(32).any(|window| window == guess));
}
