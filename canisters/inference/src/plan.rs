//! Which bytes of which chunks become which weights.

use std::collections::BTreeMap;

use datanode_codec::manifest::{Head, TensorEntry};
use datanode_llama::{Dtype, Kind, TensorSpec};
use datanode_store::Error;

/// Most names that an error lists.
const MOST_NAMED: usize = 5;

/// A tensor to place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub dtype: Dtype,
}

/// Bytes of a chunk that belong to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index into the targets.
    pub target: usize,
    /// The tensor's element that the piece starts with.
    pub first_element: u64,
    /// First byte in the chunk.
    pub start: usize,
    /// Byte after the last one.
    pub end: usize,
}

/// A chunk to decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub chunk: u32,
    pub pieces: Vec<Piece>,
}

/// All chunks to decode, rising.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub targets: Vec<Target>,
    pub jobs: Vec<Job>,
    pub weights: u64,
}

impl Plan {
    /// Find the tensors of `specs` in a manifest; `chunk_lens` are the raw lengths of its chunks.
    ///
    /// # Errors
    /// `Conflict` if tensors are missing or have another shape or type, `BadManifest` if the
    /// tensors do not lie in their chunks.
    pub fn new(
        head: &Head,
        tensors: &[TensorEntry],
        chunk_lens: &[u32],
        specs: &[TensorSpec],
    ) -> Result<Self, Error> {
        let by_name: BTreeMap<&str, &TensorEntry> =
            tensors.iter().rev().map(|entry| (entry.name.as_str(), entry)).collect();
        require_all(specs, &by_name)?;
        let starts = chunk_starts(head, chunk_lens)?;
        let mut targets = Vec::with_capacity(specs.len());
        let mut jobs: BTreeMap<u32, Vec<Piece>> = BTreeMap::new();
        let mut weights = 0;
        for spec in specs {
            let Some(entry) = by_name.get(spec.name.as_str()) else { continue };
            let dtype = check_shape(spec, entry)?;
            let place = Place { target: targets.len(), width: dtype.bytes() as u64, entry, spec };
            place.add_pieces(&starts, chunk_lens, &mut jobs)?;
            targets.push(Target { name: spec.name.clone(), dtype });
            weights += spec.elements();
        }
        let jobs = jobs.into_iter().map(|(chunk, pieces)| Job { chunk, pieces }).collect();
        Ok(Self { targets, jobs, weights })
    }
}

