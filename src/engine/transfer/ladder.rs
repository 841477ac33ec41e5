//! Which methods a job runs, and which of their candidates is the best.
//!
//! `auto` is a ladder: identity, functional, weight matching, FGMT, bico, theseus, GMT, and the best of them masked
//! by gradfix. Between bases of one lineage identity is tried with the orthogonal shift too. Before
//! each rung [`next`] looks at the diagnosis and at what the rungs below gave, and
//! takes or skips it for a reason that goes into the report. Without a validation split nothing can be compared,
//! and the diagnosis alone chooses.

use serde::Serialize;

use super::{candidate::Candidate, options::Method};

/// The rungs, from the cheapest.
pub const RUNGS: [Method; 8] = [
    Method::Identity,
    Method::Functional,
    Method::WeightMatching,
    Method::Fgmt,
    Method::Bico,
    Method::Theseus,
    Method::Gmt,
    Method::Gradfix,
];

/// Accuracy lost without regret when a transfer is called as good as the old model: one point.
pub const AS_GOOD: f64 = 0.01;

/// From this cosine of the bases' weight matrices on they count as one lineage (ours).
const SAME_LINEAGE_COSINE: f64 = 0.5;
/// From this share of units that weight matching leaves in their place on, too (ours).
const SAME_LINEAGE_FIXED_POINTS: f64 = 0.5;

/// The rungs that `auto` may take, in order. It may end before the last.
pub fn methods(has_train: bool, across_widths: bool) -> Vec<Method> {
    RUNGS
        .into_iter()
        .filter(|m| has_train || !m.needs_data())
        .filter(|m| !(across_widths && needs_equal_widths(*m)))
        .collect()
}

/// Whether the method rests on a permutation.
fn needs_equal_widths(method: Method) -> bool {
    !matches!(method, Method::Functional | Method::Bico | Method::Theseus | Method::Gradfix)
}

/// What the ladder knows before its first rung.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Cosine of the two bases' weight matrices.
    pub cosine: Option<f64>,
    /// Share of units that the weight-matching π leaves in their place.
    pub fixed_points: f64,
    /// Validation accuracy of the old tuned model; `None` without a validation split.
    pub source_tuned: Option<f64>,
    pub has_train: bool,
    /// The bases differ in width.
    pub across_widths: bool,
    /// Validation loss of the target as it is.
    pub target_loss: Option<f64>,
    /// `ln(classes)`
    pub loss_of_guessing: f64,
}

impl Known {
    /// Whether the one base was trained on from the other, as far as their weights tell.
    pub fn one_lineage(&self) -> bool {
        self.cosine.is_some_and(|cosine| cosine >= SAME_LINEAGE_COSINE)
            || self.fixed_points >= SAME_LINEAGE_FIXED_POINTS
    }
}

/// One rung, taken or skipped.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    pub method: Method,
    pub taken: bool,
    pub reason: String,
    /// What came of it, on the validation split.
    pub validation_accuracy: Option<f64>,
}

/// The decision on the next rung, given the decisions so far; `None` at the end of the ladder. Of a
/// taken rung the caller fills in the accuracy.
pub fn next(known: &Known, steps: &[Step]) -> Option<Step> {
    let method = *RUNGS.get(steps.len())?;
    let (taken, reason) = match known.source_tuned {
        _ if known.across_widths && needs_equal_widths(method) => {
            (false, "the bases differ in width: no permutation leads from one to the other".into())
        }
        Some(source) => by_validation(known, method, source, steps),
        None => by_diagnosis(known, method),
    };
    Some(Step { method, taken, reason, validation_accuracy: None })
}

fn by_validation(known: &Known, method: Method, source: f64, steps: &[Step]) -> (bool, String) {
    let reached = |step: &Step| Some((step.method, step.validation_accuracy?));
    let best = steps.iter().filter_map(reached).reduce(|a, b| if b.1 > a.1 { b } else { a });

    let old = format!("{} of the old tuned model", percent(source));
    let Some((leader, accuracy)) = best else {
        return (true, "the first rung: it costs nothing but its evaluation".into());
    };
    let standing = format!("{} has {} on validation", leader.name(), percent(accuracy));

    // A hair of room: 0.96 − 0.95 is above 0.01 in f64.
    if accuracy >= source - AS_GOOD - 1e-9 {
        return (false, format!("{standing}, within a point of the {old}: enough"));
    }
    if method == Method::WeightMatching && known.fixed_points >= 1.0 {
        return (false, "weight matching leaves every unit in its place: it is identity".into());
    }
    // T (T + 1) / 2 pairs of gradients, for a permutation akin to the others.
    if method == Method::Gmt && !needs_equal_widths(leader) {
        return (false, format!("{standing}, ahead of every permutation: another is not tried"));
    }
    if method == Method::Gradfix
        && known.target_loss.is_none_or(|loss| loss >= known.loss_of_guessing)
    {
        return (false, "the new base does not know the task: its gradients cannot vote".into());
    }
    if method.needs_data() && !known.has_train {
        return (false, format!("{standing} against {old}, but there are no training samples"));
    }
    (true, format!("{standing}, more than a point below the {old}"))
}

