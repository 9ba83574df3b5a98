//! The argument of `put_frames`, read by hand: frames are ranges of the message.
//!
//! Candid's decoder would copy each frame (2 instructions a byte of 16), and the whole message into
//! the heap before. The two type tables that encoders write for `(nat64, vec blob)` are recognised;
//! any other goes through the decoder.

use datanode_idl::{Arguments, SKIPPING_QUOTA, Shape};
use datanode_store::Incoming;
use datanode_store::limits::MAX_MESSAGE_FRAMES;
use serde_bytes::ByteBuf;

/// Type tables of `(nat64, vec blob)`: blob before or behind the vector that it stands in.
const HEADERS: [&[u8; 12]; 2] =
    [b"DIDL\x02\x6d\x01\x6d\x7b\x02\x78\x00", b"DIDL\x02\x6d\x7b\x6d\x00\x02\x78\x01"];

/// What the decoder expects.
const SHAPES: &[&Shape] = <(u64, Vec<ByteBuf>)>::SHAPES;

/// Most bytes of a length that is read: four groups of seven bits.
const LENGTH_BYTES: usize = 4;

/// The bytes of a message, wherever they are.
pub trait Argument {
    /// Return how many there are.
    fn length(&self) -> usize;
    /// Copy a part; it must lie inside.
    fn read(&self, offset: usize, into: &mut [u8]);
    /// Copy all of them.
    fn whole(&self) -> Vec<u8> {
        let mut whole = vec![0; self.length()];
        self.read(0, &mut whole);
        whole
    }
}

/// What the message under way brings: its argument, or in a callback the reply.
pub struct Received {
    length: usize,
}

impl Received {
    /// Of this message.
    #[allow(clippy::new_without_default)] // it is no value of its own
    pub fn new() -> Self {
        Self { length: ic0::msg_arg_data_size() }
    }
}

impl Argument for Received {
    fn length(&self) -> usize {
        self.length
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        ic0::msg_arg_data_copy(into, offset);
    }

    fn whole(&self) -> Vec<u8> {
        ic_cdk::api::msg_arg_data()
    }
}

impl Argument for Vec<u8> {
    fn length(&self) -> usize {
        self.len()
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self[offset..offset + into.len()]);
    }
}

/// Frames that lie in a message.
pub struct Ranges<'a, A> {
    /// The message.
    pub argument: &'a A,
    /// How many there are.
    pub count: usize,
    /// Offset and length of each; none if they are more than a message may have.
    pub ranges: Vec<(usize, usize)>,
}

impl<A: Argument> Incoming for Ranges<'_, A> {
    fn count(&self) -> usize {
        self.count
    }

    fn length(&self, index: usize) -> usize {
        self.ranges[index].1
    }

    fn read(&self, index: usize, offset: usize, into: &mut [u8]) {
        self.argument.read(self.ranges[index].0 + offset, into);
    }
}

/// A lease id and the frames of a message.
type Found<'a, A> = Result<(u64, Ranges<'a, A>), String>;

/// Read a lease id and where the frames lie; nothing for a type table that is not recognised.
pub fn lease_and_ranges<A: Argument>(argument: &A) -> Option<Found<'_, A>> {
    let mut header = [0; 12];
    if argument.length() < header.len() {
        return None;
    }
    argument.read(0, &mut header);
    HEADERS.contains(&&header).then(|| {
        Cursor { argument, at: header.len() }
            .frames()
            .ok_or_else(|| "the argument is cut off".into())
    })
}

/// Reads an argument from front to back.
pub struct Cursor<'a, A> {
    argument: &'a A,
    at: usize,
}

impl<'a, A: Argument> Cursor<'a, A> {
    /// Begin in front.
    pub fn new(argument: &'a A) -> Self {
        Self { argument, at: 0 }
    }

    /// Pass so many bytes, and return where they are.
    pub fn pass(&mut self, length: usize) -> Option<usize> {
        let at = self.at;
        self.at = at.checked_add(length).filter(|end| *end <= self.argument.length())?;
        Some(at)
    }

    /// Take some bytes.
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let at = self.pass(N)?;
        let mut bytes = [0; N];
        self.argument.read(at, &mut bytes);
        Some(bytes)
    }

    /// Tell whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.at == self.argument.length()
    }

    /// Take a lease id and find the frames behind it.
    ///
    /// Frames that are too many are counted alone: the store refuses them, and a message of 2 MiB
    /// can hold two million empty ones.
    fn frames(&mut self) -> Option<(u64, Ranges<'a, A>)> {
        let lease = u64::from_le_bytes(self.take()?);
        let count = self.length()?;
        let mut ranges = Vec::new();
        if count > MAX_MESSAGE_FRAMES {
            return Some((lease, Ranges { argument: self.argument, count, ranges }));
        }
        ranges.reserve(count);
        for _ in 0..count {
            let length = self.length()?;
            ranges.push((self.pass(length)?, length));
        }
        self.is_at_end().then_some((lease, Ranges { argument: self.argument, count, ranges }))
    }

    /// Take a LEB128 number of at most four groups.
    pub fn length(&mut self) -> Option<usize> {
        let mut bytes = [0x80; LENGTH_BYTES];
        let held = LENGTH_BYTES.min(self.argument.length() - self.at);
        self.argument.read(self.at, &mut bytes[..held]);
        let mut number = 0;
        for (index, byte) in bytes[..held].iter().enumerate() {
            number |= usize::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.at += index + 1;
                return Some(number);
            }
        }
        None
    }
}

