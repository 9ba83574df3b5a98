//! `http_request`: the status of the canister as a certified page.

use std::cell::RefCell;

use candid::CandidType;
use datanode_idl::{Idl, number};
use datanode_storage::state::peek;
use datanode_store::Digest;
use serde::Deserialize;

use crate::page::{self, Shown};
use crate::website::{EXPRESSION, HEADERS, Website};

/// Type table of `record { body : blob; headers : vec record { text; text }; status_code : nat16 }`,
/// and that there is one value of it.
const TABLE: &[u8] =
    b"DIDL\x04\x6c\x03\xa2\xf5\xed\x88\x04\x01\xc6\xa4\xa1\x98\x06\x02\x9a\xa1\xb2\xf9\x0c\x7a\
    \x6d\x7b\x6d\x03\x6c\x02\x00\x71\x01\x71\x01\x00";

/// What skipping the rest of a request may cost: its headers and its body.
const SKIPPED: usize = 4 << 20;

/// What is read of a request.
#[derive(CandidType, Deserialize, Idl)]
struct Request {
    url: String,
}

/// What the website shows, and its answers.
type Current = (Option<Shown>, Website);

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Show this from now on; returns the root of what certifies it, if it is something else than before.
pub fn show(shown: Option<Shown>) -> Option<Digest> {
    CURRENT.with_borrow_mut(|current| {
        if current.as_ref().is_some_and(|(before, _)| *before == shown) {
            return None;
        }
        let website = Website::new(page::status(shown.as_ref()), page::not_found());
        let root = website.tree().digest();
        *current = Some((shown, website));
        Some(root)
    })
}

/// Answer a request of a browser. What has no certificate, in a call of another canister, has no
/// header that proves it.
#[ic_cdk::query(hidden = true, decode_with = "requested", encode_with = "crate::untouched")]
fn http_request(url: String) -> Vec<u8> {
    datanode_storage::state::read(|_| ());
    CURRENT.with_borrow(|current| {
        let Some((_, website)) = current else { ic_cdk::api::trap("there is no page") };
        let answer = website.answer(&url);
        let proof = ic_cdk::api::data_certificate().map(|certificate| {
            let witness = peek(|store| store.outer_witness(website.tree()));
            ("ic-certificate", answer.proof(&certificate, &witness))
        });
        let proof = proof.iter().map(|(name, value)| (*name, value.as_str()));
        let headers = HEADERS.into_iter().chain([("ic-certificateexpression", EXPRESSION)]);
        let headers: Vec<_> = headers.chain(proof).collect();
        reply(answer.status, &headers, answer.body.as_bytes())
    })
}

fn requested(argument: Vec<u8>) -> String {
    match datanode_idl::decode_one::<Request>(&argument, SKIPPED) {
        Ok(request) => request.url,
        Err(_) => ic_cdk::api::trap("the argument is no request"),
    }
}

/// Encode an answer as Candid; see `datanode_storage::reply` for why by hand.
fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut reply = TABLE.to_vec();
    blob(&mut reply, body);
    number(&mut reply, headers.len() as u64);
    for (name, value) in headers {
        blob(&mut reply, name.as_bytes());
        blob(&mut reply, value.as_bytes());
    }
    reply.extend(status.to_le_bytes());
    reply
}

fn blob(reply: &mut Vec<u8>, bytes: &[u8]) {
    number(reply, bytes.len() as u64);
    reply.extend_from_slice(bytes);
}

/// `http_request` as Candid sees it.
#[cfg(test)]
pub mod interface {
    use candid::{CandidType, candid_method};
    use serde::Deserialize;
    use serde_bytes::ByteBuf;

    #[derive(CandidType, Deserialize)]
    pub struct HttpRequest {
        pub method: String,
        pub url: String,
        pub headers: Vec<(String, String)>,
        pub body: ByteBuf,
        pub certificate_version: Option<u16>,
    }

    #[derive(CandidType, Deserialize)]
    pub struct HttpResponse {
        pub status_code: u16,
        pub headers: Vec<(String, String)>,
        pub body: ByteBuf,
    }

    #[allow(dead_code)] // only its signature is read
    #[candid_method(query, rename = "http_request")]
    fn http_request_entry(_request: HttpRequest) -> HttpResponse {
        unreachable!()
    }
}

#[cfg(test)]
mod tests {
    use super::interface::{HttpRequest, HttpResponse};
    use super::*;
    use serde_bytes::ByteBuf;

    #[test]
    fn a_reply_is_what_candid_writes() {
        for (headers, body) in [(vec![], ""), (vec![("a", "b"), ("c", &"d".repeat(300))], "body")] {
            let owned = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            let (headers_owned, body_owned) = (owned.collect(), ByteBuf::from(body.as_bytes()));
            let response =
                HttpResponse { status_code: 404, headers: headers_owned, body: body_owned };
            let expected = candid::encode_one(response).unwrap();
            assert_eq!(reply(404, &headers, body.as_bytes()), expected);
        }
    }

    #[test]
    fn the_url_of_a_request_is_read() {
        let request = HttpRequest {
            method: "GET".into(),
            url: "/a?b".into(),
            headers: vec![("host".into(), "x".into())],
            body: ByteBuf::new(),
            certificate_version: Some(2),
        };
        assert_eq!(requested(candid::encode_one(request).unwrap()), "/a?b");
    }
}
