//! Weights on their way from a checkpoint into a model.

use std::collections::BTreeMap;
use std::fmt;

use crate::matrix::{Bf16, Dtype, F16, F32, Matrix, Mode, NotFinite, Word};
use crate::model::{Block, Model};
use datanode_llama_text::{BlockTensor, Config, Kind, Part, Role, TensorSpec};

/// Bytes that do not belong where they were to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceError {
    /// The bytes end inside an element, or lie outside the tensor.
    OutOfRange(String),
    /// Pieces of this tensor have different types.
    Dtype(String),
    /// The tensor does not fit into the address space.
    TooLarge(String),
    /// The tensor holds an infinity or NaN in this row.
    NotFinite(String, usize),
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange(name) => write!(f, "{name}: bytes outside of the tensor's shape"),
            Self::Dtype(name) => write!(f, "{name}: pieces of different types"),
            Self::TooLarge(name) => write!(f, "{name}: too large for one memory"),
            Self::NotFinite(name, row) => {
                write!(f, "{name}: row {row} holds an infinity or NaN")
            }
        }
    }
}

impl std::error::Error for PlaceError {}

/// A tensor that was not placed completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Name in the checkpoint.
    pub name: String,
    /// Rows that are missing, in whole or in part.
    pub rows: usize,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} rows are missing", self.name, self.rows)
    }
}

impl std::error::Error for Missing {}

/// The weights of a part, placed piece by piece in any order.
pub struct Weights {
    config: Config,
    part: Part,
    mode: Mode,
    slots: BTreeMap<String, Slot>,
}

impl Weights {
    /// Start without any weight. Room is taken when the first piece of a tensor is placed.
    pub fn new(config: &Config, part: Part, mode: Mode) -> Self {
        let slots = config
            .roles(&part)
            .into_iter()
            .map(|(role, spec)| (spec.name.clone(), Slot::new(role, spec)))
            .collect();
        Self { config: config.clone(), part, mode, slots }
    }

    /// Place consecutive elements of a tensor; again is the same. Returns whether the part needs
    /// the tensor.
    ///
    /// # Errors
    /// Refuses bytes outside of the tensor's shape, a second type, infinities and NaN. What was
    /// placed before stays.
    pub fn place(
        &mut self,
        name: &str,
        first_element: u64,
        bytes: &[u8],
        dtype: Dtype,
    ) -> Result<bool, PlaceError> {
        match self.slots.get_mut(name) {
            Some(slot) => slot.place(first_element, bytes, dtype, self.mode).map(|()| true),
            None => Ok(false),
        }
    }

    /// Return the first tensor that is not complete.
    pub fn missing(&self) -> Option<Missing> {
        let slot = self.slots.values().find(|slot| slot.rows_left > 0)?;
        Some(Missing { name: slot.spec.name.clone(), rows: slot.rows_left })
    }

    /// Turn complete weights into a model.
    ///
    /// # Errors
    /// Names a tensor that is not complete.
    pub fn finish(self) -> Result<Model, Missing> {
        if let Some(missing) = self.missing() {
            return Err(missing);
        }
        let count = self.part.end_block - self.part.first_block;
        let mut model = Model::empty(self.config, count);
        for slot in self.slots.into_values() {
            match (slot.role, slot.target) {
                (Role::Embedding, Target::Matrix(matrix, _)) => model.embedding = Some(matrix),
                (Role::Head, Target::Matrix(matrix, _)) => model.head = Some(matrix),
                (Role::Norm, Target::Vector(vector, _)) => model.norm = vector,
                (Role::Block(block, role), target) => {
                    put_into_block(&mut model.blocks[block], role, target);
                }
                _ => unreachable!("a complete slot has the target of its kind"),
            }
        }
        Ok(model)
    }
}

fn put_into_block(block: &mut Block, role: BlockTensor, target: Target) {
    match target {
        Target::Matrix(matrix, _) => {
            *match role {
                BlockTensor::Query => &mut block.query,
                BlockTensor::Key => &mut block.key,
                BlockTensor::Value => &mut block.value,
                BlockTensor::Output => &mut block.output,
                BlockTensor::Gate => &mut block.gate,
                BlockTensor::Up => &mut block.up,
                _ => &mut block.down,
            } = matrix;
        }
        Target::Vector(vector, _) => {
            *match role {
                BlockTensor::InputNorm => &mut block.input_norm,
                BlockTensor::PostNorm => &mut block.post_norm,
                BlockTensor::QueryBias => &mut block.query_bias,
                BlockTensor::KeyBias => &mut block.key_bias,
                BlockTensor::ValueBias => &mut block.value_bias,
                BlockTensor::QueryNorm => &mut block.query_norm,
                _ => &mut block.key_norm,
            } = vector;
        }
        Target::Nothing => {}
    }
}

enum Target {
    Nothing,
    Matrix(Matrix, Dtype),
    Vector(Vec<f32>, Dtype),
}

struct Slot {
    role: Role,
    spec: TensorSpec,
    target: Target,
    placed: Vec<bool>,
    rows_left: usize,
    partial: BTreeMap<usize, PartialRow>,
}

impl Slot {
    fn new(role: Role, spec: TensorSpec) -> Self {
        let rows = spec.rows;
        Self {
            role,
            spec,
            target: Target::Nothing,
            placed: vec![false; rows],
            rows_left: rows,
            partial: BTreeMap::new(),
        }
    }

