//! Who may do what with a model.

use crate::support::User::*;
use crate::support::manifest::*;
use crate::support::*;
use datanode_store::api::*;
use datanode_store::{Error, Need};

fn one_model() -> (World, Checkpoint) {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    let checkpoint = Checkpoint::new(&[raw_frame(b"weights")]);
    world.sealed(Alice, "llama", &checkpoint);
    (world, checkpoint)
}

fn reads(world: &World, user: User) -> bool {
    world.store.model(&world.context(user), "llama").is_ok()
}

#[test]
fn a_private_model_is_read_by_owner_controller_and_whom_they_grant() {
    let (mut world, _) = one_model();
    assert_eq!(User::ALL.map(|user| reads(&world, user)), [true, true, false, false]);
    world.grant(Alice, Bob, Role::Reader, Some("llama")).unwrap();
    assert!(reads(&world, Bob));
    let revoke = Revoke { to: Bob.principal(), role: Role::Reader, model: Some("llama".into()) };
    world.store.revoke(&world.context(Alice), revoke).unwrap();
    assert!(!reads(&world, Bob));
    world.grant(Operator, Bob, Role::Reader, None).unwrap();
    assert!(reads(&world, Bob));
    assert!(!reads(&world, Stranger));
    world.publish("llama");
    assert!(reads(&world, Stranger));
}

#[test]
fn a_grant_for_all_models_makes_new_ones_and_reads_none() {
    let (mut world, _) = one_model();
    world.grant(Operator, Bob, Role::Uploader, None).unwrap();
    assert!(!reads(&world, Bob));
    assert_eq!(world.begin(Bob, "llama"), Err(Error::Unauthorized));
    assert!(world.begin(Bob, "phi").is_ok());
    world.grant(Alice, Bob, Role::Uploader, Some("llama")).unwrap();
    assert!(reads(&world, Bob));
    assert!(world.begin(Bob, "llama").is_ok());
}

#[test]
fn a_grant_ends_when_it_expires() {
    let (mut world, _) = one_model();
    let expires = Some(world.now_ns + 10);
    world.grant_with(Alice, Bob, Role::Uploader, Some("llama"), expires, None).unwrap();
    let lease = world.lease(Bob, "llama");
    assert!(world.store.admits(&world.context(Bob), Need::Uploader));
    world.advance(10);
    assert!(!reads(&world, Bob));
    assert!(!world.store.admits(&world.context(Bob), Need::Uploader));
    assert_eq!(world.put(Bob, lease, &[]), Err(Error::Unauthorized));
    assert_eq!(world.store.grants(&world.context(Alice), Some("llama")).unwrap().len(), 1);
    let past = world.grant_with(Alice, Bob, Role::Reader, Some("llama"), expires, None);
    assert!(matches!(past, Err(Error::BadRequest(_))));
}

#[test]
fn grants_that_make_no_sense_are_refused() {
    let (mut world, _) = one_model();
    let refused = [
        world.grant(Alice, Stranger, Role::Reader, Some("llama")),
        world.grant_with(Alice, Bob, Role::Reader, Some("llama"), None, Some(1)),
        world.grant(Alice, Bob, Role::Reader, Some("../llama")),
    ];
    assert!(refused.iter().all(|answer| matches!(answer, Err(Error::BadRequest(_)))));
    assert_eq!(world.grant(Alice, Bob, Role::Reader, None), Err(Error::Unauthorized));
    let unknown = Err(Error::NotFound("phi".into()));
    assert_eq!(world.grant(Alice, Bob, Role::Reader, Some("phi")), unknown);
    assert_eq!(world.grant(Operator, Bob, Role::Uploader, Some("phi")), Ok(()));
    assert!(world.begin(Bob, "phi").is_ok(), "a controller grants a name before its model");
}

#[test]
fn a_readable_model_that_is_somebody_elses_is_unauthorized() {
    let (mut world, _) = one_model();
    world.publish("llama");
    for user in [Bob, Stranger] {
        let context = world.context(user);
        let to = Bob.principal();
        let transfer = Transfer { model: "llama".into(), to };
        let hide = SetVisibility { model: "llama".into(), visibility: Visibility::Private };
        let answers = [
            world.store.transfer_model(&context, transfer),
            world.store.set_visibility(&context, hide),
            world.store.delete_model(&context, "llama", None, &[]).map(|_| ()),
            world.store.grants(&context, Some("llama")).map(|_| ()),
            world.grant(user, Bob, Role::Reader, Some("llama")),
            world.store.grants(&context, None).map(|_| ()),
            world.store.scrub(&context, &[], 1).map(|_| ()),
            world.store.collect_garbage(&context, Force { force: false }, &[]).map(|_| ()),
        ];
        assert!(answers.iter().all(|answer| *answer == Err(Error::Unauthorized)), "{answers:?}");
    }
}

#[test]
fn a_transferred_model_has_another_owner() {
    let (mut world, _) = one_model();
    let transfer = Transfer { model: "llama".into(), to: Bob.principal() };
    world.store.transfer_model(&world.context(Alice), transfer).unwrap();
    world.reopen();
    assert!(!reads(&world, Alice) && reads(&world, Bob));
    assert!(world.store.admits(&world.context(Bob), Need::Owner));
    assert!(!world.store.admits(&world.context(Alice), Need::Owner));
    assert_eq!(world.delete(Alice, "llama", None), Err(Error::NotFound("llama".into())));
    let nobody = Transfer { model: "llama".into(), to: Stranger.principal() };
    let refused = world.store.transfer_model(&world.context(Bob), nobody);
    assert!(matches!(refused, Err(Error::BadRequest(_))));
}

#[test]
fn only_who_could_succeed_is_let_in() {
    let (mut world, _) = one_model();
    let admitted =
        |world: &World, need| User::ALL.map(|user| world.store.admits(&world.context(user), need));
    assert_eq!(admitted(&world, Need::Controller), [true, false, false, false]);
    assert_eq!(admitted(&world, Need::Owner), [true, true, false, false]);
    assert_eq!(admitted(&world, Need::Uploader), [true, true, false, false]);
    world.grant(Operator, Bob, Role::Uploader, Some("phi")).unwrap();
    assert_eq!(admitted(&world, Need::Uploader), [true, true, true, false]);
    world.grant(Operator, Bob, Role::Reader, None).unwrap();
    assert_eq!(admitted(&world, Need::Owner), [true, true, false, false]);
}

#[test]
fn models_are_listed_in_pages_of_what_the_caller_may_read() {
    let mut world = World::new();
    world.grant(Operator, Alice, Role::Uploader, None).unwrap();
    let checkpoint = Checkpoint::new(&[raw_frame(b"weights")]);
    for index in 0..300 {
        let user = if index % 3 == 0 { Alice } else { Operator };
        world.sealed(user, &format!("model-{index:03}"), &checkpoint);
    }
    let names = |user, after: Option<&str>| {
        let page = world.store.models(&world.context(user), after).unwrap();
        assert!(page.models.iter().all(|model| model.versions.len() == 1));
        (page.models.into_iter().map(|model| model.name).collect::<Vec<_>>(), page.next)
    };
    let (alices, next) = names(Alice, None);
    assert_eq!((alices.len(), next), (100, None));
    let (first, next) = names(Operator, None);
    assert_eq!((first.len(), next.as_deref()), (256, Some("model-255")));
    let (second, next) = names(Operator, next.as_deref());
    assert_eq!((second.len(), second[0].as_str(), next), (44, "model-256", None));
    assert_eq!(names(Bob, None), (vec![], None));
}