fn require_all(specs: &[TensorSpec], found: &BTreeMap<&str, &TensorEntry>) -> Result<(), Error> {
    let missing: Vec<&str> = specs
        .iter()
        .map(|spec| spec.name.as_str())
        .filter(|name| !found.contains_key(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let named = missing[..missing.len().min(MOST_NAMED)].join(", ");
    Err(Error::Conflict(format!("the checkpoint lacks {} tensors: {named}", missing.len())))
}

/// Return where each chunk starts in its file, bytes.
fn chunk_starts(head: &Head, chunk_lens: &[u32]) -> Result<Vec<u64>, Error> {
    let mut starts = Vec::with_capacity(chunk_lens.len());
    for file in &head.files {
        let first = file.first_chunk as usize;
        let Some(lens) = chunk_lens.get(first..first + file.chunk_count as usize) else {
            return Err(Error::BadManifest("a file has chunks that are not listed".into()));
        };
        let mut at = 0;
        for &length in lens {
            starts.push(at);
            at += u64::from(length);
        }
    }
    Ok(starts)
}

fn check_shape(spec: &TensorSpec, entry: &TensorEntry) -> Result<Dtype, Error> {
    let (rows, columns) = (spec.rows as u64, spec.columns as u64);
    let is_right = match spec.kind {
        Kind::Matrix => entry.shape == [rows, columns],
        Kind::Vector => entry.shape == [columns],
    };
    if !is_right {
        let (name, shape) = (&entry.name, &entry.shape);
        let text = format!("{name} has the shape {shape:?}, config.json says {rows} x {columns}");
        return Err(Error::Conflict(text));
    }
    match entry.dtype.as_str() {
        "BF16" => Ok(Dtype::Bf16),
        "F16" => Ok(Dtype::F16),
        "F32" => Ok(Dtype::F32),
        other => {
            let text = format!("{} is {other}; only BF16, F16 and F32 can be run", entry.name);
            Err(Error::Conflict(text))
        }
    }
}

/// A tensor in its file.
struct Place<'a> {
    target: usize,
    width: u64,
    entry: &'a TensorEntry,
    spec: &'a TensorSpec,
}

impl Place<'_> {
    fn add_pieces(
        &self,
        starts: &[u64],
        chunk_lens: &[u32],
        jobs: &mut BTreeMap<u32, Vec<Piece>>,
    ) -> Result<(), Error> {
        let &Place { target, width, entry, spec } = self;
        let broken = || Error::BadManifest(format!("{} does not lie in its chunks", entry.name));
        let length = spec.elements() * width;
        let end = entry.offset.checked_add(length).ok_or_else(broken)?;
        let last_chunk = entry.first_chunk.checked_add(entry.chunk_count).ok_or_else(broken)?;
        let mut placed = 0;
        for chunk in entry.first_chunk..last_chunk {
            let start = *starts.get(chunk as usize).ok_or_else(broken)?;
            let chunk_end = start + u64::from(chunk_lens[chunk as usize]);
            let (low, high) = (entry.offset.max(start), end.min(chunk_end));
            if low >= high {
                continue;
            }
            if (low - entry.offset) % width != 0 || (high - low) % width != 0 {
                return Err(broken());
            }
            let first_element = (low - entry.offset) / width;
            let (start, end) = ((low - start) as usize, (high - start) as usize);
            jobs.entry(chunk).or_default().push(Piece { target, first_element, start, end });
            placed += high - low;
        }
        if placed == length { Ok(()) } else { Err(broken()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_codec::manifest::{FileEntry, Metadata};

    fn head(files: &[(u64, &[u32])]) -> (Head, Vec<u32>) {
        let mut first_chunk = 0;
        let mut entries = Vec::new();
        let mut lens = Vec::new();
        for (number, (bytes, chunks)) in files.iter().enumerate() {
            let chunk_count = chunks.len() as u32;
            let path = format!("file{number}");
            let (bytes, sha256) = (*bytes, [0; 32]);
            entries.push(FileEntry { path, bytes, sha256, first_chunk, chunk_count });
            first_chunk += chunk_count;
            lens.extend_from_slice(chunks);
        }
        let head = Head {
            files: entries,
            chunk_pages: Vec::new(),
            tensor_pages: Vec::new(),
            chunk_count: first_chunk,
            tensor_count: 0,
            metadata: Metadata::default(),
            base: None,
        };
        (head, lens)
    }

    fn spec(name: &str, rows: usize, columns: usize) -> TensorSpec {
        TensorSpec { name: name.into(), rows, columns, kind: Kind::Matrix }
    }

    fn entry(name: &str, shape: &[u64], offset: u64, chunks: (u32, u32)) -> TensorEntry {
        TensorEntry {
            name: name.into(),
            dtype: "BF16".into(),
            shape: shape.to_vec(),
            file: 1,
            offset,
            first_chunk: chunks.0,
            chunk_count: chunks.1,
        }
    }

    #[test]
    fn a_tensor_is_cut_where_its_chunks_end() {
        let (head, lens) = head(&[(30, &[30]), (100, &[20, 40, 40])]);
        // Bytes 10 to 70 of the second file: in its first chunk behind other bytes, and on.
        let tensors = [entry("a", &[3, 10], 10, (1, 3)), entry("b", &[1, 5], 0, (1, 1))];
        let specs = [spec("a", 3, 10), spec("b", 1, 5)];
        let plan = Plan::new(&head, &tensors, &lens, &specs).unwrap();
        assert_eq!(plan.weights, 35);
        let pieces = |chunk: u32| {
            let job = plan.jobs.iter().find(|job| job.chunk == chunk).unwrap();
            let found = job.pieces.iter();
            found.map(|p| (p.target, p.first_element, p.start, p.end)).collect::<Vec<_>>()
        };
        assert_eq!(pieces(1), [(0, 0, 10, 20), (1, 0, 0, 10)]);
        assert_eq!(pieces(2), [(0, 5, 0, 40)]);
        assert_eq!(pieces(3), [(0, 25, 0, 10)]);
        assert_eq!(plan.jobs.len(), 3);
    }

    #[test]
    fn tensors_that_are_missing_are_named() {
        let (head, lens) = head(&[(4, &[4])]);
        let specs = [spec("a", 1, 1), spec("b", 1, 1)];
        let Err(Error::Conflict(text)) = Plan::new(&head, &[], &lens, &specs) else { panic!() };
        assert_eq!(text, "the checkpoint lacks 2 tensors: a, b");
    }

    #[test]
    fn tensors_of_another_shape_or_type_or_place_are_refused() {
        let (head, lens) = head(&[(30, &[30]), (100, &[20, 40, 40])]);
        let good = entry("a", &[3, 10], 10, (1, 3));
        let odd = TensorEntry { offset: 11, ..good.clone() };
        let beyond = TensorEntry { offset: 50, ..good.clone() };
        let few = TensorEntry { chunk_count: 2, ..good.clone() };
        let far = TensorEntry { first_chunk: u32::MAX, ..good.clone() };
        let shape = TensorEntry { shape: vec![10, 3], ..good.clone() };
        let kind = TensorEntry { dtype: "F8_E4M3".into(), ..good.clone() };
        let specs = [spec("a", 3, 10)];
        assert!(Plan::new(&head, &[good], &lens, &specs).is_ok());
        for wrong in [odd, beyond, few, far, shape, kind] {
            assert!(
                Plan::new(&head, std::slice::from_ref(&wrong), &lens, &specs).is_err(),
                "{wrong:?}"
            );
        }
    }
}
