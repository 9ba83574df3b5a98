//! The 128-bit vectors that the kernels are written in.
//!
//! On wasm32 they are the engine's own; elsewhere `portable` computes the same lanes one by one, so
//! that native tests run the same kernels and get the same bits.
//!
//! This is the crate's only module with unsafe code: loads and stores through array references.

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(crate) use portable::{F32x4, I16x8};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use wasm::{F32x4, I16x8};
