//! The one home of parameters: host tensors under the names users already have.
//!
//! Values are read as f32 whatever the dtype; arithmetic accumulates in f64 and rounds once to the
//! result's dtype, because in f32 `a + (b − a) ≠ b` for one value in twenty.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use half::{bf16, f16};
use rayon::prelude::*;

/// Element type of a tensor, as safetensors names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    F32,
    F16,
    BF16,
    I64,
    I32,
    U8,
    Bool,
}

impl DType {
    /// Bytes an element.
    pub fn size(self) -> usize {
        match self {
            Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::U8 | Self::Bool => 1,
        }
    }

    /// Parameters are floats; counters, masks and indices are not and stay the target's.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// The safetensors name: `F32`, `BF16` …
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }
}

/// What a header says of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    pub dtype: DType,
    pub shape: Vec<usize>,
}

/// The headers of a checkpoint: enough to check a graph and to plan, without reading a value.
pub type Signature = BTreeMap<String, TensorInfo>;

/// A tensor in host memory or in a mapped file. Cloning shares the data.
#[derive(Clone, Debug)]
pub struct HostTensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    Floats(Arc<Vec<f32>>),
    /// Little-endian elements, owned or mapped.
    Raw(Bytes),
}

/// Elements a task handles at a time; also the unit in which sums are accumulated, so that results
/// do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

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
        assert_eq!(shape.iter().product::<usize>(), values.len(), "values fill the shape");
        Self { dtype: DType::F32, shape, data: Data::Floats(Arc::new(values)) }
    }

    /// Values rounded to a float `dtype`.
    ///
    /// # Panics
    /// When `dtype` is no float or the number of values does not fit the shape.
    pub fn from_f32_as(dtype: DType, shape: Vec<usize>, values: Vec<f32>) -> Self {
        let tensor = Self::from_f32(shape, values);
        let bytes: Vec<u8> = match dtype {
            DType::F32 => return tensor,
            DType::F16 => {
                tensor.f32().iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()
            }
            DType::BF16 => {
                tensor.f32().iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect()
            }
            other => panic!("{} is not a float dtype", other.name()),
        };
        Self { dtype, shape: tensor.shape, data: Data::Raw(bytes.into()) }
    }

    /// An i64 tensor.
    ///
    /// # Panics
    /// When the number of values does not fit the shape.
    pub fn from_i64(shape: Vec<usize>, values: &[i64]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::from_bytes(DType::I64, shape, bytes.into()).expect("values fill the shape")
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
        TensorInfo { dtype: self.dtype, shape: self.shape.clone() }
    }

    /// The values as f32, without a copy where they are stored so. Integers are converted.
    pub fn f32(&self) -> Cow<'_, [f32]> {
        let raw = match &self.data {
            Data::Floats(values) => return Cow::Borrowed(values),
            Data::Raw(raw) => raw,
        };
        if self.dtype == DType::F32
            && let Ok(values) = bytemuck::try_cast_slice(raw)
        {
            return Cow::Borrowed(values);
        }
        Cow::Owned(decode(self.dtype, raw))
    }

    /// The elements as little-endian bytes.
    pub fn bytes(&self) -> Bytes {
        match &self.data {
            Data::Raw(raw) => raw.clone(),
            Data::Floats(values) => Bytes::from_owner(FloatBytes(Arc::clone(values))),
        }
    }

    /// `self + scale · (to − from)`, exact but for one rounding to this tensor's dtype: with
    /// `from == self` and `scale = 1` the result is `to`, bit for bit.
    ///
    /// # Panics
    /// When the shapes differ; callers have checked them.
    #[must_use]
    pub fn shifted(&self, from: &Self, to: &Self, scale: f64) -> Self {
        assert!(self.shape == from.shape && self.shape == to.shape, "shapes agree");
        let (base, from, to) = (self.f32(), from.f32(), to.f32());
        let mut values = vec![0.0f32; base.len()];
        values.par_chunks_mut(CHUNK).enumerate().for_each(|(i, out)| {
            let range = i * CHUNK..i * CHUNK + out.len();
            for ((out, &b), (&f, &t)) in out
                .iter_mut()
                .zip(&base[range.clone()])
                .zip(from[range.clone()].iter().zip(&to[range]))
            {
                *out = shift(b, f, t, scale);
            }
        });
        Self::from_f32_as(self.dtype, self.shape.clone(), values)
    }

    /// `self + scale · difference`, rounded once to this tensor's dtype.
    ///
    /// # Panics
    /// When the shapes differ; callers have checked them.
    #[must_use]
    pub fn plus(&self, difference: &Self, scale: f64) -> Self {
        assert!(self.shape == difference.shape, "shapes agree");
        let sum = |(&a, &b): (&f32, &f32)| (f64::from(a) + scale * f64::from(b)) as f32;
        let values = self.f32().par_iter().zip(difference.f32().par_iter()).map(sum).collect();
        Self::from_f32_as(self.dtype, self.shape.clone(), values)
    }

    /// `factor · self`, f32.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let values = self.f32().par_iter().map(|&v| (f64::from(v) * factor) as f32).collect();
        Self::from_f32(self.shape.clone(), values)
    }

    /// `self − other`, f32.
    ///
    /// # Panics
    /// When the shapes differ; callers have checked them.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        assert!(self.shape == other.shape, "shapes agree");
        let difference = |(&a, &b): (&f32, &f32)| (f64::from(a) - f64::from(b)) as f32;
        let values = self.f32().par_iter().zip(other.f32().par_iter()).map(difference).collect();
        Self::from_f32(self.shape.clone(), values)
    }

    /// `Σ self · other` in f64.
    ///
    /// # Panics
    /// When the lengths differ; callers have checked them.
    pub fn inner(&self, other: &Self) -> f64 {
        let (a, b) = (self.f32(), other.f32());
        assert_eq!(a.len(), b.len(), "lengths agree");
        let sums: Vec<f64> = a
            .par_chunks(CHUNK)
            .zip(b.par_chunks(CHUNK))
            .map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum())
            .collect();
        sums.iter().sum()
    }
}

