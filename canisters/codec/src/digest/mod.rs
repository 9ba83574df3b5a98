//! BLAKE3-256, the digest of frames and of raw chunks.

/// Length of a digest, bytes.
pub const DIGEST_BYTES: usize = 32;

/// Return the BLAKE3-256 digest of `data`.
pub fn hash(data: &[u8]) -> [u8; DIGEST_BYTES] {
    *blake3::hash(data).as_bytes()
}

/// Return the BLAKE3-256 digest of `data` under a 32-byte key.
pub fn keyed_hash(key: &[u8; DIGEST_BYTES], data: &[u8]) -> [u8; DIGEST_BYTES] {
    *blake3::keyed_hash(key, data).as_bytes()
}