    fn place(
        &mut self,
        first: u64,
        bytes: &[u8],
        dtype: Dtype,
        mode: Mode,
    ) -> Result<(), PlaceError> {
        let (size, columns) = (dtype.bytes(), self.spec.columns);
        let end = first.checked_add((bytes.len() / size) as u64);
        let fits = end.is_some_and(|end| end <= self.spec.elements());
        if !bytes.len().is_multiple_of(size) || !fits {
            return Err(PlaceError::OutOfRange(self.spec.name.clone()));
        }
        self.make_target(dtype, mode)?;
        let (mut at, mut rest) = (first as usize, bytes);
        while !rest.is_empty() {
            let (row, column) = (at / columns, at % columns);
            let count = (columns - column).min(rest.len() / size);
            let (piece, after) = rest.split_at(count * size);
            if count == columns {
                let length = rest.len() / (columns * size) * columns * size;
                self.place_rows(row, &rest[..length], dtype)?;
                (at, rest) = (at + length / size, &rest[length..]);
                continue;
            }
            self.place_piece(row, column, piece, dtype)?;
            (at, rest) = (at + count, after);
        }
        Ok(())
    }

    fn make_target(&mut self, dtype: Dtype, mode: Mode) -> Result<(), PlaceError> {
        let padded = self.spec.rows as u64 * self.spec.columns.next_multiple_of(64) as u64;
        if padded * dtype.bytes() as u64 > isize::MAX as u64 {
            return Err(PlaceError::TooLarge(self.spec.name.clone()));
        }
        match (&self.target, self.spec.kind) {
            (Target::Matrix(_, first) | Target::Vector(_, first), _) if *first != dtype => {
                return Err(PlaceError::Dtype(self.spec.name.clone()));
            }
            (Target::Nothing, Kind::Matrix) => {
                let matrix = Matrix::new(self.spec.rows, self.spec.columns, mode, dtype);
                self.target = Target::Matrix(matrix, dtype);
            }
            (Target::Nothing, Kind::Vector) => {
                self.target = Target::Vector(vec![0.0; self.spec.columns], dtype);
            }
            _ => {}
        }
        Ok(())
    }

    fn place_piece(
        &mut self,
        row: usize,
        column: usize,
        piece: &[u8],
        dtype: Dtype,
    ) -> Result<(), PlaceError> {
        if self.placed[row] {
            return Ok(());
        }
        let partial = self.partial.entry(row).or_insert_with(|| PartialRow {
            bytes: vec![0; self.spec.columns * dtype.bytes()],
            covered: Vec::new(),
        });
        if partial.cover(column * dtype.bytes(), piece)
            && let Some(partial) = self.partial.remove(&row)
        {
            self.place_rows(row, &partial.bytes, dtype)?;
        }
        Ok(())
    }

    /// Place whole rows, except for those that are placed already.
    fn place_rows(&mut self, first: usize, bytes: &[u8], dtype: Dtype) -> Result<(), PlaceError> {
        let length = self.spec.columns * dtype.bytes();
        let count = bytes.len() / length;
        let (mut from, mut bytes) = (first, bytes);
        for runs in self.placed[first..first + count].to_vec().chunk_by(|a, b| a == b) {
            let (run, rest) = bytes.split_at(runs.len() * length);
            if !runs[0] {
                self.place_run(from, run, dtype)?;
            }
            (from, bytes) = (from + runs.len(), rest);
        }
        Ok(())
    }

    fn place_run(&mut self, first: usize, bytes: &[u8], dtype: Dtype) -> Result<(), PlaceError> {
        let placed = match &mut self.target {
            Target::Matrix(matrix, _) => matrix.place_rows(first, bytes, dtype),
            Target::Vector(vector, _) => match dtype {
                Dtype::Bf16 => place_vector::<Bf16>(vector, bytes),
                Dtype::F16 => place_vector::<F16>(vector, bytes),
                Dtype::F32 => place_vector::<F32>(vector, bytes),
            },
            Target::Nothing => Ok(()),
        };
        placed.map_err(|NotFinite(row)| PlaceError::NotFinite(self.spec.name.clone(), row))?;
        let rows = first..first + bytes.len() / (self.spec.columns * dtype.bytes());
        self.rows_left -= rows.len();
        for row in rows {
            self.partial.remove(&row);
            self.placed[row] = true;
        }
        Ok(())
    }
}

fn place_vector<W: Word>(to: &mut [f32], bytes: &[u8]) -> Result<(), NotFinite> {
    let mut padded = bytes.to_vec();
    padded.resize(to.len().next_multiple_of(8) * W::BYTES, 0);
    if !W::greatest(&padded).is_finite() {
        return Err(NotFinite(0));
    }
    for (to, four) in to.chunks_mut(4).zip(W::fours(&padded)) {
        to.copy_from_slice(&W::value(four).lanes()[..to.len()]);
    }
    Ok(())
}

/// A row of which some bytes are known.
struct PartialRow {
    bytes: Vec<u8>,
    /// Disjoint ranges in order.
    covered: Vec<(usize, usize)>,
}

impl PartialRow {
    /// Copy a piece and return whether the row is complete.
    fn cover(&mut self, first: usize, piece: &[u8]) -> bool {
        self.bytes[first..first + piece.len()].copy_from_slice(piece);
        self.covered.push((first, first + piece.len()));
        self.covered.sort_unstable();
        self.covered.dedup_by(|next, kept| {
            let touches = next.0 <= kept.1;
            if touches {
                kept.1 = kept.1.max(next.1);
            }
            touches
        });
        self.covered == [(0, self.bytes.len())]
    }
}