/// Lets `Bytes` own a shared vector of floats.
struct FloatBytes(Arc<Vec<f32>>);

impl AsRef<[u8]> for FloatBytes {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

fn decode(dtype: DType, raw: &[u8]) -> Vec<f32> {
    match dtype {
        DType::F32 => raw.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        DType::F16 => raw.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        DType::BF16 => raw.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        DType::I64 => raw.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f32).collect(),
        DType::I32 => raw.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b) as f32).collect(),
        DType::U8 | DType::Bool => raw.iter().map(|&b| f32::from(b)).collect(),
    }
}

/// `base + scale · (to − from)` with the rounding errors of both f64 sums carried along
/// (Knuth's two-sum), so that only the last conversion rounds when `scale = 1`.
fn shift(base: f32, from: f32, to: f32, scale: f64) -> f32 {
    let (difference, lost) = two_sum(f64::from(to), -f64::from(from));
    let (sum, lost_again) = two_sum(f64::from(base), scale * difference);
    (sum + (scale * lost + lost_again)) as f32
}

/// `(s, e)` with `s = fl(a + b)` and `s + e = a + b` exactly.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// Parameters by name.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    tensors: BTreeMap<String, HostTensor>,
}

impl Checkpoint {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn get(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.get(name)
    }

    pub fn insert(&mut self, name: impl Into<String>, tensor: HostTensor) {
        self.tensors.insert(name.into(), tensor);
    }

    pub fn remove(&mut self, name: &str) -> Option<HostTensor> {
        self.tensors.remove(name)
    }

    /// In order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HostTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    pub fn signature(&self) -> Signature {
        self.iter().map(|(name, tensor)| (name.to_owned(), tensor.info())).collect()
    }

    /// `self + scale · (to − from)`, tensor by tensor ([`HostTensor::shifted`]). Tensors that are
    /// no floats are this checkpoint's own.
    ///
    /// # Panics
    /// When a float tensor is missing in `from` or `to`; callers have compared the signatures.
    #[must_use]
    pub fn shifted(&self, from: &Self, to: &Self, scale: f64) -> Self {
        let shift = |(name, tensor): (&str, &HostTensor)| {
            let shifted = if tensor.dtype.is_float() {
                tensor.shifted(&from[name], &to[name], scale)
            } else {
                tensor.clone()
            };
            (name.to_owned(), shifted)
        };
        self.iter().map(shift).collect()
    }

    /// `factor · self`, tensor by tensor, f32.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        self.iter().map(|(name, tensor)| (name.to_owned(), tensor.scaled(factor))).collect()
    }

    /// `(1 − fraction) · self + fraction · other`; exactly `other` at fraction 1.
    #[must_use]
    pub fn interpolated(&self, other: &Self, fraction: f64) -> Self {
        self.shifted(self, other, fraction)
    }

    /// `Σ self · other` over this checkpoint's float tensors, in f64.
    ///
    /// # Panics
    /// When a tensor is missing in `other`.
    pub fn inner(&self, other: &Self) -> f64 {
        self.iter().filter(|(_, t)| t.dtype.is_float()).map(|(name, t)| t.inner(&other[name])).sum()
    }

    /// Euclidean norm over the float tensors.
    pub fn norm(&self) -> f64 {
        self.inner(self).sqrt()
    }
}

impl std::ops::Index<&str> for Checkpoint {
    type Output = HostTensor;

    /// # Panics
    /// When there is no such tensor: for names that a signature check has established.
    fn index(&self, name: &str) -> &HostTensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("no tensor {name:?}"))
    }
}

impl FromIterator<(String, HostTensor)> for Checkpoint {
    fn from_iter<I: IntoIterator<Item = (String, HostTensor)>>(iter: I) -> Self {
        Self { tensors: iter.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scalar(value: f32) -> HostTensor {
        HostTensor::from_f32(vec![1], vec![value])
    }

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

    proptest! {
        #[test]
        fn from_the_same_base_the_tuned_value_comes_back_bit_for_bit(
            a in -1e6f32..1e6, exponent in -40i32..10, mantissa in -1f32..1.0,
        ) {
            let tuned = mantissa * 2f32.powi(exponent);
            prop_assert_eq!(scalar(a).shifted(&scalar(a), &scalar(tuned), 1.0).f32()[0].to_bits(),
                            (tuned + 0.0).to_bits());
        }

        #[test]
        fn without_a_change_the_base_stays(b in -1e6f32..1e6, a in -1e6f32..1e6, alpha in -2f64..2.0) {
            prop_assert_eq!(scalar(b).shifted(&scalar(a), &scalar(a), alpha).f32()[0], b);
        }
    }
}
