//! Which methods a job runs, and which of their candidates is the best.
//!
//! `auto` is a ladder: identity, functional, weight matching, FGMT, bico, theseus, GMT, and the best of them masked
//! by gradfix. Between bases of one lineage identity is tried with the orthogonal shift too. Before
//! each rung [`next`] looks at the diagnosis and at what the rungs below gave, and
//! takes or skips it for a reason that goes into the report. The climb ends where the best candidate is as good
//! as the old tuned model, by a race in pairs ([`super::race`]). Where no rung comes so far, the best one is tried with
//! an α for each group of layers, if that is cheaper than training. Without a validation split nothing can be
//! compared, and the diagnosis alone chooses.

use serde::Serialize;

use super::{
    candidate::Candidate,
    options::Method,
    race::{Record, Standing},
};

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

/// Of a sign test below which a lead is no chance.
const BY_CHANCE: f64 = 0.05;

/// From this cosine of the bases' weight matrices on they count as one lineage (ours).
const SAME_LINEAGE_COSINE: f64 = 0.5;
/// From this share of units that weight matching leaves in their place on, too (ours).
const SAME_LINEAGE_FIXED_POINTS: f64 = 0.5;

/// The rungs that `auto` may take, in order, with samples to train on or without any, labelled or not. It
/// may end before the last.
pub fn methods(has_train: bool, has_labels: bool, across_widths: bool) -> Vec<Method> {
    RUNGS
        .into_iter()
        .filter(|m| has_train || !m.needs_data())
        .filter(|m| has_labels || !m.needs_labels())
        .filter(|m| !(across_widths && needs_equal_widths(*m)))
        .collect()
}

/// Whether the method rests on a permutation.
fn needs_equal_widths(method: Method) -> bool {
    !matches!(
        method,
        Method::Functional | Method::Bico | Method::Theseus | Method::Gradfix
    )
}

/// What the ladder knows of the models, whatever the rungs give.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Cosine of the two bases' weight matrices.
    pub cosine: Option<f64>,
    /// Share of units that the weight-matching π leaves in their place; `None` where nobody has asked for it.
    pub fixed_points: Option<f64>,
    pub has_validation: bool,
    pub has_train: bool,
    /// The training samples have labels of their own.
    pub has_labels: bool,
    /// The bases differ in width.
    pub across_widths: bool,
    /// Of the network only the tensors are known.
    pub by_names: bool,
    /// Validation loss of the target as it is; `None` where nobody has asked for it.
    pub target_loss: Option<f64>,
    /// `ln(classes)`
    pub loss_of_guessing: f64,
}

impl Known {
    /// Whether the one base was trained on from the other, as far as their weights tell.
    pub fn one_lineage(&self) -> bool {
        self.cosine.is_some_and(is_one_lineage)
            || self
                .fixed_points
                .is_some_and(|fixed| fixed >= SAME_LINEAGE_FIXED_POINTS)
    }
}

/// Whether a cosine of two bases' weight matrices says that they are of one lineage.
pub fn is_one_lineage(cosine: f64) -> bool {
    cosine >= SAME_LINEAGE_COSINE
}

/// The best candidate so far.
#[derive(Clone, Copy, Debug)]
pub struct Leader {
    pub method: Method,
    /// On the samples that both have seen.
    pub accuracy: f64,
    /// Of the old tuned model, on the same samples.
    pub old: f64,
    pub samples: usize,
    /// Beside the old tuned model.
    pub standing: Standing,
    /// It is functional, shown to be ahead of identity and of weight matching.
    pub outdoes_permutations: bool,
}

/// One rung, taken or skipped.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    pub method: Method,
    /// The method's candidate with an α for each group of layers.
    pub by_group: bool,
    pub taken: bool,
    pub reason: String,
    /// What came of it, on the validation samples.
    pub validation_accuracy: Option<f64>,
    /// What it cost, its selection included; what it builds upon is counted where it was made first.
    pub sample_gradients: u64,
    pub sample_forwards: u64,
}

/// Why weight matching is no candidate of its own.
pub const IS_IDENTITY: &str = "weight matching leaves every unit in its place: it is identity";

