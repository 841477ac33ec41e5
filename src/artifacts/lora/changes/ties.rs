//! A base whose output matrix is its embedding, and what becomes of the two; and an embedding that several modules
//! have.

use std::collections::BTreeMap;

use super::{Change, Reading};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::network::{OUTPUT, copies_of, tied_embedding},
};

impl Reading<'_> {
    /// Refuses a table that was saved for one side alone: to peft the other side keeps the base's.
    pub(super) fn check_copies(&self, tensor: &str, change: &Change) -> Result<(), ArtifactError> {
        let all = copies_of(self.config, tensor, self.base);
        let (Some(found), true) = (change.copies.first(), change.copies.len() < all.len()) else {
            return Ok(());
        };
        let detail = format!(
            "is saved for one of {}, which are one table here; merge the adapter into its base instead",
            all.join(" and ")
        );
        Err(self.fault(FailureCode::NotImplemented, found, detail))
    }

    /// The embedding, where the base's output matrix is the same.
    pub(super) fn tied(&self) -> Option<String> {
        let embedding = tied_embedding(self.config)?;
        let tied = !self.base.contains_key(OUTPUT) && self.base.contains_key(&embedding);
        tied.then_some(embedding)
    }

    /// Decides whether a tied pair is still one, as peft has it: what is saved as a parameter of the base
    /// (a resized embedding) and single tokens change both; factors and copies change one, but for
    /// `ensure_weight_tying`. Whether the two became two.
    pub(super) fn settle_ties(&self, changes: &mut BTreeMap<String, Change>) -> bool {
        let Some(embedding) = self.tied() else {
            return false;
        };
        let output = changes.remove(OUTPUT);
        if output.is_none() && !changes.contains_key(&embedding) {
            return false;
        }

        let mut words = changes.remove(&embedding).unwrap_or_default();
        let mut output = output.unwrap_or_default();
        let of_both = [(&words, embedding.as_str()), (&output, OUTPUT)]
            .into_iter()
            .filter(|(_, tensor)| {
                !self
                    .settings
                    .saves(tensor.strip_suffix(".weight").unwrap_or(tensor))
            })
            .find_map(|(change, _)| change.whole.clone());

        if of_both.is_some() {
            words.whole.clone_from(&of_both);
            output.whole = of_both;
            output.copies.clone_from(&words.copies);
        }

        if words.rows.is_some() {
            output.rows.clone_from(&words.rows);
        }

        let untied = output != words && !self.settings.ensure_weight_tying;
        if words != Change::default() {
            changes.insert(embedding, words);
        }

        if untied {
            changes.insert(OUTPUT.to_owned(), output);
        }

        untied
    }
}
