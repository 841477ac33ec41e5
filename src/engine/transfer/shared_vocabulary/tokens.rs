//! Tokens that a tuning added: rows of its embedding and of its output matrix that no base has.
//!
//! The tuned model's table then has other rows than the old base's, or texts for rows of it that are none of the
//! old base's tokens (tables are padded). A row that both name, each by a text that the other lacks, is one token
//! that was renamed: reserved tokens are used so. Rows that the old base, the tuned model and
//! the new base share are brought into the new base's order, as everywhere; the tuning's own come into the
//! result as the tuned model has them, moved with the channels: in the row of the token where the new base
//! has it, in the tuned model's own row where that is free, else after all others. Rows without a token
//! (tables are padded) follow their number.

mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use self::rows::{Placed, by_row, common_rows, own_rows, tuned_rows};
use super::{Axis, SharedRows, gathered};
use crate::tensors::{Checkpoint, HostTensor, Signature};

pub use rows::Numbering;

/// Which rows of the three models are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTokens {
    /// As the trajectory keeps them.
    pub shared: SharedRows,
    /// Whether every row of the tuning's own stands where the tuned model has it.
    pub keeps_numbers: bool,
    /// For each row of the result, that of the tuned model.
    of_tuned: Arc<[Option<usize>]>,
    /// The same of the new base.
    of_target: Arc<[Option<usize>]>,
}

impl OwnTokens {
    /// `None` where the tuned model has as many rows as the old base and names no more of them, or the bases'
    /// tokens cannot be told to be the same: `same` says that they list them alike, or not at all.
    pub fn find(
        tensors: BTreeSet<String>,
        [old, tuned, new]: [Numbering; 3],
        same: bool,
    ) -> Option<Self> {
        if !same && (old.names.is_none() || new.names.is_none()) {
            return None;
        }

        let in_tuned = tuned_rows(old, tuned);
        let own_in_tuned = own_rows(old, tuned, &in_tuned);
        if old.rows == tuned.rows && own_in_tuned.is_empty() {
            return None;
        }

        let texts = by_row(new);
        let mut placed = Placed {
            rows: common_rows([old, new], same, &in_tuned),
            own: BTreeMap::new(),
            keeps_numbers: true,
        };
        for (at, name) in own_in_tuned {
            let named = name.as_ref().and_then(|name| new.names?.get(name).copied());
            let place = named
                .filter(|row| *row < new.rows && !placed.own.contains_key(row))
                .or_else(|| Some(at).filter(|row| same && placed.is_free(*row, &texts)))
                .unwrap_or(placed.rows.len());
            placed.put(place, at, name);
        }

        Some(Self::of(placed, tensors, [old, new]))
    }

    /// What follows from where the rows come from.
    fn of(placed: Placed, tensors: BTreeSet<String>, [old, new]: [Numbering; 2]) -> Self {
        let Placed {
            rows,
            own,
            keeps_numbers,
        } = placed;
        let mask = rows.iter().enumerate().map(|(row, common)| {
            if own.contains_key(&row) {
                Some(0)
            } else {
                common.map(|common| common.old)
            }
        });

        Self {
            keeps_numbers,
            of_tuned: rows
                .iter()
                .map(|common| common.map(|common| common.tuned))
                .collect(),
            of_target: (0..rows.len())
                .map(|row| (row < new.rows).then_some(row))
                .collect(),
            shared: SharedRows {
                axis: Axis::Vocabulary,
                tensors,
                rows: mask.collect(),
                of: old.rows,
                own,
            },
        }
    }

    /// Rows of the result.
    pub fn len(&self) -> usize {
        self.of_tuned.len()
    }

    pub fn is_empty(&self) -> bool {
        self.of_tuned.is_empty()
    }

    /// The headers of a model in the result's rows.
    #[must_use]
    pub fn on_signature(&self, of: Signature) -> Signature {
        self.shared.on_signature(of)
    }

    /// A point of the tuning in the result's rows.
    #[must_use]
    pub fn on_tuned(&self, tuned: &Checkpoint) -> Checkpoint {
        self.each(tuned, |_, tensor| gathered(tensor, &self.of_tuned))
    }

    /// The old base in the result's rows; it starts with the tuning's own as they end.
    #[must_use]
    pub fn on_base(&self, base: &Checkpoint, tuned: &Checkpoint) -> Checkpoint {
        let rows: Arc<[Option<usize>]> = (0..self.len())
            .map(|row| self.shared.rows[row].filter(|_| !self.shared.own.contains_key(&row)))
            .collect();
        self.each(base, |name, tensor| {
            let brought = gathered(tensor, &rows);
            match tuned.get(name) {
                Some(tuned) => self
                    .shared
                    .with_own(&brought, &gathered(tuned, &self.of_tuned)),
                None => brought,
            }
        })
    }

    /// The new base with room for the rows that are added; zero until the result has them.
    #[must_use]
    pub fn on_target(&self, target: &Checkpoint) -> Checkpoint {
        self.each(target, |_, tensor| gathered(tensor, &self.of_target))
    }

