//! Writers of the formats, as small as can be, and bytes gone wrong.
#![allow(dead_code)] // each test file uses its part

use proptest::prelude::*;
use proptest::sample::Index;

/// Deterministic CBOR, appended to a vector.
pub mod cbor {
    pub fn head(out: &mut Vec<u8>, major: u8, value: u64) {
        let major = major << 5;
        match value {
            0..=23 => out.push(major | value as u8),
            24..=0xff => out.extend([major | 24, value as u8]),
            0x100..=0xffff => {
                out.push(major | 25);
                out.extend((value as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                out.push(major | 26);
                out.extend((value as u32).to_be_bytes());
            }
            _ => {
                out.push(major | 27);
                out.extend(value.to_be_bytes());
            }
        }
    }

    pub fn uint(out: &mut Vec<u8>, value: u64) {
        head(out, 0, value);
    }

    pub fn bytes(out: &mut Vec<u8>, value: &[u8]) {
        head(out, 2, value.len() as u64);
        out.extend(value);
    }

    pub fn text(out: &mut Vec<u8>, value: &str) {
        head(out, 3, value.len() as u64);
        out.extend(value.as_bytes());
    }
}

/// What a manifest head is written from.
#[derive(Clone, Debug)]
pub struct HeadParts {
    pub version: u64,
    pub base: Option<[u8; 32]>,
    pub files: Vec<(String, u64, [u8; 32], u64, u64)>,
    pub chunk_pages: Vec<[u8; 32]>,
    pub tensor_pages: Vec<[u8; 32]>,
    pub metadata: Vec<(String, String)>,
    pub chunk_count: u64,
    pub tensor_count: u64,
}

impl HeadParts {
    pub fn small() -> Self {
        let files = vec![
            ("config.json".into(), 300, [1; 32], 0, 1),
            ("model.safetensors".into(), 5_000_000, [2; 32], 1, 3),
        ];
        Self {
            version: 1,
            base: None,
            files,
            chunk_pages: vec![[3; 32]],
            tensor_pages: vec![[4; 32]],
            metadata: vec![("a".into(), "b".into()), ("format".into(), "pt".into())],
            chunk_count: 4,
            tensor_count: 2,
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        cbor::head(&mut out, 5, 7 + u64::from(self.base.is_some()));
        cbor::text(&mut out, "v");
        cbor::uint(&mut out, self.version);
        if let Some(base) = &self.base {
            cbor::text(&mut out, "base");
            cbor::head(&mut out, 4, 1);
            cbor::bytes(&mut out, base);
        }
        cbor::text(&mut out, "files");
        cbor::head(&mut out, 4, self.files.len() as u64);
        for (path, bytes, sha256, first, count) in &self.files {
            cbor::head(&mut out, 4, 5);
            cbor::text(&mut out, path);
            cbor::uint(&mut out, *bytes);
            cbor::bytes(&mut out, sha256);
            cbor::uint(&mut out, *first);
            cbor::uint(&mut out, *count);
        }
        for (name, pages) in [("chunks", &self.chunk_pages), ("tensors", &self.tensor_pages)] {
            cbor::text(&mut out, name);
            cbor::head(&mut out, 4, pages.len() as u64);
            pages.iter().for_each(|page| cbor::bytes(&mut out, page));
        }
        cbor::text(&mut out, "metadata");
        cbor::head(&mut out, 5, self.metadata.len() as u64);
        for (key, value) in &self.metadata {
            cbor::text(&mut out, key);
            cbor::text(&mut out, value);
        }
        cbor::text(&mut out, "chunk_count");
        cbor::uint(&mut out, self.chunk_count);
        cbor::text(&mut out, "tensor_count");
        cbor::uint(&mut out, self.tensor_count);
        out
    }
}

/// (name, dtype, shape, file, offset, first chunk, chunk count)
pub type TensorParts = (String, String, Vec<u64>, u64, u64, u64, u64);

pub fn write_tensor_page(tensors: &[TensorParts]) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::head(&mut out, 4, tensors.len() as u64);
    for (name, dtype, shape, file, offset, first, count) in tensors {
        cbor::head(&mut out, 4, 7);
        cbor::text(&mut out, name);
        cbor::text(&mut out, dtype);
        cbor::head(&mut out, 4, shape.len() as u64);
        shape.iter().for_each(|&dimension| cbor::uint(&mut out, dimension));
        [file, offset, first, count].into_iter().for_each(|&value| cbor::uint(&mut out, value));
    }
    out
}

pub fn tensor(name: &str, file: u64, offset: u64) -> TensorParts {
    (name.into(), "F16".into(), vec![4096, 4096], file, offset, 1, 17)
}

pub fn write_frame(codec: u8, element: u8, raw: &[u8], row_len: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = b"DNCF\x01".to_vec();
    out.extend([codec, element, 0]);
    out.extend((raw.len() as u32).to_le_bytes());
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(datanode_codec::digest::hash(raw));
    out.extend(row_len.to_le_bytes());
    out.extend([0; 12]);
    out.extend(payload);
    out
}

pub fn write_chunk_record(seed: u8, raw_len: u32, frame_len: u32) -> [u8; 80] {
    let mut out = [0; 80];
    out[..32].fill(seed);
    out[32..64].fill(seed ^ 0xff);
    out[64..68].copy_from_slice(&raw_len.to_le_bytes());
    out[68..72].copy_from_slice(&frame_len.to_le_bytes());
    out[72] = 1;
    out
}

pub fn write_placement(nodes: &[Vec<u8>], runs: &[(u16, u32)]) -> Vec<u8> {
    let mut out = b"DNPL\x01\x00".to_vec();
    out.extend((nodes.len() as u16).to_le_bytes());
    out.extend(runs.iter().map(|run| run.1).sum::<u32>().to_le_bytes());
    out.extend((runs.len() as u32).to_le_bytes());
    out.extend([7; 32]);
    for node in nodes {
        out.push(node.len() as u8);
        out.extend(node);
        out.extend(vec![0; 29 - node.len()]);
    }
    for (node, length) in runs {
        out.extend(node.to_le_bytes());
        out.extend(length.to_le_bytes());
    }
    out
}

/// One way in which bytes go wrong.
#[derive(Clone, Debug)]
pub enum Mutation {
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Cut(Index),
}

impl Mutation {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Set(at, value) => bytes[at.index(length)] = *value,
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << (bit % 8),
            Self::Remove(at, count) => {
                let start = at.index(length);
                bytes.drain(start..length.min(start + count));
            }
            Self::Insert(at, more) => {
                let start = at.index(length);
                bytes.splice(start..start, more.iter().copied());
            }
            Self::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
}

pub fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let one = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Mutation::Set(at, value)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<Index>(), 1usize..40).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, more)| Mutation::Insert(at, more)),
        any::<Index>().prop_map(Mutation::Cut),
    ];
    prop::collection::vec(one, 1..6)
}

pub fn mutated(bytes: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
    bytes
}
