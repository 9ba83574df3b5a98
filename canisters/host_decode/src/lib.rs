//! Exports the decoder to a host that has no IC: `datanode/compiled_decoder.py`.
//!
//! The host writes a frame where `frame` says, calls `decode`, and reads `raw_bytes` bytes where
//! that says. They stand until the next call.

use std::cell::RefCell;
use std::ptr;

use datanode_codec::limits::MAX_FRAME_BYTES;
use datanode_decode::Decoder;

struct Host {
    frame: Box<[u8]>,
    decoder: Decoder,
    raw_bytes: usize,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::new(Host {
        frame: vec![0; MAX_FRAME_BYTES].into_boxed_slice(),
        decoder: Decoder::new(),
        raw_bytes: 0,
    });
}

/// Return where the host writes a frame: `MAX_FRAME_BYTES` bytes.
#[unsafe(no_mangle)]
pub extern "C" fn frame() -> *mut u8 {
    HOST.with_borrow_mut(|host| host.frame.as_mut_ptr())
}

/// Decode the first `length` bytes that the host wrote, and return where the raw bytes are; null if
/// they are no frame.
#[unsafe(no_mangle)]
pub extern "C" fn decode(length: usize) -> *const u8 {
    HOST.with_borrow_mut(|Host { frame, decoder, raw_bytes }| {
        let decoded = frame.get(..length).and_then(|frame| decoder.decode(frame).ok());
        let (_, raw) = decoded.unzip();
        *raw_bytes = raw.map_or(0, <[u8]>::len);
        raw.map_or(ptr::null(), <[u8]>::as_ptr)
    })
}

/// Return how many raw bytes the last frame gave.
#[unsafe(no_mangle)]
pub extern "C" fn raw_bytes() -> usize {
    HOST.with_borrow(|host| host.raw_bytes)
}
