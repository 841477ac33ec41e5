//! Which rows of three models hold the same tokens, and where those go that only the tuned model has.

use std::collections::{BTreeMap, BTreeSet};

use crate::transfer::shared_vocabulary::Names;

/// A model's tokens: how many rows it has, and their texts where its folder lists them.
#[derive(Clone, Copy, Debug)]
pub struct Numbering<'a> {
    pub rows: usize,
    pub names: Option<&'a Names>,
}

/// A row of the old base, and the same of the tuned model.
#[derive(Clone, Copy)]
pub struct Common {
    pub old: usize,
    pub tuned: usize,
}

/// Where the rows of the result come from.
pub struct Placed {
    /// For each row of the result; `None` where only the new base may have it.
    pub rows: Vec<Option<Common>>,
    /// Rows that are the tuning's own, with their texts.
    pub own: BTreeMap<usize, Option<String>>,
    /// Each of these stands where the tuned model has it.
    pub keeps_numbers: bool,
}

impl Placed {
    /// Whether no token stands there, shared, own or the new base's.
    pub fn is_free(&self, row: usize, texts: &BTreeMap<usize, &str>) -> bool {
        !self.own.contains_key(&row)
            && self
                .rows
                .get(row)
                .is_none_or(|taken| taken.is_none() && !texts.contains_key(&row))
    }

    /// Puts the tuned model's row `at` into a place.
    pub fn put(&mut self, place: usize, at: usize, name: Option<String>) {
        if place >= self.rows.len() {
            self.rows.resize(place + 1, None);
        }
        self.rows[place] = Some(Common { old: at, tuned: at });
        self.keeps_numbers &= place == at;
        self.own.insert(place, name);
    }
}

/// For each row of the new base, that of the old base and of the tuned model; `same` where the bases list their
/// tokens alike.
pub fn common_rows(
    [old, new]: [Numbering; 2],
    same: bool,
    in_tuned: &BTreeMap<usize, usize>,
) -> Vec<Option<Common>> {
    let texts = if same { BTreeMap::new() } else { by_row(new) };
    (0..new.rows)
        .map(|row| {
            let in_old = if same {
                row
            } else {
                *old.names?.get(*texts.get(&row)?)?
            };
            if in_old >= old.rows {
                return None;
            }
            Some(Common {
                old: in_old,
                tuned: *in_tuned.get(&in_old)?,
            })
        })
        .collect()
}

/// Texts of a model's rows.
pub fn by_row(of: Numbering<'_>) -> BTreeMap<usize, &str> {
    let names = of.names.into_iter().flatten();
    names
        .map(|(name, &row)| (row, name.as_str()))
        .filter(|(row, _)| *row < of.rows)
        .collect()
}

/// The tuned model's row of each of the old base's: by text where both list them, else by number, and by number
/// where a token was renamed.
pub fn tuned_rows(old: Numbering<'_>, tuned: Numbering<'_>) -> BTreeMap<usize, usize> {
    let common = old.rows.min(tuned.rows);
    let (Some(old_names), Some(tuned_names)) = (old.names, tuned.names) else {
        return (0..common).map(|row| (row, row)).collect();
    };
    let [of_old, of_tuned] = [by_row(old), by_row(tuned)];
    let by_number = |row: &usize| match (of_old.get(row), of_tuned.get(row)) {
        (None, None) => true,
        (Some(&was), Some(&is)) => !tuned_names.contains_key(was) && !old_names.contains_key(is),
        _ => false,
    };
    let mut rows: BTreeMap<usize, usize> = (0..common)
        .filter(by_number)
        .map(|row| (row, row))
        .collect();

    for (name, &row) in old_names.iter().filter(|(_, row)| **row < old.rows) {
        if let Some(&at) = tuned_names.get(name).filter(|at| **at < tuned.rows) {
            rows.insert(row, at);
        }
    }

    rows
}

/// The tuned model's rows that the old base has not: those with a text of their own, or all.
pub fn own_rows(
    old: Numbering<'_>,
    tuned: Numbering<'_>,
    in_tuned: &BTreeMap<usize, usize>,
) -> Vec<(usize, Option<String>)> {
    let (Some(old_names), Some(_)) = (old.names, tuned.names) else {
        return (old.rows..tuned.rows).map(|row| (row, None)).collect();
    };

    let shared: BTreeSet<usize> = in_tuned.values().copied().collect();
    by_row(tuned)
        .into_iter()
        .filter(|(row, name)| !shared.contains(row) && !old_names.contains_key(*name))
        .map(|(row, name)| (row, Some(name.to_owned())))
        .collect()
}
