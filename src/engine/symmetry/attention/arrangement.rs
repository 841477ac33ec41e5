//! Where the heads of an attention and their dimensions come from, and the orders of channels that this
//! is.

use super::Attention;

/// Where heads and dimensions come from, one entry per target key/value head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrangement {
    pub heads: Vec<u32>,
    pub inside: Vec<Inside>,
}

/// The inside of one key/value head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inside {
    /// Query heads of the block.
    pub queries: Vec<u32>,
    /// Dimensions of queries and keys.
    pub query_dimensions: Vec<u32>,
    /// Dimensions of values and output.
    pub value_dimensions: Vec<u32>,
}

impl Attention {
    /// The arrangement that orders of the groups' channels come from, if they keep heads together.
    pub(super) fn arrangement<'s>(&self, of: impl Fn(usize) -> &'s [u32]) -> Arrangement {
        let (size, served) = (self.head_size as u32, self.served());
        let [queries, keys, values] = [self.queries, self.keys, self.values].map(of);
        let heads = (0..self.kv_heads)
            .map(|head| keys[head * self.head_size] / size)
            .collect();

        let inside = (0..self.kv_heads)
            .map(|head| Inside {
                queries: (head * served..(head + 1) * served)
                    .map(|query| queries[query * self.head_size] / size % served as u32)
                    .collect(),
                query_dimensions: self.dimensions(keys, head),
                value_dimensions: self.dimensions(values, head),
            })
            .collect();
        Arrangement { heads, inside }
    }

    /// The order of the dimensions of a head, given that of all channels.
    fn dimensions(&self, sigma: &[u32], head: usize) -> Vec<u32> {
        let channels = &sigma[head * self.head_size..][..self.head_size];
        channels
            .iter()
            .map(|channel| channel % self.head_size as u32)
            .collect()
    }

    /// The order of the channels of every group.
    pub(super) fn channels(&self, arrangement: &Arrangement) -> Vec<(usize, Vec<u32>)> {
        let size = self.head_size as u32;
        let (mut queries, mut keys, mut values, mut output) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (&head, inside) in arrangement.heads.iter().zip(&arrangement.inside) {
            keys.extend(inside.query_dimensions.iter().map(|d| head * size + d));
            values.extend(inside.value_dimensions.iter().map(|d| head * size + d));
            for &query in &inside.queries {
                let from = head * self.served() as u32 + query;
                queries.extend(inside.query_dimensions.iter().map(|d| from * size + d));
                output.extend(inside.value_dimensions.iter().map(|d| from * size + d));
            }
        }

        let all = [
            (self.queries, queries),
            (self.keys, keys),
            (self.values, values),
            (self.output, output),
        ];
        let groups = self.groups();
        groups
            .into_iter()
            .filter_map(|group| all.iter().find(|(g, _)| *g == group).cloned())
            .collect()
    }
}