/// The decision on the next rung, given those so far and the best candidate; `None` at the end of the
/// ladder. Of a taken rung the caller fills in what came of it.
pub fn next(known: &Known, steps: &[Step], leader: Option<&Leader>) -> Option<Step> {
    let method = *RUNGS.get(steps.len())?;
    let (taken, reason) = if known.by_names {
        by_cosine(known, method)
    } else if known.across_widths && needs_equal_widths(method) {
        (
            false,
            "the bases differ in width: no permutation leads from one to the other".into(),
        )
    } else if known.has_validation {
        by_validation(known, method, leader)
    } else {
        by_diagnosis(known, method)
    };
    let (sample_gradients, sample_forwards) = (0, 0);

    Some(Step {
        method,
        by_group: false,
        taken,
        reason,
        validation_accuracy: None,
        sample_gradients,
        sample_forwards,
    })
}

/// What α by group costs, in forward passes, beside an epoch of training on the samples at hand.
#[derive(Clone, Copy, Debug)]
pub struct Price {
    pub search: usize,
    pub epoch: usize,
}

/// Whether the best candidate is tried with α by group, behind the last rung; `None` where nothing can be
/// compared or nothing can be scaled.
pub fn by_group(known: &Known, leader: Option<&Leader>, price: Price) -> Option<Step> {
    let leader = leader.filter(|_| known.has_validation && !known.by_names)?;
    let standing = leader.told();
    let Price { search, epoch } = price;
    let (taken, reason) = if leader.standing.is_enough() {
        (false, format!("{standing}: enough"))
    } else if !known.has_train {
        (
            false,
            format!("{standing}, but there are no training samples"),
        )
    } else if search > epoch {
        let why = format!(
            "α by group takes {search} forward passes, more than the {epoch} of an epoch of training"
        );
        (false, format!("{standing}; {why}"))
    } else {
        (
            true,
            format!("{standing}: its layers may want an α of their own"),
        )
    };

    Some(Step {
        method: leader.method,
        by_group: true,
        taken,
        reason,
        validation_accuracy: None,
        sample_gradients: 0,
        sample_forwards: 0,
    })
}

fn by_validation(known: &Known, method: Method, leader: Option<&Leader>) -> (bool, String) {
    let Some(leader) = leader else {
        return (
            true,
            "the first rung: it costs nothing but its evaluation".into(),
        );
    };
    let standing = leader.told();
    if leader.standing.is_enough() {
        return (false, format!("{standing}: enough"));
    }
    let lacking = if method.needs_data() && !known.has_train {
        Some("there are no training samples")
    } else if method.needs_labels() && !known.has_labels {
        Some("the training samples have no labels")
    } else {
        None
    };
    if let Some(lacking) = lacking {
        return (false, format!("{standing}, but {lacking}"));
    }

    match passed_over(known, method, leader, &standing) {
        Some(reason) => (false, reason),
        None => (true, format!("{standing}: another may be better")),
    }
}

/// Why a rung that could be taken would bring nothing.
fn passed_over(known: &Known, method: Method, leader: &Leader, standing: &str) -> Option<String> {
    let is_settled = known.one_lineage() && known.fixed_points.is_some_and(|fixed| fixed >= 1.0);
    match method {
        // In every measured pair of bases they were far behind such a fit.
        Method::Fgmt | Method::Gmt | Method::Bico | Method::Theseus
            if leader.outdoes_permutations =>
        {
            let ahead = "shown to be ahead of identity and weight matching";
            Some(format!(
                "{standing}; it is {ahead}: no permutation or map comes near it"
            ))
        }
        // In every measured pair of such bases their π was the identity, too, and maps were behind it or
        // level with it.
        Method::Fgmt | Method::Gmt | Method::Bico | Method::Theseus if is_settled => {
            let why =
                "the bases are of one lineage and weight matching leaves every unit in its place";
            Some(format!(
                "{standing}; {why}: another permutation or map is not tried"
            ))
        }
        // T (T + 1) / 2 pairs of gradients, for a permutation akin to the others.
        Method::Gmt if !needs_equal_widths(leader.method) => Some(format!(
            "{standing}, ahead of every permutation: another is not tried"
        )),
        Method::Gradfix
            if known
                .target_loss
                .is_none_or(|loss| loss >= known.loss_of_guessing) =>
        {
            Some("the new base does not know the task: its gradients cannot vote".into())
        }
        _ => None,
    }
}

