//! The tensors of a network of which nothing else is known.

use super::{Axis, ParamUse, Role};

/// The tensors of a network, and what the configuration calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByNames {
    pub name: String,
    /// The architectures that are known, for messages.
    pub known: String,
    pub tensors: Vec<Named>,
}

/// One of its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub role: Role,
    pub rank: usize,
    pub rows: Option<RowsOf>,
}

/// What a tensor's rows stand for, where each has a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsOf {
    Classes,
    Tokens,
}

/// Axes that a tensor has at most; a file with more is refused before.
const MAX_RANK: usize = 8;
const FIXED: [Axis; MAX_RANK] = [Axis::Fixed; MAX_RANK];

impl ByNames {
    pub(super) fn params(&self) -> Vec<ParamUse> {
        self.tensors.iter().map(Named::param).collect()
    }

    /// The tensors whose rows are classes or tokens.
    pub fn tensors_of(&self, rows: RowsOf) -> impl Iterator<Item = &str> {
        self.tensors
            .iter()
            .filter(move |tensor| tensor.rows == Some(rows))
            .map(|t| t.name.as_str())
    }

    /// How two such networks differ, as far as it can be told.
    pub(in crate::network) fn difference(&self, other: &Self) -> Option<String> {
        let (here, there) = (&self.name, &other.name);
        (here != there).then(|| format!("the architecture is {here:?} here and {there:?} there"))
    }
}

impl Named {
    fn param(&self) -> ParamUse {
        ParamUse {
            name: self.name.clone(),
            role: self.role,
            axes: &FIXED[..self.rank.min(MAX_RANK)],
            required: true,
            expert: None,
        }
    }
}
