//! BLAKE3-256, the digest of frames and of raw chunks.
//!
//! On the host this is the `blake3` crate. In Wasm, inputs of more than a chunk go through four lanes
//! of our own (`lanes.rs`, without `unsafe`), because the digest is most of what a stored byte costs:
//! 13.02 IC instructions of the bound of 16.5, where the crate's (1.8.7, `wasm32_simd`) takes 13.97.
//! The difference: a rotation by whole bytes is a swizzle with an order that lies in a local (1 + 1)
//! instead of a shuffle (3), and the words of a block stay in locals for all rounds. Of the 3,140
//! instructions for four blocks 1,560 are moves between locals and the stack; written by hand for a
//! stack machine it would be 1,510.
//!
//! What a tree leaves over of four lanes, the trees of a message share (`tree.rs`). Instructions a
//! stored byte of `put_frames`, messages of 1.9 MB, by the price list of
//! `datanode/localnet/prices.py`:
//!
//! | frames a message | digest, a tree alone | digest, trees together | `put_frames` in all |
//! | --- | --- | --- | --- |
//! | 1 of 1.9 MB | 13.00 | 13.01 | 15.54 |
//! | 30 of 63 kB | 13.33 | 13.04 | 16.16 |
//! | 95 of 20 kB | 13.67 | 13.22 | 17.91 |
//!
//! What is more with more frames is the index: an insertion takes 30,000 to 60,000 instructions.

use alloc::vec::Vec;

#[cfg(any(test, all(target_arch = "wasm32", target_feature = "simd128")))]
mod lanes;
#[cfg(any(test, all(target_arch = "wasm32", target_feature = "simd128")))]
mod tree;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

/// Length of a digest, bytes.
pub const DIGEST_BYTES: usize = 32;

/// Return the BLAKE3-256 digest of `data`.
pub fn hash(data: &[u8]) -> [u8; DIGEST_BYTES] {
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    return tree::hash_each::<wasm::Vector>(&[data])[0];
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    return *blake3::hash(data).as_bytes();
}

/// Return the BLAKE3-256 digest of each of `inputs`.
///
/// In Wasm cheaper than one after the other: what they leave over of fours shares the lanes.
pub fn hash_each(inputs: &[&[u8]]) -> Vec<[u8; DIGEST_BYTES]> {
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    return tree::hash_each::<wasm::Vector>(inputs);
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    return inputs.iter().map(|input| hash(input)).collect();
}

/// Length of the pieces that `Pieces` takes, bytes: a full subtree of 128 chunks.
pub const PIECE_BYTES: usize = 131_072;

/// Computes the BLAKE3-256 digest of an input that is never in memory as a whole.
#[derive(Default)]
pub struct Pieces {
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    inner: tree::Pieces,
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    inner: blake3::Hasher,
}

impl Pieces {
    /// Add a piece: `PIECE_BYTES` long, but for the last, and never empty.
    pub fn add(&mut self, piece: &[u8]) {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        self.inner.add::<wasm::Vector>(piece);
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        self.inner.update(piece);
    }

    /// Return the digest of more than one piece.
    pub fn finish(self) -> [u8; DIGEST_BYTES] {
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        return self.inner.finish::<wasm::Vector>();
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        return *self.inner.finalize().as_bytes();
    }
}

/// Return the BLAKE3-256 digest of `data` under a 32-byte key.
pub fn keyed_hash(key: &[u8; DIGEST_BYTES], data: &[u8]) -> [u8; DIGEST_BYTES] {
    *blake3::keyed_hash(key, data).as_bytes()
}
