//! Element types of tensors, and their values as f32 and as bytes.

use bytes::Bytes;
use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::vectorized::vectorized;

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
    /// Bytes per element.
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

    /// Position of the first of these little-endian elements that is NaN or infinite. An integer never is.
    pub fn first_not_finite(self, raw: &[u8]) -> Option<usize> {
        match self {
            Self::F32 => first(raw.as_chunks().0, |&b| !f32::from_le_bytes(b).is_finite()),
            Self::F16 => first(raw.as_chunks().0, |&b| !f16::from_le_bytes(b).is_finite()),
            Self::BF16 => first(raw.as_chunks().0, |&b| !bf16::from_le_bytes(b).is_finite()),
            Self::I64 | Self::I32 | Self::U8 | Self::Bool => None,
        }
    }

    /// Little-endian elements as f32; integers are converted.
    pub fn decode(self, raw: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => each(raw, f32::from_le_bytes),
            Self::F16 => {
                let halves: Vec<f16> = raw
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&b| f16::from_le_bytes(b))
                    .collect();
                halves.to_f32_vec()
            }
            Self::BF16 => each(raw, |b| {
                f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)
            }),
            Self::I64 => each(raw, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => each(raw, |b| i32::from_le_bytes(b) as f32),
            Self::U8 | Self::Bool => each(raw, |[b]| f32::from(b)),
        }
    }

    /// Values rounded to this dtype, as little-endian elements.
    ///
    /// # Panics
    /// When this is no float dtype.
    pub fn encode(self, values: &[f32]) -> Bytes {
        match self {
            Self::F32 => bytemuck::cast_slice::<f32, u8>(values).to_vec().into(),
            Self::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                little_endian(halves.iter().map(|half| half.to_bits()))
            }
            Self::BF16 => {
                vectorized(|| little_endian(values.iter().map(|&value| bf16_bits(value))))
            }
            other => panic!("{} is not a float dtype", other.name()),
        }
    }

    /// The nearest values that this float dtype can hold, in place.
    pub fn round(self, values: &mut [f32]) {
        match self {
            Self::F16 => values
                .iter_mut()
                .for_each(|value| *value = f16::from_f32(*value).to_f32()),
            Self::BF16 => vectorized(|| {
                for value in values {
                    *value = f32::from_bits(u32::from(bf16_bits(*value)) << 16);
                }
            }),
            _ => {}
        }
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

/// Values that are looked at together, without a branch for each.
const BLOCK: usize = 64;

fn first<const N: usize>(values: &[[u8; N]], found: impl Fn(&[u8; N]) -> bool) -> Option<usize> {
    let block = values
        .chunks(BLOCK)
        .position(|block| block.iter().fold(false, |any, value| any | found(value)))?;
    let start = block * BLOCK;
    let within = values[start..].iter().position(found)?;
    Some(start + within)
}

/// What each element of so many bytes is.
fn each<const N: usize>(raw: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    vectorized(|| {
        raw.as_chunks()
            .0
            .iter()
            .map(|&bytes| value(bytes))
            .collect()
    })
}

/// The nearest bf16, ties to even; a NaN stays one. As `half` rounds, but without a branch.
#[expect(clippy::inline_always, reason = "a loop over it becomes vectors")]
#[inline(always)]
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    (if value.is_nan() { quiet } else { rounded }) as u16
}

/// Values of two bytes each, little-endian.
#[expect(clippy::inline_always, reason = "a loop over it becomes vectors")]
#[inline(always)]
fn little_endian(bits: impl ExactSizeIterator<Item = u16>) -> Bytes {
    let mut bytes = vec![0; 2 * bits.len()];
    for (to, bits) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(bits) {
        *to = bits.to_le_bytes();
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_read_and_rounded_as_the_library_does() {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let halves = all.as_chunks::<2>().0;
        let as_f16: Vec<f32> = halves
            .iter()
            .map(|&b| f16::from_le_bytes(b).to_f32())
            .collect();
        let as_bf16: Vec<f32> = halves
            .iter()
            .map(|&b| bf16::from_le_bytes(b).to_f32())
            .collect();
        for (dtype, values) in [(DType::F16, &as_f16), (DType::BF16, &as_bf16)] {
            for (found, value) in dtype.decode(&all).iter().zip(values) {
                assert!(found.to_bits() == value.to_bits() || found.is_nan() && value.is_nan());
            }
        }

        // Halves, what lies between two of them, and their neighbours.
        let near = as_bf16.iter().flat_map(|value| {
            [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff]
                .map(|more| f32::from_bits(value.to_bits() | more))
        });
        let values: Vec<f32> = near.collect();
        for dtype in [DType::F16, DType::BF16] {
            let mut rounded = values.clone();
            dtype.round(&mut rounded);
            let encoded = dtype.decode(&dtype.encode(&values));
            for ((value, rounded), encoded) in values.iter().zip(&rounded).zip(&encoded) {
                let nearest = match dtype {
                    DType::F16 => f16::from_f32(*value).to_f32(),
                    _ => bf16::from_f32(*value).to_f32(),
                };
                let is_same = rounded.to_bits() == nearest.to_bits()
                    && encoded.to_bits() == nearest.to_bits();
                assert!(
                    is_same || nearest.is_nan() && rounded.is_nan() && encoded.is_nan(),
                    "{value}"
                );
            }
        }
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_found_wherever_it_stands() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for (bad, at) in [
                (f32::NAN, 0),
                (f32::INFINITY, 63),
                (f32::NEG_INFINITY, 64),
                (f32::NAN, 130),
            ] {
                let mut values = vec![1.0; 131];
                values[at] = bad;
                values[130] = f32::NAN;
                assert_eq!(
                    dtype.first_not_finite(&dtype.encode(&values)),
                    Some(at),
                    "{dtype:?}"
                );
            }
            let largest = [dtype.decode(&dtype.encode(&[60000.0, -0.0]))[0]; 70];
            assert_eq!(
                dtype.first_not_finite(&dtype.encode(&largest)),
                None,
                "{dtype:?}"
            );
        }
        assert_eq!(DType::I64.first_not_finite(&[0xff; 80]), None);
    }
}
