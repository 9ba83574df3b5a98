//! Which ingress messages are let in: updates, and queries whose certified answer somebody needs,
//! from callers whose role could make them succeed.
//!
//! Everything else is refused, queries called as updates included: the canister would pay for them.
//! A malicious replica may skip the inspection, so that every method checks again.

use datanode_store::Need;

use crate::state::{context, peek};

/// Return what a method asks of its caller; nothing for what is never let in.
pub fn need(method: &str) -> Option<Need> {
    match method {
        "begin_upload" | "renew_upload" | "end_upload" | "put_frames" | "pin_frames"
        | "missing_frames" | "find_contents" | "lease_frames" | "seal_model" => {
            Some(Need::Uploader)
        }
        "models" | "model" => Some(Need::Reader),
        "grant" | "revoke" | "transfer_model" | "set_visibility" | "delete_model" => {
            Some(Need::Owner)
        }
        "end_lease" | "scrub" | "collect_garbage" => Some(Need::Controller),
        _ => None,
    }
}

/// Let in an ingress message that could succeed.
#[cfg_attr(not(feature = "library"), ic_cdk::inspect_message)]
pub fn inspect_message() {
    let need = need(&ic_cdk::api::msg_method_name());
    if need.is_some_and(|need| peek(|store| store.admits(&context(), need))) {
        ic_cdk::api::accept_message();
    }
}

#[cfg(test)]
mod tests {
    use super::need;

    const CERTIFIED: [&str; 5] =
        ["missing_frames", "find_contents", "lease_frames", "models", "model"];

    #[test]
    fn updates_and_certified_queries_are_let_in_and_nothing_else() {
        let exported = crate::__export_service();
        let (_, service) = exported.split_once("service : ").unwrap();
        let methods: Vec<_> =
            service.lines().filter_map(|line| line.trim().split_once(" : (")).collect();
        assert_eq!(methods.len(), 26);
        for (name, signature) in methods {
            assert!(signature.ends_with(';'), "{name} is more than a line");
            let query = signature.ends_with(" query;");
            assert_eq!(need(name).is_some(), !query || CERTIFIED.contains(&name), "{name}");
        }
        assert_eq!(need("http_request"), None);
    }
}
