//! A position of a sentence as one number, so that a batch of sentences is one tensor `[B, S]`.
//!
//! What a library reads at a position is an id, a token type (BERT's segment) and whether attention sees
//! it. All three matter: a classifier of a decoder looks for the last id that is no padding, whatever the
//! mask says, and `RoBERTa` counts positions by ids. A position that only fills a shorter row up has none
//! of them.

/// Ids lie below this: 2 097 152.
pub const IDS: u32 = 1 << 21;
/// Token types lie below this. `IDS * TYPES` whole numbers are exact in f32, and their negatives.
pub const TYPES: u32 = 1 << 3;
/// A position that fills a shorter row up: below every token.
pub const ABSENT: f32 = -((1 << 25) as f32);

/// What stands at a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// Below [`IDS`].
    pub id: u32,
    /// Below [`TYPES`].
    pub token_type: u32,
    /// Attention does not see it.
    pub masked: bool,
}

impl Token {
    /// As the number of its position: not negative where attention sees it, `−1 − n` where it does not.
    ///
    /// # Panics
    /// When the id or the type is out of range; readers check first.
    pub fn packed(self) -> f32 {
        assert!(
            self.id < IDS && self.token_type < TYPES,
            "{self:?} is out of range"
        );
        let number = (self.token_type * IDS + self.id) as f32;
        if self.masked { -1.0 - number } else { number }
    }

    /// The token of a position; `None` where there is none.
    pub fn of(packed: f32) -> Option<Self> {
        if packed <= ABSENT {
            return None;
        }
        let masked = packed < 0.0;
        let number = if masked { -1.0 - packed } else { packed } as u32;
        Some(Self {
            id: number % IDS,
            token_type: number / IDS,
            masked,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_token_survives_its_number() {
        for token in tokens() {
            assert_eq!(Token::of(token.packed()), Some(token));
        }
        assert_eq!(Token::of(ABSENT), None);
        assert_eq!(
            Token {
                id: 7,
                ..Token::default()
            }
            .packed(),
            7.0
        );
        assert_eq!(
            Token {
                id: 7,
                masked: true,
                ..Token::default()
            }
            .packed(),
            -8.0
        );
    }
}
