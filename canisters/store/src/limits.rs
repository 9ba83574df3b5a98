//! Bounds of the store, each with its unit and reason.

/// Nanoseconds a lease lasts after its last use.
pub const LEASE_NS: u64 = 3_600 * SECOND_NS;

/// Nanoseconds that a frame without reference or lease is kept after its last put or pin.
pub const GRACE_NS: u64 = 14 * 86_400 * SECOND_NS;

/// Most frames in one `put_frames`.
pub const MAX_MESSAGE_FRAMES: usize = 256;

/// Largest ingress message, bytes. Source: IC resource limits, 2026-05.
pub const MAX_MESSAGE_BYTES: u64 = 2 << 20;

/// Most digests in one `missing_frames`, `pin_frames` or `find_contents`.
pub const MAX_DIGESTS_A_CALL: usize = 16_384;

/// References that one look-up of a frame considers, of the caller's own seals and of anybody's.
/// Few, since all look-ups pay for so many; enough for the versions of some models.
pub const REFERENCES_A_LOOK_UP: usize = 8;

/// Pages of the references that one look-up reads, whatever it finds: more than its two searches need
/// among a hundred million rows.
pub const PAGES_A_LOOK_UP: u64 = 16;

/// Most seals of a content that one look-up of `find_contents` considers. Bounds its work.
pub const MAX_SEALS_A_CONTENT: usize = 64;

/// Most missing frames that an error names.
pub const MAX_MISSING_NAMED: usize = 1_024;

/// Most damaged frames that one step of `scrub` names; the step ends there.
pub const MAX_CORRUPT_NAMED: usize = 1_024;

/// Most chunks that one `get_frames` asks for.
pub const MAX_CHUNKS_A_READ: usize = 4_096;

/// Frame bytes that one reply of a query carries: 3 MiB less room for the Candid around them.
pub const MAX_QUERY_READ_BYTES: usize = 3 * 1024 * 1024 - 64 * 1024;

/// Frame bytes that one replicated reply carries: 2 MiB less the same; one frame fits in any case.
pub const MAX_REPLICATED_READ_BYTES: usize = 2 * 1024 * 1024 - 64 * 1024;

/// Longest model name, bytes.
pub const MAX_MODEL_NAME_BYTES: usize = 128;

/// Longest cursor, bytes.
pub const MAX_CURSOR_BYTES: usize = 256;

/// Most leases at a time. Bounds the scan that garbage collection needs.
pub const MAX_LEASES: u32 = 1_024;

/// Most leases of one principal at a time, so that no principal uses up all of them.
pub const MAX_LEASES_A_HOLDER: usize = 32;

/// Most leases in one reply of `leases`.
pub const LEASES_A_PAGE: usize = 256;

/// Most models. Bounds the scan of one `models` query.
pub const MAX_MODELS: u32 = 65_536;

/// Most versions of a model. Bounds the reply of `model` and the scans over versions.
pub const MAX_VERSIONS: u32 = 4_096;

/// Most grants on one model, and most on all.
pub const MAX_GRANTS_A_SCOPE: usize = 1_024;

/// Most models in one reply of `models`.
pub const MODELS_A_PAGE: usize = 256;

/// Most frames in one reply of `lease_frames`.
pub const HELD_A_PAGE: usize = 8_192;

/// About how many frames of the node one `lease_frames` looks at, at some 3,000 instructions each.
pub const LOOKS_A_PAGE: u64 = 262_144;

/// Most bytes that one step of `scrub` hashes: 14e9 instructions at 14 a byte.
pub const MAX_SCRUB_BYTES: u64 = 1 << 30;

/// Work of one step, in units of about 100,000 instructions (a look-up or two and an insert).
pub const STEP_UNITS: u32 = 8_192;

/// Largest stable memory, bytes. Source: IC resource limits, 2026-05.
pub const MAX_STABLE_BYTES: u64 = 500 << 30;

/// Cycles that must stay above the freezing reserve after a put: the prepayment of an update
/// (40e9 instructions and the base fee) and the fee of one more full message.
pub const SPARE_CYCLES: u128 = 45_000_000_000;

/// Rent of stable memory and heap, cycles a GiB and second: the higher one of the two prices that
/// are published, so that `status` does not promise too many days. Sources: replica code of 2026,
/// 317,500; IC documentation, 2026-08, 127,000.
pub const RENT_CYCLES_PER_GIB_S: u128 = 317_500;

/// Base fee of a canister, cycles a second. Source: replica code, 2026-05.
pub const BASE_FEE_CYCLES_PER_S: u128 = 10_000;

/// Cap on the days that `status` tells.
pub const MAX_DAYS: u128 = 36_500;

const SECOND_NS: u64 = 1_000_000_000;
