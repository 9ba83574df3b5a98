//! Answers over HTTP that gateways verify: response certification, version 2.
//!
//! ```text
//! http_expr
//! +- ""                      the path /
//! |  +- <$>  ..              the status
//! +- <*>     ..              any other path: not found
//!
//! ..  <hash of EXPRESSION> / "" / <hash of the answer> / empty leaf
//! ```
//!
//! A witness shows all of it, so that it proves also that no answer is nearer to a path. The hash of
//! an answer covers its status code, the headers that `EXPRESSION` names, and its body. Source:
//! specification of the HTTP gateway protocol, "Response verification", 2026.

use ic_certification::{HashTree, fork, labeled, leaf};
use sha2::{Digest as _, Sha256};

use datanode_store::Digest;

/// Which headers are certified; the status code and the body always are.
pub const EXPRESSION: &str = "default_certification(ValidationArgs{certification:Certification{\
    no_request_certification:Empty{},response_certification:ResponseCertification{\
    certified_response_headers:ResponseHeaderList{headers:[\"content-type\",\
    \"content-security-policy\",\"x-content-type-options\",\"referrer-policy\",\"cache-control\"]}}}})";

/// What a page may do: show text in its own style.
const POLICY: &str = "default-src 'none'; style-src \
    'sha256-llH8wKLaexz8vHEmSaPqb4lSlEMLyb42Vcp6aa/jWZA='; img-src data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// The certified headers, as they stand in `EXPRESSION`.
pub const HEADERS: [(&str, &str); 5] = [
    ("content-type", "text/html; charset=utf-8"),
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
];

/// A certified answer.
pub struct Answer {
    /// Status code of HTTP.
    pub status: u16,
    /// The page.
    pub body: String,
    /// Below `http_expr`, the path in the tree.
    pub path: &'static [&'static str],
}

/// The answers of the canister.
pub struct Website {
    found: Answer,
    not_found: Answer,
}

impl Website {
    /// Answer with a page at the root, and with another one everywhere else.
    pub fn new(found: String, not_found: String) -> Self {
        Self {
            found: Answer { status: 200, body: found, path: &["", "<$>"] },
            not_found: Answer { status: 404, body: not_found, path: &["<*>"] },
        }
    }

    /// Return the answer to a URL without its host; gateways verify `//` as `/`.
    pub fn answer(&self, url: &str) -> &Answer {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        if path.bytes().all(|byte| byte == b'/') { &self.found } else { &self.not_found }
    }

    /// Return the tree below `http_expr`.
    pub fn tree(&self) -> HashTree {
        let found = labeled("", labeled("<$>", certified(&self.found)));
        fork(found, labeled("<*>", certified(&self.not_found)))
    }
}

fn certified(answer: &Answer) -> HashTree {
    let response = labeled(answer.hash().to_vec(), leaf(Vec::new()));
    labeled(sha256(&[EXPRESSION.as_bytes()]).to_vec(), labeled("", response))
}

impl Answer {
    /// Return what certifies the answer.
    fn hash(&self) -> Digest {
        // A number is hashed as LEB128; codes of 128 to 16383 take two bytes.
        let status = [self.status as u8 | 0x80, (self.status >> 7) as u8];
        let text = HEADERS.iter().map(|(name, value)| (*name, value.as_bytes()));
        let added =
            [("ic-certificateexpression", EXPRESSION.as_bytes()), (":ic-cert-status", &status)];
        let mut fields: Vec<[Digest; 2]> = text
            .chain(added)
            .map(|(name, value)| [sha256(&[name.as_bytes()]), sha256(&[value])])
            .collect();
        fields.sort_unstable();
        let headers = sha256(&[fields.as_flattened().as_flattened()]);
        sha256(&[&headers, &sha256(&[self.body.as_bytes()])])
    }

    /// Return the header that proves the answer.
    pub fn proof(&self, certificate: &[u8], witness: &[u8]) -> String {
        // Self-described CBOR: an array of texts, each shorter than 24 bytes.
        let mut path = vec![0xd9, 0xd9, 0xf7, 0x81 + self.path.len() as u8];
        for part in ["http_expr"].iter().chain(self.path) {
            path.push(0x60 + part.len() as u8);
            path.extend_from_slice(part.as_bytes());
        }
        let [certificate, witness, path] = [certificate, witness, &path].map(base64);
        format!("certificate=:{certificate}:, tree=:{witness}:, expr_path=:{path}:, version=2")
    }
}

fn sha256(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = (bits >> (18 - 6 * at)) as usize % DIGITS.len();
            text.push(if at > three.len() { '=' } else { DIGITS[digit].into() });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{STYLE, not_found, status};

    #[test]
    fn base64_pads_what_is_no_multiple_of_three() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"M", "TQ=="),
            (b"Ma", "TWE="),
            (b"Man", "TWFu"),
            (b"\xff\xfe", "//4="),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn the_policy_names_the_style() {
        assert!(POLICY.contains(&format!("'sha256-{}'", base64(&sha256(&[STYLE.as_bytes()])))));
    }

    #[test]
    fn the_expression_names_the_headers() {
        let names = HEADERS.map(|(name, _)| format!("\"{name}\"")).join(",");
        assert!(EXPRESSION.contains(&format!("headers:[{names}]")));
    }

    #[test]
    fn the_root_has_the_status_and_other_paths_have_none() {
        let website = Website::new(status(None), not_found());
        for url in ["", "/", "/?a=/b", "/#top", "//", "/?/.."] {
            assert_eq!(website.answer(url).status, 200, "{url}");
        }
        for url in ["/index.html", "/a?b", "/%2f"] {
            assert_eq!(website.answer(url).status, 404, "{url}");
        }
        assert_ne!(website.tree().digest(), Website::new("a".into(), "b".into()).tree().digest());
    }
}