/// Identity or weight matching by the bases' relation; the rest needs data.
fn by_diagnosis(known: &Known, method: Method) -> (bool, String) {
    let related = known.one_lineage();
    let numbers = format!(
        "cosine of the bases' weight matrices {:.3}, {} of the units fixed by weight matching",
        known.cosine.unwrap_or(0.0),
        percent(known.fixed_points)
    );
    if known.across_widths {
        let is_first = method == Method::Functional;
        return (is_first, "the bases differ in width, and nothing chooses".into());
    }

    let verdict = if related { "the bases are of one lineage" } else { "the bases are unrelated" };
    match method {
        Method::Identity => (related, format!("{verdict}: {numbers}")),
        // It chooses by the old tuned model's own predictions.
        Method::Functional => (!related && known.has_train, format!("{verdict}: {numbers}")),
        Method::WeightMatching => (!related && !known.has_train, format!("{verdict}: {numbers}")),
        _ => (false, "there is no validation split to choose by".into()),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The best candidate by validation accuracy, then loss, then order. Without validation the last
/// one: methods are named from the plainest to the most informed.
pub fn best(candidates: &[Candidate]) -> Option<usize> {
    let better = |a: &Candidate, b: &Candidate| match (&a.validation, &b.validation) {
        (Some(a), Some(b)) => {
            a.accuracy > b.accuracy
                || (a.accuracy.to_bits() == b.accuracy.to_bits() && a.loss < b.loss)
        }
        _ => true,
    };
    (0..candidates.len())
        .reduce(|best, i| if better(&candidates[i], &candidates[best]) { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Climbs with these validation accuracies by rung; the methods taken, and the last reason.
    fn climb(known: &Known, accuracies: [f64; 8]) -> (Vec<Method>, String) {
        let mut steps = Vec::new();
        while let Some(mut step) = next(known, &steps) {
            step.validation_accuracy = step.taken.then(|| accuracies[steps.len()]);
            steps.push(step);
        }
        assert_eq!(steps.len(), RUNGS.len(), "every rung has its reason");
        let taken = steps.iter().filter(|s| s.taken).map(|s| s.method).collect();
        (taken, steps.pop().expect("rungs").reason)
    }

    const KNOWN: Known = Known {
        cosine: Some(0.1),
        fixed_points: 0.1,
        source_tuned: Some(0.96),
        has_train: true,
        across_widths: false,
        target_loss: Some(2.4),
        loss_of_guessing: 2.3,
    };

    #[test]
    fn the_ladder_ends_within_a_point_of_the_old_tuned_model() {
        use Method::{Fgmt, Functional, Identity, WeightMatching};
        let (taken, reason) = climb(&KNOWN, [0.95, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(taken, [Identity]);
        assert!(reason.contains("95.0 %") && reason.contains("96.0 %"), "{reason}");
        assert_eq!(
            climb(&KNOWN, [0.94, 0.955, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).0,
            [Identity, Functional]
        );
        assert_eq!(
            climb(&KNOWN, [0.94, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]).0,
            [
                Identity,
                Functional,
                WeightMatching,
                Fgmt,
                Method::Bico,
                Method::Theseus,
                Method::Gmt
            ]
        );
        // The best so far counts, not the last.
        let knowing = Known { target_loss: Some(2.0), ..KNOWN };
        let (_, reason) = climb(&knowing, [0.94, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(reason.contains("identity has 94.0 %"), "{reason}");
    }

    #[test]
    fn what_cannot_differ_or_cannot_run_is_skipped() {
        use Method::{Fgmt, Functional, Identity, WeightMatching};
        let fixed = Known { fixed_points: 1.0, ..KNOWN };
        assert_eq!(
            climb(&fixed, [0.5; 8]).0,
            [Identity, Functional, Fgmt, Method::Bico, Method::Theseus, Method::Gmt]
        );
        // Where maps are ahead of permutations, no more permutations.
        let maps = climb(&KNOWN, [0.5, 0.5, 0.5, 0.5, 0.6, 0.5, 0.9, 0.0]).0;
        assert_eq!(
            maps,
            [Identity, Functional, WeightMatching, Fgmt, Method::Bico, Method::Theseus]
        );
        let knowing = Known { target_loss: Some(2.0), ..KNOWN };
        assert_eq!(climb(&knowing, [0.5; 8]).0, RUNGS);
        let untrained = Known { has_train: false, ..KNOWN };
        assert_eq!(climb(&untrained, [0.5; 8]).0, [Identity, WeightMatching]);
    }

    #[test]
    fn between_widths_only_maps_are_tried() {
        let across = Known { across_widths: true, ..KNOWN };
        assert_eq!(climb(&across, [0.5; 8]).0, [Method::Functional, Method::Bico, Method::Theseus]);
        let blind = Known { source_tuned: None, ..across };
        assert_eq!(climb(&blind, [0.0; 8]).0, [Method::Functional]);
    }

    #[test]
    fn without_validation_the_diagnosis_chooses() {
        let blind = Known { source_tuned: None, ..KNOWN };
        assert_eq!(climb(&blind, [0.0; 8]).0, [Method::Functional]);
        let without_inputs = Known { has_train: false, ..blind };
        assert_eq!(climb(&without_inputs, [0.0; 8]).0, [Method::WeightMatching]);
        for related in [
            Known { cosine: Some(0.5), ..blind },
            Known { fixed_points: 0.5, ..blind },
            Known { cosine: None, fixed_points: 1.0, ..blind },
        ] {
            assert_eq!(climb(&related, [0.0; 8]).0, [Method::Identity]);
        }
        let reason = next(&blind, &[]).expect("a rung").reason;
        assert!(reason.contains("0.100") && reason.contains("10.0 %"), "{reason}");
    }
}
