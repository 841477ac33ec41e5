//! A tensor of parameters in host memory.
//!
//! Values are read as f32 whatever the dtype; arithmetic accumulates in f64 and rounds once to the
//! result's dtype, because in f32 `a + (b − a) ≠ b` for one value in twenty.
//!
//! A tensor is in memory, or it is *lazy*: its elements lie in a file or follow from other tensors
//! ([`Elements`]) and exist only while somebody looks at them. What is computed from lazy tensors is
//! lazy again, so that a model larger than memory can be transferred a range at a time.

use std::{borrow::Cow, ops::Range, sync::Arc};

use bytes::Bytes;
use rayon::prelude::*;

use super::{dtype::DType, lazy::Elements, vectorized::vectorized};

/// What a header says of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    pub dtype: DType,
    pub shape: Vec<usize>,
}

/// A tensor in host memory, or one that is lazy. Cloning shares the data.
#[derive(Clone, Debug)]
pub struct HostTensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    Floats(Arc<Vec<f32>>),
    /// Little-endian elements.
    Raw(Bytes),
    Lazy(Arc<dyn Elements>),
}

/// The unit in which sums are accumulated, so that results do not depend on the number of threads.
/// What has no more elements than this is never lazy.
pub(crate) const CHUNK: usize = 1 << 14;
/// Elements a task handles at a time.
pub(crate) const RANGE: usize = 4 * CHUNK;
/// Independent sums over a chunk: enough for the additions of several vectors to overlap.
const LANES: usize = 16;
/// Elements of a lazy tensor that are worth having in memory at a time.
const PIECE_ELEMENTS: usize = 1 << 20;

