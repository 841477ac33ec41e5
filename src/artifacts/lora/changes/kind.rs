//! What the tensors of an adapter are, by the ends of their names.

/// What stands behind a module's name.
pub enum Kind<'a> {
    Factors {
        module: &'a str,
        ends: [&'static str; 2],
    },
    /// Seen with the A that it belongs to, which ends so where this ends so.
    Part {
        end: &'static str,
        of: &'static [&'static str],
    },
    Bias(&'a str),
    Tokens(&'a str),
    Whole(String),
    /// The base's own, saved beside a copy.
    Ignored,
}

const LINEAR: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
pub const EMBEDDING: [&str; 2] = [".lora_embedding_A", ".lora_embedding_B"];
pub const MAGNITUDES: [&str; 2] = [".lora_magnitude_vector", ".lora_magnitude_vector.weight"];
/// How tensors that belong to an A end, and how that ends.
const PARTS: [(&str, &[&str]); 4] = [
    (LINEAR[1], &[LINEAR[0]]),
    (EMBEDDING[1], &[EMBEDDING[0]]),
    (MAGNITUDES[0], &[LINEAR[0], EMBEDDING[0]]),
    (MAGNITUDES[1], &[LINEAR[0], EMBEDDING[0]]),
];

impl<'a> Kind<'a> {
    pub fn of(plain: &'a str) -> Self {
        for ends in [LINEAR, EMBEDDING] {
            if let Some(module) = plain.strip_suffix(ends[0]) {
                return Self::Factors { module, ends };
            }
        }

        if let Some((end, of)) = PARTS.into_iter().find(|(end, _)| plain.ends_with(end)) {
            return Self::Part { end, of };
        }
        if let Some(module) = plain.strip_suffix(".lora_B.bias") {
            return Self::Bias(module);
        }
        if let Some(module) = plain.strip_suffix(".token_adapter.trainable_tokens_delta") {
            return Self::Tokens(module);
        }

        if plain.contains(".original_module.") {
            return Self::Ignored;
        }

        Self::Whole(
            plain
                .replace(".base_layer.", ".")
                .replace(".modules_to_save.", "."),
        )
    }
}
