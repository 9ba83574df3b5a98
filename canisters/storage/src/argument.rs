//! The argument of `put_frames`, read by hand: frames are slices of the message.
//!
//! Candid's decoder would copy each frame (2 instructions a byte of 16). The two type tables that
//! encoders write for `(nat64, vec blob)` are recognised; any other goes through the decoder.

use candid::DecoderConfig;
use serde_bytes::Bytes;

/// Type tables of `(nat64, vec blob)`: blob before or behind the vector that it stands in.
const HEADERS: [&[u8]; 2] =
    [b"DIDL\x02\x6d\x01\x6d\x7b\x02\x78\x00", b"DIDL\x02\x6d\x7b\x6d\x00\x02\x78\x01"];

/// What decoding may cost, in Candid's own units, for an argument that is not recognised.
const SKIPPING_QUOTA: usize = 10_000;

/// Read a lease id and frames.
pub fn lease_and_frames(argument: &[u8]) -> Result<(u64, Vec<&[u8]>), String> {
    match HEADERS.iter().find_map(|header| argument.strip_prefix(*header)) {
        Some(values) => by_hand(values).ok_or_else(|| "the argument is cut off".into()),
        None => by_decoder(argument),
    }
}

fn by_hand(mut values: &[u8]) -> Option<(u64, Vec<&[u8]>)> {
    let lease = u64::from_le_bytes(*values.split_off(..8)?.first_chunk()?);
    let count = length(&mut values)?;
    let mut frames = Vec::with_capacity(count.min(values.len()));
    for _ in 0..count {
        let bytes = length(&mut values)?;
        frames.push(values.split_off(..bytes)?);
    }
    values.is_empty().then_some((lease, frames))
}

/// Take a LEB128 number.
fn length(values: &mut &[u8]) -> Option<usize> {
    let mut number = 0u32;
    for shift in [0, 7, 14, 21] {
        let byte = *values.split_off_first()?;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number as usize);
        }
    }
    None
}

fn by_decoder(argument: &[u8]) -> Result<(u64, Vec<&[u8]>), String> {
    let mut config = DecoderConfig::new();
    config.set_skipping_quota(SKIPPING_QUOTA);
    let (lease, frames): (u64, Vec<&Bytes>) =
        candid::utils::decode_args_with_config(argument, &config)
            .map_err(|error| error.to_string())?;
    Ok((lease, frames.into_iter().map(|frame| &**frame).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_bytes::ByteBuf;

    fn cases() -> Vec<Vec<ByteBuf>> {
        let blob = |length| ByteBuf::from(vec![7; length]);
        vec![vec![], vec![blob(3)], vec![blob(0), blob(127), blob(128), blob(70_000)]]
    }

    #[test]
    fn both_ways_read_what_candid_writes() {
        for frames in cases() {
            let argument = candid::encode_args((77u64, &frames)).unwrap();
            let (lease, read) = lease_and_frames(&argument).unwrap();
            assert_eq!(lease, 77);
            assert_eq!(read, frames.iter().map(|frame| frame.as_slice()).collect::<Vec<_>>());
            assert_eq!(by_decoder(&argument).unwrap(), (lease, read));
        }
    }

    #[test]
    fn candids_own_header_is_read_by_hand() {
        let argument = candid::encode_args((1u64, vec![ByteBuf::new()])).unwrap();
        assert!(HEADERS.iter().any(|header| argument.starts_with(header)));
    }

    #[test]
    fn the_other_header_gives_the_same() {
        let argument = candid::encode_args((5u64, vec![ByteBuf::from(vec![1, 2])])).unwrap();
        for header in HEADERS {
            let other = [header, &argument[header.len()..]].concat();
            assert_eq!(lease_and_frames(&other).unwrap(), (5, vec![[1, 2].as_slice()]));
            assert_eq!(by_decoder(&other).unwrap(), (5, vec![[1, 2].as_slice()]));
        }
    }

    #[test]
    fn every_cut_and_every_trailing_byte_is_refused() {
        let argument = candid::encode_args((5u64, vec![ByteBuf::from(vec![1, 2])])).unwrap();
        for end in 0..argument.len() {
            assert!(lease_and_frames(&argument[..end]).is_err(), "cut at {end}");
        }
        assert!(lease_and_frames(&[argument.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused() {
        let mut argument = HEADERS[0].to_vec();
        argument.extend_from_slice(&[0; 8]);
        argument.extend_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
        assert!(lease_and_frames(&argument).is_err());
    }
}
