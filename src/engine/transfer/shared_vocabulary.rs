//! Classes and tokens that two models share, where they number them differently.
//!
//! The rows of an output layer are classes, those of an embedding tokens: fixed axes, which no
//! permutation reaches. Where two models name their rows, the old one's are brought into the new
//! one's order before anything is computed. A row that only the new model has is zero in the old base
//! and in every point of its tuning, so that nothing is added to it; where the old one's tensor is
//! taken or compared as a whole, it is completed ([`SharedRows::completed`]). Such a row stays as the
//! new base has it.
//!
//! A tuning may have added tokens ([`tokens`]): rows of its own, which the result takes from it.

mod rows;
pub mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;

use crate::{
    network::{Graph, Op, RowsOf},
    tensors::{Checkpoint, DType, HostTensor, Signature, TensorInfo},
};
use rows::{Completed, gathered};

/// Rows by their names: class labels, or the texts of tokens.
pub type Names = BTreeMap<String, usize>;

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    Classes,
    Vocabulary,
}

/// The old model's rows in the new model's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRows {
    pub axis: Axis,
    /// Tensors whose first axis it is.
    pub tensors: BTreeSet<String>,
    /// For each row of the new model, that of the old one; `None` where the old one has none.
    pub rows: Arc<[Option<usize>]>,
    /// Rows of the old model.
    pub of: usize,
    /// Rows that the tuning added, with the texts of their tokens where they are known.
    pub own: BTreeMap<usize, Option<String>>,
}

/// The tensors of a network whose rows are classes or tokens.
pub fn named_tensors(graph: &Graph, signature: &Signature, axis: Axis) -> BTreeSet<String> {
    if let Some(network) = graph.by_names() {
        let kind = if axis == Axis::Classes {
            RowsOf::Classes
        } else {
            RowsOf::Tokens
        };
        return network.tensors_of(kind).map(str::to_owned).collect();
    }

    let bias = graph.output_bias();
    let bias = bias.as_deref();
    let head = graph.head().into_iter().flat_map(|head| {
        signature
            .keys()
            .filter(move |name| is_of_module(name, head) || bias == Some(name.as_str()))
    });
    if axis == Axis::Classes {
        return if graph.task.tells_classes() {
            head.cloned().collect()
        } else {
            BTreeSet::new()
        };
    }

    // The vocabulary is the largest table: BERT also embeds the kinds of its sentences.
    let tables = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Embedding { param, .. } => Some(format!("{param}.weight")),
        _ => None,
    });
    let Some(table) = tables.max_by_key(|name| rows_of(signature, name)) else {
        return BTreeSet::new();
    };
    let words = rows_of(signature, &table);
    let outputs =
        head.filter(|name| graph.task.predicts_words() && rows_of(signature, name) == words);
    let offsets = graph.nodes.iter().filter_map(|node| match &node.op {
        Op::Offset { param } => Some(format!("{param}.bias")),
        _ => None,
    });
    let offsets = offsets.filter(|name| rows_of(signature, name) == words);

    outputs
        .cloned()
        .chain(offsets)
        .chain([table.clone()])
        .collect()
}

/// The length of a tensor's first axis.
fn rows_of(signature: &Signature, name: &str) -> Option<usize> {
    signature.get(name)?.shape.first().copied()
}

/// Whether a tensor is of this module.
fn is_of_module(name: &str, module: &str) -> bool {
    name.strip_prefix(module)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// The names of both in small letters; `None` where two of one model would then be alike.
fn folded(one: &Names, other: &Names) -> Option<(Names, Names)> {
    lower_case(one).zip(lower_case(other))
}

fn lower_case(names: &Names) -> Option<Names> {
    let folded: Names = names
        .iter()
        .map(|(name, &row)| (name.trim().to_lowercase(), row))
        .collect();
    (folded.len() == names.len()).then_some(folded)
}

/// Whether two models tell no class of the same name, ignoring case.
pub fn none_is_shared(one: &Names, other: &Names) -> bool {
    let (one, other) = folded(one, other).unwrap_or_else(|| (one.clone(), other.clone()));
    !one.keys().any(|name| other.contains_key(name))
}

/// Whether two models give the same rows the same names, ignoring case.
pub fn same_numbering(one: &Names, other: &Names) -> bool {
    let (one, other) = folded(one, other).unwrap_or_else(|| (one.clone(), other.clone()));
    one == other
}

/// A model's names of its rows, and its headers.
#[derive(Clone, Copy, Debug)]
pub struct Numbered<'a> {
    pub names: &'a Names,
    pub signature: &'a Signature,
}