/// Read a lease id and frames with the decoder.
pub fn lease_and_frames(argument: &[u8]) -> Result<(u64, Vec<&[u8]>), String> {
    let mut items = datanode_idl::decode(argument, SHAPES, SKIPPING_QUOTA)
        .map_err(|fault| fault.text().to_string())?;
    let lease = items.number();
    let count = items.number();
    Ok((lease, (0..count).map(|_| items.bytes()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases() -> Vec<Vec<ByteBuf>> {
        let blob = |length| ByteBuf::from(vec![7; length]);
        vec![vec![], vec![blob(3)], vec![blob(0), blob(127), blob(128), blob(70_000)]]
    }

    /// Read by hand; nothing where the decoder would be asked.
    type Put = (u64, Vec<Vec<u8>>);

    fn by_hand(argument: &[u8]) -> Option<Result<Put, String>> {
        let argument = argument.to_vec();
        let found = lease_and_ranges(&argument)?;
        Some(found.map(|(lease, frames)| {
            let frame = |index| {
                let mut bytes = vec![0; frames.length(index)];
                frames.read(index, 0, &mut bytes);
                bytes
            };
            (lease, (0..frames.count()).map(frame).collect())
        }))
    }

    #[test]
    fn both_ways_read_what_candid_writes() {
        for frames in cases() {
            let argument = candid::encode_args((77u64, &frames)).unwrap();
            let (lease, read) = lease_and_frames(&argument).unwrap();
            assert_eq!(lease, 77);
            assert_eq!(read, frames.iter().map(|frame| frame.as_slice()).collect::<Vec<_>>());
            let read = frames.into_iter().map(ByteBuf::into_vec).collect();
            assert_eq!(by_hand(&argument), Some(Ok((lease, read))));
        }
    }

    #[test]
    fn the_other_header_gives_the_same() {
        let argument = candid::encode_args((5u64, vec![ByteBuf::from(vec![1, 2])])).unwrap();
        for header in HEADERS {
            let other = [header, &argument[header.len()..]].concat();
            assert_eq!(by_hand(&other), Some(Ok((5, vec![vec![1, 2]]))));
            assert_eq!(lease_and_frames(&other).unwrap(), (5, vec![[1, 2].as_slice()]));
        }
    }

    #[test]
    fn a_part_of_a_frame_is_read_from_its_place() {
        let argument = candid::encode_args((5u64, vec![ByteBuf::from(vec![1, 2, 3])])).unwrap();
        let (_, frames) = lease_and_ranges(&argument).unwrap().unwrap();
        let mut part = [0; 2];
        frames.read(0, 1, &mut part);
        assert_eq!(part, [2, 3]);
    }

    #[test]
    fn every_cut_and_every_trailing_byte_is_refused() {
        let argument = candid::encode_args((5u64, vec![ByteBuf::from(vec![1, 2])])).unwrap();
        for end in 0..argument.len() {
            let cut = &argument[..end];
            let refused = by_hand(cut).is_none_or(|found| found.is_err());
            assert!(refused && lease_and_frames(cut).is_err(), "cut at {end}");
        }
        assert!(by_hand(&[argument.as_slice(), &[0]].concat()).unwrap().is_err());
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused() {
        for count in [1, 127, MAX_MESSAGE_FRAMES] {
            let argument = [HEADERS[0].as_slice(), &[0; 8], &leb128(count)].concat();
            assert!(by_hand(&argument).unwrap().is_err());
        }
        let count_of_five_bytes = [0xff, 0xff, 0xff, 0xff, 0x0f];
        let argument = [HEADERS[0].as_slice(), &[0; 8], &count_of_five_bytes].concat();
        assert!(by_hand(&argument).unwrap().is_err());
    }

    #[test]
    fn a_length_beyond_the_bytes_is_refused() {
        for length in [1, 128, (1 << 28) - 1] {
            let argument = [HEADERS[0].as_slice(), &[0; 8], &[1], &leb128(length)].concat();
            assert!(by_hand(&argument).unwrap().is_err());
        }
    }

    #[test]
    fn too_many_frames_are_counted_and_not_read() {
        let argument = candid::encode_args((5u64, vec![ByteBuf::new(); 2_000])).unwrap();
        let (lease, frames) = lease_and_ranges(&argument).unwrap().unwrap();
        assert_eq!((lease, frames.count(), frames.ranges.len()), (5, 2_000, 0));
    }

    fn leb128(mut number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    #[test]
    fn another_type_table_is_left_to_the_decoder() {
        assert_eq!(by_hand(&candid::encode_args((5u64,)).unwrap()), None);
        assert_eq!(by_hand(b"DIDL"), None);
    }
}