    fn each(
        &self,
        of: &Checkpoint,
        change: impl Fn(&str, &HostTensor) -> HostTensor,
    ) -> Checkpoint {
        let changed = of.iter().map(|(name, tensor)| {
            let is_one = self.shared.tensors.contains(name);
            (
                name.to_owned(),
                if is_one {
                    change(name, tensor)
                } else {
                    tensor.clone()
                },
            )
        });
        changed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::shared_vocabulary::Names;

    fn names(all: &[&str]) -> Names {
        all.iter()
            .enumerate()
            .map(|(row, name)| ((*name).to_owned(), row))
            .collect()
    }

    fn table(values: &[f32]) -> Checkpoint {
        let tensor = HostTensor::from_f32(vec![values.len(), 1], values.to_vec());
        [("words".to_owned(), tensor)].into_iter().collect()
    }

    fn values(of: &Checkpoint) -> Vec<f32> {
        of["words"].f32().into_owned()
    }

    type Listed<'a> = (&'a [&'a str], usize);

    fn find(old: Listed, tuned: Listed, new: Listed) -> OwnTokens {
        search(old, tuned, new).expect("added tokens")
    }

    fn search(old: Listed, tuned: Listed, new: Listed) -> Option<OwnTokens> {
        let lists = [old, tuned, new].map(|(list, _)| names(list));
        let of = |i: usize, rows| Numbering {
            rows,
            names: Some(&lists[i]),
        };
        let same = lists[0] == lists[2];
        let tensors = BTreeSet::from(["words".to_owned()]);
        OwnTokens::find(tensors, [of(0, old.1), of(1, tuned.1), of(2, new.1)], same)
    }

    #[test]
    fn added_tokens_follow_those_of_the_new_base() {
        let found = find(
            (&["a", "b"], 2),
            (&["a", "b", "x"], 4),
            (&["b", "a", "c"], 3),
        );
        assert_eq!(
            found.shared.own,
            BTreeMap::from([(3, Some("x".to_owned()))])
        );
        assert_eq!(
            (found.len(), found.shared.shared(), found.keeps_numbers),
            (4, 2, false)
        );
        let tuned = table(&[10.0, 20.0, 30.0, 40.0]);
        assert_eq!(values(&found.on_tuned(&tuned)), [20.0, 10.0, 0.0, 30.0]);
        assert_eq!(
            values(&found.on_base(&table(&[1.0, 2.0]), &tuned)),
            [2.0, 1.0, 0.0, 30.0]
        );
        assert_eq!(
            values(&found.on_target(&table(&[5.0, 6.0, 7.0]))),
            [5.0, 6.0, 7.0, 0.0]
        );
        let result = HostTensor::from_f32(vec![4, 1], vec![9.0; 4]);
        let moved = &found.on_tuned(&tuned)["words"];
        assert_eq!(
            found.shared.with_own(&result, moved).f32()[..],
            [9.0, 9.0, 9.0, 30.0]
        );
    }

    #[test]
    fn a_free_row_of_a_padded_table_is_the_added_tokens() {
        // The tuned model's table was cut to its tokens.
        let list: &[&str] = &["a", "b"];
        let found = find((list, 6), (&["a", "b", "x"], 3), (list, 6));
        assert_eq!(
            found.shared.own,
            BTreeMap::from([(2, Some("x".to_owned()))])
        );
        assert!(found.keeps_numbers && found.len() == 6);
        let tuned = table(&[10.0, 20.0, 30.0]);
        assert_eq!(
            values(&found.on_tuned(&tuned)),
            [10.0, 20.0, 30.0, 0.0, 0.0, 0.0]
        );
        let base = table(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(
            values(&found.on_base(&base, &tuned)),
            [1.0, 2.0, 30.0, 0.0, 0.0, 0.0]
        );
    }

    #[test]
    fn a_token_in_the_padding_of_a_table_of_one_size_is_added() {
        let (bases, tuned): (&[&str], &[&str]) = (&["a", "b"], &["a", "b", "x"]);
        let found = find((bases, 4), (tuned, 4), (bases, 4));
        assert_eq!(
            found.shared.own,
            BTreeMap::from([(2, Some("x".to_owned()))])
        );
        assert!(found.keeps_numbers && found.len() == 4);
        // The new base has a token of its own there.
        let found = find((bases, 4), (tuned, 4), (&["b", "a", "c"], 4));
        assert_eq!(
            found.shared.own,
            BTreeMap::from([(4, Some("x".to_owned()))])
        );
        let row = table(&[10.0, 20.0, 30.0, 40.0]);
        assert_eq!(values(&found.on_tuned(&row)), [20.0, 10.0, 0.0, 0.0, 30.0]);
    }

    #[test]
    fn a_token_that_was_renamed_keeps_its_row() {
        let bases: &[&str] = &["a", "reserved_0", "reserved_1"];
        let renamed = ["a", "user", "reserved_1", "x"];
        assert_eq!(search((bases, 3), (&renamed[..3], 3), (bases, 3)), None);
        let found = find((bases, 3), (&renamed, 4), (bases, 3));
        assert_eq!(
            found.shared.own,
            BTreeMap::from([(3, Some("x".to_owned()))])
        );
        assert_eq!(found.shared.shared(), 3);
    }

    #[test]
    fn a_token_that_the_new_base_has_too_keeps_its_row() {
        let found = find(
            (&["a", "b"], 2),
            (&["a", "b", "x", "y"], 4),
            (&["a", "y", "b"], 3),
        );
        let own = [(1, Some("y".to_owned())), (3, Some("x".to_owned()))];
        assert_eq!(found.shared.own, BTreeMap::from(own));
    }

    #[test]
    fn without_lists_rows_are_numbered_alike() {
        let tensors = || BTreeSet::from(["words".to_owned()]);
        let of = |rows| Numbering { rows, names: None };
        let found = OwnTokens::find(tensors(), [of(2), of(4), of(2)], true).unwrap();
        assert_eq!(found.shared.own.keys().collect::<Vec<_>>(), [&2, &3]);
        assert!(found.keeps_numbers);
        assert_eq!(
            OwnTokens::find(tensors(), [of(2), of(2), of(2)], true),
            None
        );
        assert_eq!(
            OwnTokens::find(tensors(), [of(2), of(4), of(3)], false),
            None
        );
    }
}