impl HostTensor {
    /// A tensor over little-endian bytes; `None` when their number does not fit the shape.
    pub fn from_bytes(dtype: DType, shape: Vec<usize>, bytes: Bytes) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (elements.checked_mul(dtype.size())? == bytes.len()).then_some(Self {
            dtype,
            shape,
            data: Data::Raw(bytes),
        })
    }

    /// An f32 tensor.
    ///
    /// # Panics
    /// When the number of values does not fit the shape.
    pub fn from_f32(shape: Vec<usize>, values: Vec<f32>) -> Self {
        assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "values fill the shape"
        );
        Self {
            dtype: DType::F32,
            shape,
            data: Data::Floats(Arc::new(values)),
        }
    }

    /// Values rounded to a float `dtype`.
    ///
    /// # Panics
    /// When `dtype` is no float or the number of values does not fit the shape.
    pub fn from_f32_as(dtype: DType, shape: Vec<usize>, values: Vec<f32>) -> Self {
        let tensor = Self::from_f32(shape, values);
        if dtype == DType::F32 {
            return tensor;
        }

        Self {
            dtype,
            data: Data::Raw(dtype.encode(&tensor.f32())),
            shape: tensor.shape,
        }
    }

    /// A tensor over as many bytes as its shape takes.
    pub(super) fn raw(dtype: DType, shape: Vec<usize>, bytes: Bytes) -> Self {
        Self {
            dtype,
            shape,
            data: Data::Raw(bytes),
        }
    }

    /// A tensor whose elements are asked for when they are needed.
    pub fn lazy(dtype: DType, shape: Vec<usize>, elements: Arc<dyn Elements>) -> Self {
        Self {
            dtype,
            shape,
            data: Data::Lazy(elements),
        }
    }

    /// An i64 tensor.
    ///
    /// # Panics
    /// When the number of values does not fit the shape.
    pub fn from_i64(shape: Vec<usize>, values: &[i64]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "values fill the shape"
        );
        Self::raw(DType::I64, shape, bytes.into())
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn info(&self) -> TensorInfo {
        TensorInfo {
            dtype: self.dtype,
            shape: self.shape.clone(),
        }
    }

    /// Whether the elements exist only while somebody looks at them.
    pub fn is_lazy(&self) -> bool {
        matches!(self.data, Data::Lazy(_))
    }

    /// The values as f32, without a copy where they are stored so. Integers are converted.
    pub fn f32(&self) -> Cow<'_, [f32]> {
        self.floats(0..self.len())
    }

    /// The values as f32 for whoever outlives the tensor, without a copy where they are held so.
    pub fn shared_f32(&self) -> Arc<Vec<f32>> {
        match &self.data {
            Data::Floats(values) => Arc::clone(values),
            _ => Arc::new(self.f32().into_owned()),
        }
    }

    /// Some of the values, by their positions.
    ///
    /// # Panics
    /// When the range ends outside.
    pub fn floats(&self, range: Range<usize>) -> Cow<'_, [f32]> {
        if let Some(values) = self.stored_f32() {
            return Cow::Borrowed(&values[range]);
        }
        match &self.data {
            Data::Lazy(elements) => Cow::Owned(elements.floats(range)),
            _ => Cow::Owned(self.dtype.decode(&self.bytes_of(range))),
        }
    }

    /// The values, if they are stored as f32 that can be read where they lie.
    pub fn stored_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Floats(values) => Some(values),
            Data::Raw(raw) if self.dtype == DType::F32 => bytemuck::try_cast_slice(raw).ok(),
            _ => None,
        }
    }

    /// The elements as little-endian bytes.
    pub fn bytes(&self) -> Bytes {
        self.bytes_of(0..self.len())
    }

    /// Some of the elements, by their positions, as little-endian bytes.
    ///
    /// # Panics
    /// When the range ends outside.
    pub fn bytes_of(&self, range: Range<usize>) -> Bytes {
        let bytes = range.start * self.dtype.size()..range.end * self.dtype.size();
        match &self.data {
            Data::Raw(raw) => raw.slice(bytes),
            Data::Floats(values) => Bytes::from_owner(FloatBytes(Arc::clone(values))).slice(bytes),
            Data::Lazy(elements) => elements.bytes(range),
        }
    }

    /// The same in memory.
    #[must_use]
    pub fn held(&self) -> Self {
        match self.data {
            Data::Lazy(_) if self.dtype == DType::F32 => {
                Self::from_f32(self.shape.clone(), self.f32().into_owned())
            }
            Data::Lazy(_) => Self {
                data: Data::Raw(self.bytes()),
                ..self.clone()
            },
            _ => self.clone(),
        }
    }

    /// All positions, in ranges that are worth having in memory one at a time.
    pub fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (len, step) = (
            self.len(),
            if self.is_lazy() {
                PIECE_ELEMENTS
            } else {
                usize::MAX
            },
        );
        (0..len)
            .step_by(step)
            .map(move |start| start..start.saturating_add(step).min(len))
    }

    /// `factor · self`, f32.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let values = self
            .f32()
            .par_iter()
            .map(|&v| (f64::from(v) * factor) as f32)
            .collect();
        Self::from_f32(self.shape.clone(), values)
    }

    /// `self − other`, f32.
    ///
    /// # Panics
    /// When the shapes differ; callers have checked them.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        assert!(self.shape == other.shape, "shapes agree");
        let (own, others) = (self.f32(), other.f32());
        let pairs = own.par_iter().zip(others.par_iter());
        let values = pairs
            .map(|(&a, &b)| (f64::from(a) - f64::from(b)) as f32)
            .collect();
        Self::from_f32(self.shape.clone(), values)
    }

    /// `Σ self · other` in f64.
    ///
    /// # Panics
    /// When the lengths differ; callers have checked them.
    pub fn inner(&self, other: &Self) -> f64 {
        self.sums(other, |a, b| f64::from(a) * f64::from(b))
    }

    /// `Σ (self − other)²` in f64.
    ///
    /// # Panics
    /// When the lengths differ; callers have checked them.
    pub fn squared_distance(&self, other: &Self) -> f64 {
        self.sums(other, |a, b| (f64::from(a) - f64::from(b)).powi(2))
    }

    /// How many elements differ from the other's.
    ///
    /// # Panics
    /// When the lengths differ; callers have checked them.
    pub fn count_differing(&self, other: &Self) -> usize {
        self.sums(other, |a, b| f64::from(u8::from(a != b))) as usize
    }

    /// `Σ term(self, other)` over the elements.
    fn sums(&self, other: &Self, term: impl Fn(f32, f32) -> f64 + Sync) -> f64 {
        Self::sums_over([self, other], |[a, b]| term(a, b))
    }

    /// `Σ term` over the elements of several tensors at once, in f64: by chunks, then over the chunks in
    /// order. Not public: the loop over every element is compiled where it is called, and only this
    /// package is optimised in every build.
    ///
    /// # Panics
    /// When the lengths differ, or without a tensor.
    pub(crate) fn sums_over<const N: usize>(
        tensors: [&Self; N],
        term: impl Fn([f32; N]) -> f64 + Sync,
    ) -> f64 {
        let len = tensors[0].len();
        assert!(
            tensors.iter().all(|tensor| tensor.len() == len),
            "lengths agree"
        );
        let starts = (0..len).into_par_iter().step_by(RANGE);
        let sums: Vec<Vec<f64>> = starts
            .map(|start| {
                let range = start..(start + RANGE).min(len);
                chunk_sums(&tensors.map(|tensor| tensor.floats(range.clone())), &term)
            })
            .collect();
        sums.iter().flatten().sum()
    }

    /// Whether every value equals the other's.
    ///
    /// # Panics
    /// When the lengths differ; callers have checked them.
    pub fn same_values(&self, other: &Self) -> bool {
        assert_eq!(self.len(), other.len(), "lengths agree");
        (0..self.len()).into_par_iter().step_by(RANGE).all(|start| {
            let range = start..(start + RANGE).min(self.len());
            self.floats(range.clone()) == other.floats(range)
        })
    }
}