impl SharedRows {
    /// `None` where the numbering is the same, where no name is shared ([`none_is_shared`]), or where
    /// `tensors` differ in more than their rows. Classes are matched ignoring case.
    pub fn find(
        axis: Axis,
        tensors: BTreeSet<String>,
        old: Numbered,
        new: Numbered,
    ) -> Option<Self> {
        let Numbered {
            names: old_names,
            signature: old,
        } = old;
        let Numbered {
            names: new_names,
            signature: new,
        } = new;
        let first = tensors.first()?;
        let (of, len) = (rows_of(old, first)?, rows_of(new, first)?);
        let differs_in_rows_alone = tensors.iter().all(|name| {
            rows_of(old, name) == Some(of)
                && rows_of(new, name) == Some(len)
                && old[name].shape[1..] == new[name].shape[1..]
        });
        if !differs_in_rows_alone {
            return None;
        }

        let folded = (axis == Axis::Classes)
            .then(|| folded(old_names, new_names))
            .flatten();
        let (old_names, new_names) = folded
            .as_ref()
            .map_or((old_names, new_names), |(old, new)| (old, new));
        let mut rows = vec![None; len];

        for (name, &row) in new_names.iter().filter(|(_, row)| **row < len) {
            rows[row] = old_names.get(name).copied().filter(|&row| row < of);
        }

        let moved = rows
            .iter()
            .enumerate()
            .any(|(i, row)| row.is_some_and(|row| row != i));
        let unnamed = new_names
            .iter()
            .any(|(name, _)| !old_names.contains_key(name));
        let same = of == len && !moved && !unnamed;
        let any = rows.iter().any(Option::is_some);
        let own = BTreeMap::new();

        (any && !same).then(|| Self {
            axis,
            tensors,
            rows: rows.into(),
            of,
            own,
        })
    }

    /// Rows that both have.
    pub fn shared(&self) -> usize {
        self.rows.iter().flatten().count() - self.own.len()
    }

    /// A tensor of the result with the rows that the tuning added, moved already, in its dtype.
    ///
    /// # Panics
    /// When the shapes differ.
    #[must_use]
    pub fn with_own(&self, result: &HostTensor, moved: &HostTensor) -> HostTensor {
        if self.own.is_empty() {
            return result.clone();
        }

        let rows = (0..self.rows.len()).map(|row| self.own.contains_key(&row).then_some(row));
        let (brought, new, dtype) = (moved.clone(), result.clone(), result.dtype());

        Completed {
            brought,
            new,
            rows: rows.collect(),
            dtype,
        }
        .tensor()
    }

    /// The old model's headers, in the new one's order.
    #[must_use]
    pub fn on_signature(&self, mut old: Signature) -> Signature {
        for name in &self.tensors {
            if let Some(TensorInfo { shape, .. }) = old.get_mut(name)
                && let Some(rows) = shape.first_mut()
            {
                *rows = self.rows.len();
            }
        }
        old
    }

    /// A point of the old model's trajectory, in the new one's order.
    #[must_use]
    pub fn on(&self, old: &Checkpoint) -> Checkpoint {
        let brought = old.iter().map(|(name, tensor)| {
            let rows = self.tensors.contains(name) && tensor.shape().first() == Some(&self.of);
            (
                name.to_owned(),
                if rows {
                    self.gathered(tensor)
                } else {
                    tensor.clone()
                },
            )
        });

        brought.collect()
    }

