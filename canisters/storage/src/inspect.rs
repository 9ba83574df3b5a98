//! Which ingress messages are let in: updates, and `missing_frames` for its certified answer, from
//! callers whose role could make them succeed.
//!
//! Everything else is refused, queries called as updates included: the canister would pay for them.
//! A malicious replica may skip the inspection, so that every method checks again.

use datanode_store::Need;

use crate::state::{context, read};

/// Return what a method asks of its caller; nothing for what is never let in.
pub fn need(method: &str) -> Option<Need> {
    match method {
        "begin_upload" | "renew_upload" | "end_upload" | "put_frames" | "pin_frames"
        | "missing_frames" | "seal_model" => Some(Need::Uploader),
        "grant" | "revoke" | "transfer_model" | "set_visibility" | "delete_model" => {
            Some(Need::Owner)
        }
        "scrub" | "collect_garbage" => Some(Need::Controller),
        _ => None,
    }
}

#[ic_cdk::inspect_message]
fn inspect_message() {
    let need = need(&ic_cdk::api::msg_method_name());
    if need.is_some_and(|need| read(|store| store.admits(&context(), need))) {
        ic_cdk::api::accept_message();
    }
}

#[cfg(test)]
mod tests {
    use super::need;

    #[test]
    fn updates_and_missing_frames_are_let_in_and_nothing_else() {
        let exported = crate::__export_service();
        let (_, service) = exported.split_once("service : ").unwrap();
        let methods: Vec<_> =
            service.lines().filter_map(|line| line.trim().split_once(" : (")).collect();
        assert_eq!(methods.len(), 23);
        for (name, signature) in methods {
            assert!(signature.ends_with(';'), "{name} is more than a line");
            let query = signature.ends_with(" query;");
            assert_eq!(need(name).is_some(), !query || name == "missing_frames", "{name}");
        }
        assert_eq!(need("http_request"), None);
    }
}
