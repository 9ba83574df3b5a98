//! Keys of fixed length, compared eight bytes at a time.
//!
//! The compiler's comparison of byte arrays stops at the first byte that differs and takes some 26
//! instructions a byte on Wasm: a search among keys with a common prefix would tell by its cost that
//! they are there.

use std::borrow::Cow;
use std::cmp::Ordering;

use ic_stable_structures::Storable;
use ic_stable_structures::storable::Bound;

use crate::Digest;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<const N: usize>(pub [u8; N]);

impl<const N: usize> Key<N> {
    /// Join parts that are as long as the key together.
    pub fn join(parts: [&[u8]; 4]) -> Self {
        let mut key = [0; N];
        let mut at = 0;
        for part in parts {
            key[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        debug_assert_eq!(at, N);
        Self(key)
    }

    pub fn u32_at(&self, at: usize) -> u32 {
        u32::from_be_bytes([0, 1, 2, 3].map(|i| self.0[at + i]))
    }

    pub fn u64_at(&self, at: usize) -> u64 {
        u64::from_be_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| self.0[at + i]))
    }

    pub fn digest_at(&self, at: usize) -> Digest {
        let mut digest = [0; 32];
        digest.copy_from_slice(&self.0[at..at + 32]);
        digest
    }
}

impl<const N: usize> Ord for Key<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (words, rest) = self.0.as_chunks::<8>();
        let (other_words, other_rest) = other.0.as_chunks::<8>();
        for (a, b) in words.iter().zip(other_words) {
            // Wasm has no instruction that turns bytes round: equal words are told as they lie.
            if u64::from_ne_bytes(*a) != u64::from_ne_bytes(*b) {
                return u64::from_be_bytes(*a).cmp(&u64::from_be_bytes(*b));
            }
        }
        last_word(rest).cmp(&last_word(other_rest))
    }
}

/// Return fewer than eight bytes as a number that sorts as they do.
fn last_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(word)
}

impl<const N: usize> PartialOrd for Key<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize> Storable for Key<N> {
    const BOUND: Bound = Bound::Bounded { max_size: N as u32, is_fixed_size: true };

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        let mut key = [0; N];
        key.copy_from_slice(&bytes);
        Self(key)
    }
}

/// Compare two digests, in the same time whether they differ or not.
pub fn same(a: &Digest, b: &Digest) -> bool {
    let (a, _) = a.as_chunks::<8>();
    let (b, _) = b.as_chunks::<8>();
    let differs = a
        .iter()
        .zip(b)
        .fold(0, |sum, (a, b)| sum | (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)));
    differs == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_sort_as_their_bytes_do(
            mut a in any::<[u8; 20]>(), b in any::<[u8; 20]>(), common in 0usize..=20
        ) {
            a[..common].copy_from_slice(&b[..common]);
            prop_assert_eq!(Key(a).cmp(&Key(b)), a.cmp(&b));
            prop_assert_eq!(Key::<20>::from_bytes(Key(a).to_bytes()), Key(a));
        }

        #[test]
        fn digests_are_the_same_if_their_bytes_are(
            mut a in any::<[u8; 32]>(), b in any::<[u8; 32]>(), common in 24usize..=32
        ) {
            a[..common].copy_from_slice(&b[..common]);
            prop_assert_eq!(same(&a, &b), a == b);
        }
    }
}
