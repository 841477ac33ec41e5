//! Token ids with what stands beside them, as the numbers that a network reads.

use super::{IDS, MASK, TYPES, integers};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::{
        network::{
            Token,
            token::{ABSENT, IDS as MOST_IDS, TYPES as MOST_TYPES},
        },
        tensors::HostTensor,
    },
    storage::Location,
};

/// What may stand beside the ids, in their shape.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside<'a> {
    pub mask: Option<&'a HostTensor>,
    pub types: Option<&'a HostTensor>,
}

/// Tokens as the numbers that [`Token`] packs.
pub(super) fn packed_tokens(
    ids: &HostTensor,
    beside: Beside<'_>,
    location: &Location,
) -> Result<HostTensor, ArtifactError> {
    let values = integers(ids);
    let mask = beside.mask.map_or_else(|| vec![1; values.len()], integers);
    let types = beside.types.map_or_else(|| vec![0; values.len()], integers);

    let packed = values
        .into_iter()
        .zip(mask)
        .zip(types)
        .enumerate()
        .map(|(at, row)| {
            let ((id, seen), token_type) = row;
            let masked = match seen {
                0 => true,
                1 => false,
                _ => {
                    let detail = format!("element {at} is {seen}; it must be 0 or 1");
                    return Err(ArtifactError::tensor(
                        FailureCode::InvalidMask,
                        location,
                        MASK,
                        detail,
                    ));
                }
            };
            if masked && id < 0 {
                return Ok(ABSENT);
            }
            let id = below(MOST_IDS, id, IDS, at, location)?;
            let token_type = below(MOST_TYPES, token_type, TYPES, at, location)?;
            Ok(Token {
                id,
                token_type,
                masked,
            }
            .packed())
        });
    Ok(HostTensor::from_f32(
        ids.shape().to_vec(),
        packed.collect::<Result<_, _>>()?,
    ))
}

/// A number from 0 to below `bound`.
fn below(
    bound: u32,
    value: i64,
    tensor: &str,
    at: usize,
    location: &Location,
) -> Result<u32, ArtifactError> {
    u32::try_from(value)
        .ok()
        .filter(|value| *value < bound)
        .ok_or_else(|| {
            let detail = format!(
                "element {at} is {value}; it must lie between 0 and {}",
                bound - 1
            );
            ArtifactError::tensor(FailureCode::TokenOutOfRange, location, tensor, detail)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn i64s(shape: &[usize], values: &[i64]) -> HostTensor {
        HostTensor::from_i64(shape.to_vec(), values)
    }

    fn location() -> Location {
        Location::from_uri("file:///data/ids.safetensors").unwrap()
    }

    #[test]
    fn masked_tokens_keep_their_ids() {
        let ids = i64s(&[2, 2], &[5, 0, 7, -3]);
        let mask = i64s(&[2, 2], &[1, 0, 1, 0]);
        let types = i64s(&[2, 2], &[0, 0, 1, 0]);
        let packed = |mask, types| packed_tokens(&ids, Beside { mask, types }, &location());
        let code = |mask, types| packed(mask, types).unwrap_err().code();

        let found = packed(Some(&mask), Some(&types)).unwrap();
        let typed = (MOST_IDS + 7) as f32;
        assert_eq!(found.f32().as_ref(), [5.0, -1.0, typed, ABSENT]);
        assert_eq!(code(None, None), FailureCode::TokenOutOfRange);
        let (odd, too_many) = (i64s(&[2, 2], &[1, 1, 2, 0]), i64s(&[2, 2], &[8, 0, 0, 0]));
        assert_eq!(code(Some(&odd), None), FailureCode::InvalidMask);
        assert_eq!(
            code(Some(&mask), Some(&too_many)),
            FailureCode::TokenOutOfRange
        );
    }
}