impl Leader {
    /// Where it stands, with its numbers.
    fn told(&self) -> String {
        let how = match self.standing {
            Standing::Ahead => "not behind",
            Standing::WithinMargin => "shown to be within the margin of",
            Standing::Undecided => "not shown to be within the margin of",
            Standing::Behind => "shown to be behind",
        };
        format!(
            "{} has {} on {} validation samples, {how} the {} of the old tuned model",
            self.method.name(),
            percent(self.accuracy),
            self.samples,
            percent(self.old)
        )
    }
}

/// Without its network only identity is left, whatever the bases' relation.
fn by_cosine(known: &Known, method: Method) -> (bool, String) {
    if method != Method::Identity {
        let reason = "without its network only identity can be carried";
        return (false, reason.to_owned());
    }

    let verdict = if known.one_lineage() {
        "of one lineage"
    } else {
        "unrelated"
    };
    let cosine = known.cosine.unwrap_or(0.0);

    (
        true,
        format!("the bases are {verdict}: cosine of their weight matrices {cosine:.3}"),
    )
}

/// Identity or weight matching by the bases' relation; the rest needs data.
fn by_diagnosis(known: &Known, method: Method) -> (bool, String) {
    let related = known.one_lineage();
    let numbers = format!(
        "cosine of the bases' weight matrices {:.3}, {} of the units fixed by weight matching",
        known.cosine.unwrap_or(0.0),
        known
            .fixed_points
            .map_or_else(|| "an unknown share".into(), percent)
    );
    if known.across_widths {
        let is_first = method == Method::Functional;
        return (
            is_first,
            "the bases differ in width, and nothing chooses".into(),
        );
    }

    let verdict = if related {
        "the bases are of one lineage"
    } else {
        "the bases are unrelated"
    };
    match method {
        Method::Identity => (related, format!("{verdict}: {numbers}")),
        // It chooses by the old tuned model's own predictions.
        Method::Functional => (!related && known.has_train, format!("{verdict}: {numbers}")),
        Method::WeightMatching => (
            !related && !known.has_train,
            format!("{verdict}: {numbers}"),
        ),
        _ => (false, "there is no validation split to choose by".into()),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The best candidate by accuracy on the samples that two have both seen, then loss, then order. Without
/// validation the last one: methods are named from the plainest to the most informed.
///
/// The best of several points on these samples looks better there than it is. Beside a candidate that they
/// have not chosen it has to be shown to be ahead, or to have the lower loss, too.
pub fn best(candidates: &[Candidate]) -> Option<usize> {
    (0..candidates.len()).reduce(|best, i| {
        if candidates[i].is_better(&candidates[best]) {
            i
        } else {
            best
        }
    })
}

impl Candidate {
    fn is_better(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (&self.validation, &other.validation) else {
            return true;
        };
        match (self.is_searched(), other.is_searched()) {
            (true, false) => is_safely_ahead(own, others),
            (false, true) => !is_safely_ahead(others, own),
            _ => is_ahead(own, others),
        }
    }
}

/// By accuracy, then loss.
fn is_ahead(a: &Record, b: &Record) -> bool {
    let both = a.samples().min(b.samples());
    let (own, other) = (a.accuracy_within(both), b.accuracy_within(both));
    own > other || (own.to_bits() == other.to_bits() && a.loss_within(both) < b.loss_within(both))
}

/// Whether the first has the higher accuracy and more than this figure says so: the loss or a sign test.
pub fn is_safely_ahead(a: &Record, b: &Record) -> bool {
    is_ahead(a, b) && is_borne_out(a, b)
}

fn is_borne_out(a: &Record, b: &Record) -> bool {
    let both = a.samples().min(b.samples());
    a.loss_within(both) < b.loss_within(both) || a.beside(b, both).sign_test() <= BY_CHANCE
}

#[cfg(test)]
mod tests;