    /// A tensor in the new one's order, with the new model's own values in the rows that only it has;
    /// f32, which holds the values of both.
    ///
    /// # Panics
    /// When the shapes differ.
    #[must_use]
    pub fn completed(&self, brought: &HostTensor, new: &HostTensor) -> HostTensor {
        let (brought, new, rows) = (brought.clone(), new.clone(), Arc::clone(&self.rows));
        Completed {
            brought,
            new,
            rows,
            dtype: DType::F32,
        }
        .tensor()
    }

    fn gathered(&self, tensor: &HostTensor) -> HostTensor {
        gathered(tensor, &self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Names {
        all.iter()
            .enumerate()
            .map(|(row, name)| ((*name).to_owned(), row))
            .collect()
    }

    fn head(rows: usize) -> Signature {
        let info = |shape: &[usize]| TensorInfo {
            dtype: DType::F32,
            shape: shape.to_vec(),
        };
        Signature::from([
            ("h.bias".into(), info(&[rows])),
            ("h.weight".into(), info(&[rows, 2])),
        ])
    }

    fn find(old: &[&str], new: &[&str]) -> Option<SharedRows> {
        let old = Numbered {
            names: &names(old),
            signature: &head(old.len()),
        };
        let new = Numbered {
            names: &names(new),
            signature: &head(new.len()),
        };

        SharedRows::find(
            Axis::Classes,
            old.signature.keys().cloned().collect(),
            old,
            new,
        )
    }

    #[test]
    fn rows_follow_their_names() {
        let found = find(&["cat", "dog", "owl"], &["owl", "elk", "cat", "fox"]).unwrap();
        assert_eq!(*found.rows, [Some(2), None, Some(0), None]);
        assert_eq!(found.shared(), 2);
        let old: Checkpoint = [
            (
                "h.bias".to_owned(),
                HostTensor::from_f32(vec![3], vec![1.0, 2.0, 3.0]),
            ),
            (
                "h.weight".to_owned(),
                HostTensor::from_f32(vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ),
            (
                "other".to_owned(),
                HostTensor::from_f32(vec![3], vec![7.0, 8.0, 9.0]),
            ),
        ]
        .into_iter()
        .collect();
        let brought = found.on(&old);
        assert_eq!(brought["h.bias"].f32()[..], [3.0, 0.0, 1.0, 0.0]);
        assert_eq!(
            brought["h.weight"].f32()[..],
            [5.0, 6.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0]
        );
        assert_eq!(brought["other"].f32()[..], [7.0, 8.0, 9.0]);
        assert_eq!(
            brought.signature()["h.weight"],
            found.on_signature(head(3))["h.weight"]
        );
        let new = HostTensor::from_f32(vec![4, 2], vec![9.0; 8]);
        let completed = found.completed(&brought["h.weight"], &new);
        assert_eq!(
            completed.f32()[..],
            [5.0, 6.0, 9.0, 9.0, 1.0, 2.0, 9.0, 9.0]
        );

        assert_eq!(completed.floats(1..5)[..], [6.0, 9.0, 9.0, 1.0]);
    }

    #[test]
    fn the_same_numbering_is_left_alone() {
        assert_eq!(find(&["a", "b"], &["a", "b"]), None);
        assert_eq!(find(&["a", "b"], &["no", "yes"]), None, "nothing is shared");
        assert_eq!(
            find(&["a", "b"], &["x", "y", "z"]),
            None,
            "nothing is shared"
        );
        assert!(none_is_shared(&names(&["a", "b"]), &names(&["no", "yes"])));
        assert_eq!(find(&["a", "b"], &["A", "B"]), None, "the same numbering");
        assert_eq!(
            *find(&["A", "b"], &["B", "a"]).unwrap().rows,
            [Some(1), Some(0)]
        );
        assert_eq!(
            *find(&["a", "b"], &["a", "c"]).unwrap().rows,
            [Some(0), None]
        );
        assert_eq!(
            *find(&["a", "A"], &["A", "a"]).unwrap().rows,
            [Some(1), Some(0)]
        );

        assert_eq!(
            *find(&["a", "b"], &["b", "a"]).unwrap().rows,
            [Some(1), Some(0)]
        );
    }
}
