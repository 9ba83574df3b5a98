//! The reply of `put_frames`, written by hand.
//!
//! An encoder builds the table of all types of the reply anew in every message: crate `candid`'s in
//! 200,000 instructions, ours in fewer. It is always the same; a test compares it with theirs.

use datanode_idl::{encode, number};
use datanode_store::Error;
use datanode_store::api::PutResult;

/// Type table of `variant { Ok : vec PutResult; Err : Error }` and the one value that follows.
const TABLE: &[u8] = b"\
    \x44\x49\x44\x4c\x0e\x6b\x02\xbc\x8a\x01\x01\xc5\xfe\xd2\x01\x03\x6d\x02\x6b\x04\
    \xc5\xe3\xaa\x02\x71\xe3\xa2\xed\x79\x7f\xea\xdc\xbd\xc7\x01\x7f\x99\xbc\xd8\xf4\
    \x03\x7f\x6b\x0c\x9e\x93\xb9\x10\x04\xfa\xab\xc9\x68\x07\xa9\x9a\xfb\x7d\x7f\x95\
    \xef\x9a\xaf\x01\x71\x98\x99\xd2\xec\x01\x09\xd2\x94\x92\xa1\x02\x71\xa9\xc1\x95\
    \xa3\x03\x71\xd6\xe5\xca\xc6\x04\x71\xb8\xc6\xc8\xef\x05\x0b\xb8\xec\xed\xfa\x0b\
    \x0c\xb4\x9c\xfc\xd9\x0c\x7f\x90\x91\xd0\xad\x0d\x0d\x6c\x02\xe6\xfe\x92\x9c\x03\
    \x05\xeb\xd5\x93\x9e\x0d\x79\x6d\x06\x6d\x7b\x6c\x02\xec\xde\x9c\xb2\x0c\x08\xb0\
    \xbe\xf7\xda\x0d\x78\x6e\x68\x6c\x02\x9c\xba\xb6\x9c\x02\x0a\xb5\x9c\xa4\xae\x06\
    \x7d\x6e\x7d\x6c\x02\xa7\x9a\xd0\xa0\x01\x78\xa9\xdb\x8e\xea\x02\x78\x6c\x01\x84\
    \xb3\xa8\xcb\x0e\x78\x6c\x02\xcc\x92\xba\x02\x78\xbb\xbe\x84\xa8\x07\x78\x01\x00";
const OK: u8 = 0;
const BAD: u8 = 0;
const STORED: u8 = 1;
const ALREADY_STORED: u8 = 2;
const NO_ROOM: u8 = 3;

/// Encode the answer to `put_frames`.
pub fn put_results(answer: &Result<Vec<PutResult>, Error>) -> Vec<u8> {
    let Ok(results) = answer else {
        return encode(answer);
    };
    let mut reply = TABLE.to_vec();
    reply.push(OK);
    number(&mut reply, results.len() as u64);
    for result in results {
        match result {
            PutResult::Stored => reply.push(STORED),
            PutResult::AlreadyStored => reply.push(ALREADY_STORED),
            PutResult::NoRoom => reply.push(NO_ROOM),
            PutResult::Bad(text) => {
                reply.push(BAD);
                number(&mut reply, text.len() as u64);
                reply.extend_from_slice(text.as_bytes());
            }
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(answer: &Result<Vec<PutResult>, Error>) -> Vec<u8> {
        candid::encode_one(answer).unwrap()
    }

    #[test]
    fn every_answer_is_what_candid_writes() {
        let bad = |length| PutResult::Bad("x".repeat(length));
        let all = vec![
            PutResult::Stored,
            PutResult::AlreadyStored,
            PutResult::NoRoom,
            bad(0),
            bad(127),
            bad(300),
        ];
        let answers = [
            Ok(vec![]),
            Ok(all),
            Ok(vec![PutResult::Stored; 256]),
            Err(Error::LeaseLost),
            Err(Error::TooLarge { limit: 1, got: 2 }),
        ];
        for answer in answers {
            assert_eq!(put_results(&answer), encoded(&answer));
        }
    }
}