/// Lets `Bytes` own a shared vector of floats.
struct FloatBytes(Arc<Vec<f32>>);

impl AsRef<[u8]> for FloatBytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// `Σ term` over each chunk of some tensors' values, in order.
fn chunk_sums<const N: usize>(
    values: &[Cow<'_, [f32]>; N],
    term: &impl Fn([f32; N]) -> f64,
) -> Vec<f64> {
    let length = values.first().map_or(0, |values| values.len());
    (0..length)
        .step_by(CHUNK)
        .map(|start| {
            let chunk = start..(start + CHUNK).min(length);
            let parts = values.each_ref().map(|values| &values[chunk.clone()]);
            vectorized(|| lane_sums(parts, term)).into_iter().sum()
        })
        .collect()
}

/// Σ term over every 16th element, from the first, the second and so on.
#[expect(clippy::inline_always, reason = "a loop over it becomes vectors")]
#[inline(always)]
fn lane_sums<const N: usize>(parts: [&[f32]; N], term: &impl Fn([f32; N]) -> f64) -> [f64; LANES] {
    let mut lanes = [0.0; LANES];
    let blocks = parts.map(|part| part.as_chunks::<LANES>());
    for i in 0..blocks.first().map_or(0, |(blocks, _)| blocks.len()) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(blocks.map(|(blocks, _)| blocks[i][lane]));
        }
    }
    for i in 0..blocks.first().map_or(0, |(_, rest)| rest.len()) {
        lanes[i] += term(blocks.map(|(_, rest)| rest[i]));
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_values_agree_in_every_float_dtype() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let tensor = HostTensor::from_f32_as(dtype, vec![2, 2], vec![1.0, -0.5, 0.25, 3.0]);
            let again = HostTensor::from_bytes(dtype, vec![2, 2], tensor.bytes()).unwrap();
            assert_eq!(again.f32().as_ref(), [1.0, -0.5, 0.25, 3.0]);
        }
        assert!(HostTensor::from_bytes(DType::F32, vec![2], Bytes::from_static(&[0; 7])).is_none());
        assert!(HostTensor::from_bytes(DType::F32, vec![usize::MAX, 2], Bytes::new()).is_none());
    }

    #[test]
    fn unaligned_bytes_are_read_all_the_same() {
        let bytes = Bytes::from(vec![9, 0, 0, 128, 63, 0, 0, 0, 64]).slice(1..);
        let tensor = HostTensor::from_bytes(DType::F32, vec![2], bytes).unwrap();
        assert_eq!(tensor.f32().as_ref(), [1.0, 2.0]);
    }

    #[test]
    fn inner_product_is_a_sum_of_products() {
        let a = HostTensor::from_f32(vec![3], vec![1.0, 2.0, 3.0]);
        let b = HostTensor::from_f32(vec![3], vec![4.0, -5.0, 6.0]);
        assert!((a.inner(&b) - 12.0).abs() < 1e-12);
    }
}
