//! The spaces of one attention.

/// An attention's spaces.
pub(super) struct AttentionSpaces {
    /// The fused projection that the first three are parts of.
    pub fused: Option<usize>,
    /// Queries, keys, values, output.
    pub classes: [usize; 4],
    pub heads: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    pub fixed_dimensions: usize,
    /// The tensors with an entry for each of its heads.
    pub by_head: Vec<String>,
}

impl AttentionSpaces {
    /// Whether every head has keys and values of its own.
    pub fn is_plain(&self) -> bool {
        self.heads == self.kv_heads
    }

    /// Whether both read one tensor with an entry for each head.
    pub fn shares_a_tensor(&self, other: &Self) -> bool {
        self.by_head.iter().any(|name| other.by_head.contains(name))
    }
}
