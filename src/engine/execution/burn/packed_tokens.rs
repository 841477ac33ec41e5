//! Packed tokens ([`Token`](crate::network::Token)) on a device, taken apart.

use burn::tensor::Tensor;

use crate::network::token::{ABSENT, IDS};

/// Positions `[B, S]` on a device, taken apart. Every tensor is `[B, S]`.
pub(super) struct PackedTokens {
    /// 0 where there is no token.
    pub ids: Tensor<2>,
    /// 0 where there is no token.
    pub types: Tensor<2>,
    /// 1 where there is a token, masked or not; else 0.
    pub present: Tensor<2>,
    /// 1 where attention sees a token; else 0.
    pub seen: Tensor<2>,
}

impl PackedTokens {
    pub fn of(packed: Tensor<2>) -> Self {
        let seen = packed.clone().greater_equal_elem(0.0).float();
        let present = packed.clone().greater_elem(ABSENT).float();
        // n where it is seen, −1 − (−1 − n) where it is masked, 0 where there is none.
        let masked = present.clone() - seen.clone();
        let number = packed.clone() * seen.clone() - (packed + 1.0) * masked;
        let types = (number.clone() / IDS as f32).floor();
        let ids = number - types.clone() * IDS as f32;
        Self {
            ids,
            types,
            present,
            seen,
        }
    }

    /// 1 where there is a token of another id than this; else 0.
    pub fn other_than(&self, id: u32) -> Tensor<2> {
        self.ids.clone().not_equal_elem(id as f32).float() * self.present.clone()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::{
        execution::floats,
        network::{Token, token::TYPES},
    };

    fn tokens() -> [Token; 5] {
        let token = |id, token_type, masked| Token {
            id,
            token_type,
            masked,
        };
        [
            token(0, 0, false),
            token(0, 0, true),
            token(30_521, 1, false),
            token(IDS - 1, TYPES - 1, false),
            token(IDS - 1, TYPES - 1, true),
        ]
    }

    #[test]
    fn a_device_takes_positions_apart_as_the_cpu_does() {
        let mut packed: Vec<f32> = tokens().map(Token::packed).to_vec();
        packed.push(ABSENT);
        let data = TensorData::new(packed, [1, 6]);
        let found = PackedTokens::of(Tensor::from_data(data, &Device::flex()));
        let last = (IDS - 1) as f32;
        assert_eq!(floats(found.other_than(0)), [0.0, 0.0, 1.0, 1.0, 1.0, 0.0]);
        assert_eq!(floats(found.ids), [0.0, 0.0, 30_521.0, last, last, 0.0]);
        assert_eq!(floats(found.types), [0.0, 0.0, 1.0, 7.0, 7.0, 0.0]);
        assert_eq!(floats(found.seen), [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(floats(found.present), [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    }
}
