//! Frames and manifests, made without the parsers that are under test.

use datanode_codec::digest;
use datanode_store::Digest;
use datanode_store::api::{Hash, Seal};

use super::{hash, node};

/// Make a frame: codec, element type, raw length and payload.
pub fn frame_of(codec: u8, element: u8, raw_len: u32, content: Digest, payload: &[u8]) -> Vec<u8> {
    let mut frame = b"DNCF\x01".to_vec();
    frame.extend_from_slice(&[codec, element, 0]);
    frame.extend_from_slice(&raw_len.to_le_bytes());
    frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    frame.extend_from_slice(&content);
    frame.resize(64, 0);
    frame.extend_from_slice(payload);
    frame
}

/// Make a raw frame of bytes.
pub fn raw_frame(raw: &[u8]) -> Vec<u8> {
    frame_of(0, 0, raw.len() as u32, digest::hash(raw), raw)
}

/// Some bytes that differ from seed to seed.
pub fn some_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

fn head(value: &mut Vec<u8>, major: u8, number: u64) {
    let major = major << 5;
    match number {
        0..24 => value.push(major | number as u8),
        24..0x100 => value.extend_from_slice(&[major | 24, number as u8]),
        0x100..0x1_0000 => {
            value.push(major | 25);
            value.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            value.push(major | 26);
            value.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            value.push(major | 27);
            value.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn text(value: &mut Vec<u8>, text: &str) {
    head(value, 3, text.len() as u64);
    value.extend_from_slice(text.as_bytes());
}

fn bytes(value: &mut Vec<u8>, bytes: &[u8]) {
    head(value, 2, bytes.len() as u64);
    value.extend_from_slice(bytes);
}

/// A file of a checkpoint: its path and its chunks, as frames.
pub struct File {
    pub path: String,
    pub chunks: Vec<Vec<u8>>,
}

/// A manifest and its frames.
#[derive(Clone)]
pub struct Checkpoint {
    pub chunks: Vec<Vec<u8>>,
    pub head: Vec<u8>,
    pub pages: Vec<Vec<u8>>,
    pub placement: Vec<u8>,
}

impl Checkpoint {
    /// Make a checkpoint of one file.
    pub fn new(chunks: &[Vec<u8>]) -> Self {
        Self::with(&[File { path: "model.safetensors".into(), chunks: chunks.to_vec() }], |_| ())
    }

    /// Make a checkpoint; `change` may spoil the draft before it is packed.
    pub fn with(files: &[File], change: impl FnOnce(&mut Draft)) -> Self {
        let mut draft = Draft::of(files);
        change(&mut draft);
        draft.pack()
    }

    pub fn manifest(&self) -> Digest {
        hash(&self.head)
    }

    pub fn parts(&self) -> Vec<Vec<u8>> {
        [vec![self.head.clone(), self.placement.clone()], self.pages.clone()].concat()
    }

    pub fn all_frames(&self) -> Vec<Vec<u8>> {
        [self.chunks.clone(), self.parts()].concat()
    }

    pub fn seal(&self, model: &str) -> Seal {
        Seal {
            model: model.into(),
            manifest: Hash(self.manifest()),
            placement: Hash(hash(&self.placement)),
            expected_version: None,
        }
    }
}

/// What a manifest is packed from; tests spoil it field by field.
pub struct Draft {
    pub chunks: Vec<Vec<u8>>,
    /// Path, bytes, first chunk, count of chunks.
    pub files: Vec<(String, u64, u32, u32)>,
    pub records: Vec<Vec<u8>>,
    /// Name, file, offset, first chunk, count of chunks.
    pub tensors: Vec<(String, u32, u64, u32, u32)>,
    pub chunk_count: u32,
    pub tensor_count: u32,
    pub records_a_page: usize,
    pub part_codec: u8,
    pub nodes: Vec<Vec<u8>>,
    pub placed_manifest: Option<Digest>,
    pub placed_chunks: Option<u32>,
}

impl Draft {
    fn of(files: &[File]) -> Self {
        let (mut entries, mut records, mut tensors) = (Vec::new(), Vec::new(), Vec::new());
        for (index, file) in files.iter().enumerate() {
            let (first, count) = (records.len() as u32, file.chunks.len() as u32);
            let length = file.chunks.iter().map(|frame| u64::from(raw_len(frame))).sum();
            entries.push((file.path.clone(), length, first, count));
            tensors.push((format!("tensor.{index}"), index as u32, 0, first, count));
            records.extend(file.chunks.iter().map(|frame| record(frame)));
        }
        Self {
            chunks: files.iter().flat_map(|file| file.chunks.clone()).collect(),
            files: entries,
            chunk_count: records.len() as u32,
            records,
            tensor_count: tensors.len() as u32,
            tensors,
            records_a_page: 16_384,
            part_codec: 0,
            nodes: vec![node().as_slice().to_vec()],
            placed_manifest: None,
            placed_chunks: None,
        }
    }

    fn part(&self, raw: &[u8]) -> Vec<u8> {
        frame_of(self.part_codec, 0, raw.len() as u32, digest::hash(raw), raw)
    }

    fn pack(self) -> Checkpoint {
        let chunk_pages: Vec<Vec<u8>> = self
            .records
            .chunks(self.records_a_page)
            .map(|page| self.part(&page.concat()))
            .collect();
        let tensor_pages: Vec<Vec<u8>> =
            self.tensors.chunks(4_096).map(|page| self.part(&tensor_page(page))).collect();
        let head = self.part(&self.pack_head(&chunk_pages, &tensor_pages));
        let placement = self.pack_placement(self.placed_manifest.unwrap_or(hash(&head)));
        let pages = [chunk_pages, tensor_pages].concat();
        Checkpoint { placement: raw_frame(&placement), chunks: self.chunks, head, pages }
    }

    fn pack_head(&self, chunk_pages: &[Vec<u8>], tensor_pages: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        head(&mut out, 5, 7);
        text(&mut out, "v");
        head(&mut out, 0, 1);
        text(&mut out, "files");
        head(&mut out, 4, self.files.len() as u64);
        for (path, length, first, count) in &self.files {
            head(&mut out, 4, 5);
            text(&mut out, path);
            head(&mut out, 0, *length);
            bytes(&mut out, &[7; 32]);
            head(&mut out, 0, (*first).into());
            head(&mut out, 0, (*count).into());
        }
        for (key, pages) in [("chunks", chunk_pages), ("tensors", tensor_pages)] {
            text(&mut out, key);
            head(&mut out, 4, pages.len() as u64);
            pages.iter().for_each(|page| bytes(&mut out, &hash(page)));
        }
        text(&mut out, "metadata");
        head(&mut out, 5, 0);
        text(&mut out, "chunk_count");
        head(&mut out, 0, self.chunk_count.into());
        text(&mut out, "tensor_count");
        head(&mut out, 0, self.tensor_count.into());
        out
    }

    fn pack_placement(&self, manifest: Digest) -> Vec<u8> {
        let chunks = self.placed_chunks.unwrap_or(self.chunk_count);
        let mut out = b"DNPL\x01\0".to_vec();
        out.extend_from_slice(&(self.nodes.len() as u16).to_le_bytes());
        out.extend_from_slice(&chunks.to_le_bytes());
        out.extend_from_slice(&u32::from(chunks > 0).to_le_bytes());
        out.extend_from_slice(&manifest);
        for node in &self.nodes {
            let mut name = node.clone();
            name.resize(29, 0);
            out.push(node.len() as u8);
            out.extend_from_slice(&name);
        }
        if chunks > 0 {
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&chunks.to_le_bytes());
        }
        out
    }
}

fn tensor_page(tensors: &[(String, u32, u64, u32, u32)]) -> Vec<u8> {
    let mut out = Vec::new();
    head(&mut out, 4, tensors.len() as u64);
    for (name, file, offset, first, count) in tensors {
        head(&mut out, 4, 7);
        text(&mut out, name);
        text(&mut out, "F16");
        head(&mut out, 4, 2);
        head(&mut out, 0, 3);
        head(&mut out, 0, 4);
        for number in [u64::from(*file), *offset, (*first).into(), (*count).into()] {
            head(&mut out, 0, number);
        }
    }
    out
}

fn raw_len(frame: &[u8]) -> u32 {
    u32::from_le_bytes([frame[8], frame[9], frame[10], frame[11]])
}

/// Make the record of a chunk from its frame.
pub fn record(frame: &[u8]) -> Vec<u8> {
    let mut record = frame[16..48].to_vec();
    record.extend_from_slice(&hash(frame));
    record.extend_from_slice(&raw_len(frame).to_le_bytes());
    record.extend_from_slice(&(frame.len() as u32).to_le_bytes());
    record.extend_from_slice(&[frame[5], frame[6], 0, 0, 0, 0, 0, 0]);
    record
}
