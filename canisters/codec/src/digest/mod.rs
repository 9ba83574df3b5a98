//! BLAKE3-256, the digest of frames and of raw chunks.
//!
//! On the host this is the `blake3` crate. In Wasm, long inputs go through four lanes of our own
//! (`lanes.rs`, without `unsafe`), because the digest is most of what a stored byte costs. IC
//! instructions a byte, by the price list of `datanode/localnet/prices.py`:
//!
//! | what | digest | `put_frames`, 1.35 MB a frame | 0.2 MB a frame |
//! | --- | --- | --- | --- |
//! | `blake3` 1.8.7, `wasm32_simd` | 13.97 | 16.31 to 16.51 | 16.77 |
//! | these lanes | 13.02 | 15.32 to 15.52 | 15.84 |
//!
//! The bound is 16.5; the range is that of an empty index and one of 6,000 frames whose nodes
//! split. The changed pages of the heap, 0.24 a byte, are not in the table. The difference: a
//! rotation by whole bytes is a swizzle with an order that lies in a local (1 + 1) instead of a
//! shuffle (3), and the words of a block stay in locals for all rounds. Of the 3,140 instructions
//! for four blocks 1,560 are moves between locals and the stack; written by hand for a stack
//! machine it would be 1,510.
//! The crate does what does not fill four lanes, and the root.

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
    return tree::hash::<wasm::Vector>(data);
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    return *blake3::hash(data).as_bytes();
}

/// Return the BLAKE3-256 digest of `data` under a 32-byte key.
pub fn keyed_hash(key: &[u8; DIGEST_BYTES], data: &[u8]) -> [u8; DIGEST_BYTES] {
    *blake3::keyed_hash(key, data).as_bytes()
}
