//! Element types of tensors, and their values as f32 and as bytes.

use bytes::Bytes;
use half::{bf16, f16};

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
            Self::F32 => raw
                .as_chunks()
                .0
                .iter()
                .map(|&b| f32::from_le_bytes(b))
                .collect(),
            Self::F16 => raw
                .as_chunks()
                .0
                .iter()
                .map(|&b| f16::from_le_bytes(b).to_f32())
                .collect(),
            Self::BF16 => raw
                .as_chunks()
                .0
                .iter()
                .map(|&b| bf16::from_le_bytes(b).to_f32())
                .collect(),
            Self::I64 => raw
                .as_chunks()
                .0
                .iter()
                .map(|&b| i64::from_le_bytes(b) as f32)
                .collect(),
            Self::I32 => raw
                .as_chunks()
                .0
                .iter()
                .map(|&b| i32::from_le_bytes(b) as f32)
                .collect(),
            Self::U8 | Self::Bool => raw.iter().map(|&b| f32::from(b)).collect(),
        }
    }

    /// Values rounded to this dtype, as little-endian elements.
    ///
    /// # Panics
    /// When this is no float dtype.
    pub fn encode(self, values: &[f32]) -> Bytes {
        match self {
            Self::F32 => bytemuck::cast_slice::<f32, u8>(values).to_vec().into(),
            Self::F16 => halves(values, |value| f16::from_f32(value).to_bits()),
            Self::BF16 => halves(values, |value| bf16::from_f32(value).to_bits()),
            other => panic!("{} is not a float dtype", other.name()),
        }
    }

    /// The nearest value that this float dtype can hold.
    pub fn round(self, value: f32) -> f32 {
        match self {
            Self::F16 => f16::from_f32(value).to_f32(),
            Self::BF16 => bf16::from_f32(value).to_f32(),
            _ => value,
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

/// Values of two bytes each, little-endian.
fn halves(values: &[f32], to_bits: fn(f32) -> u16) -> Bytes {
    let bits: Vec<u16> = values.iter().map(|&value| to_bits(value).to_le()).collect();
    bytemuck::cast_slice::<u16, u8>(&bits).to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
