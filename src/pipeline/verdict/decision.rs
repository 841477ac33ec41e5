//! The decision card: what was found and what to do next, in plain words.

use super::{Evidence, evidence::Bounds, recommendation::Facts};
use crate::{
    contract::{
        outcome::{Recommendation, Verdict},
        report::Decision,
    },
    engine::training::{Cost, Dataset, Shown},
    pipeline::{comparison::Comparison, context::Context},
};

/// Writes the card.
pub fn of(
    context: &Context,
    comparison: &Comparison,
    facts: &Facts,
    action: Option<Recommendation>,
    verdict: Verdict,
) -> Decision {
    let splits = &context.inputs.splits;
    let told = Told {
        evidence: &facts.evidence,
        action,
        rejected: (verdict == Verdict::Rejected).then_some(Rejected {
            by_gate: context.job.spec.gate.is_some(),
        }),
        fine_tuned: facts.fine_tuned,
        by_old_model: facts.untransferred.is_some_and(|one| one.by_old_model),
        judged_on: if splits.test_is_validation {
            "validation"
        } else {
            "test"
        },
    };

    let trained = comparison
        .fine_tuning
        .as_ref()
        .map_or_else(Cost::default, |t| t.training.cost);
    let price = Price {
        spent: comparison.choice.cost + trained,
        epoch: splits.train.as_ref().map_or(0, Dataset::len),
    };

    told.card(&price)
}

/// What a card is written from.
struct Told<'a> {
    evidence: &'a Evidence,
    action: Option<Recommendation>,
    rejected: Option<Rejected>,
    fine_tuned: bool,
    /// Training alone, which it is measured against, was by the old tuned model's probabilities.
    by_old_model: bool,
    judged_on: &'a str,
}

/// Why no model is published.
#[derive(Clone, Copy)]
struct Rejected {
    /// Or because `auto` without a gate publishes nothing that is less accurate.
    by_gate: bool,
}

/// Work, and what an epoch of training would be.
struct Price {
    spent: Cost,
    /// Training samples.
    epoch: usize,
}

impl Told<'_> {
    fn card(&self, price: &Price) -> Decision {
        let Evidence {
            metric,
            source,
            has_labels,
            is_of_values,
            paired,
            bounds,
            ..
        } = self.evidence;
        let Bounds { margin, confidence } = *bounds;
        let lost = metric.zip(*source);
        let lost = lost.filter(|_| *has_labels && !*is_of_values);
        let collects = self.action == Some(Recommendation::Collect);
        let undecided = paired.filter(|_| collects);

        Decision {
            action: self.action,
            sentence: self.sentence(),
            accuracy_lost_per_100: lost.map(|(metric, source)| 100.0 * (source - metric)),
            confidence,
            checked_on: self.checked_on(),
            next_step: self.next_step(),
            price: price.words(),
            needed_disagreements: undecided.and_then(|p| p.needed_disagreements(confidence)),
            needed_samples: undecided.and_then(|p| p.needed_samples(margin, confidence)),
        }
    }

    fn checked_on(&self) -> String {
        let Some(paired) = self.evidence.paired else {
            return "nothing".into();
        };
        let labels = if self.evidence.has_labels {
            ""
        } else {
            ", without labels"
        };
        format!("{} {} samples{labels}", paired.samples, self.judged_on)
    }

    fn sentence(&self) -> String {
        if self.action == Some(Recommendation::Copy) {
            return "The new base is the old base, so the old tuned model is the result.".into();
        }
        let Evidence {
            metric: Some(metric),
            source: Some(source),
            paired: Some(paired),
            ..
        } = self.evidence
        else {
            return "Nothing was measured, for the job has no data to judge by.".into();
        };

        let bound = ruled_out(paired.least_lead(self.evidence.bounds.confidence));
        let [ours, old] = [*metric, *source].map(hundredths);

        match (self.evidence.has_labels, self.evidence.is_of_values) {
            (true, false) => {
                format!("The new model gets {ours} of 100 right, the old one {old}; {bound}.")
            }
            (true, true) => format!(
                "The new model explains {ours} of 100 parts of how the values vary, the old one {old}; {bound}."
            ),
            (false, true) => format!(
                "The new model's values explain {ours} of 100 parts of how the old one's vary; without labels \
                 nobody knows which of them are right."
            ),
            (false, false) => format!(
                "On {ours} of 100 samples the new model says what the old one says; without labels nobody knows \
                 which of them is right on the others."
            ),
        }
    }

    fn next_step(&self) -> String {
        use Recommendation as R;
        let differ = self
            .evidence
            .paired
            .map_or(0, |paired| paired.disagreements());

        match (self.action, self.rejected) {
            (Some(R::Copy | R::Transfer), Some(Rejected { by_gate: true })) => {
                return "Look at the gate: a condition of it failed, so no model is published."
                    .into();
            }
            (Some(R::Transfer), Some(Rejected { by_gate: false })) => {
                return "Give the job a gate that allows this loss: without one, auto publishes no model that \
                        is less accurate by the figures."
                    .into();
            }
            _ => {}
        }

        match self.action {
            Some(R::Copy | R::Transfer) => "Put the new model in the old one's place.".into(),
            Some(R::TransferAndFineTune) if self.evidence.shown() == Some(Shown::AsGood) => {
                "Put the new model, trained after the transfer, in the old one's place.".into()
            }
            Some(R::TransferAndFineTune) if self.fine_tuned => {
                "Train it longer: raise fine_tune.epochs.".into()
            }
            Some(R::TransferAndFineTune) => {
                "Train it from here for a short while: add fine_tune to the job.".into()
            }
            Some(R::Retrain) if self.by_old_model => {
                "Train the new base on the old model's predictions, or on labels; the transfer saves nothing."
                    .into()
            }
            Some(R::Retrain) => {
                "Train the new base on your data; the transfer saves nothing.".into()
            }
            Some(R::KeepOld) => "Keep the old model on its old base.".into(),
            Some(R::Collect) if !self.evidence.has_labels && self.evidence.is_of_values => {
                "Give some samples their labels, and judge by them.".into()
            }
            Some(R::Collect) if !self.evidence.has_labels && differ > 0 => format!(
                "Label the samples on which the two models differ ({differ}); predictions.parquet names them."
            ),
            Some(R::Collect) => self.collect(),
            None => "Give the job data, or evaluate the result before using it.".into(),
        }
    }

    fn collect(&self) -> String {
        let paired = self.evidence.paired.unwrap_or_default();
        let Bounds { margin, confidence } = self.evidence.bounds;

        match paired.needed_samples(margin, confidence) {
            Some(samples) => format!(
                "Judge it on more samples: about {samples} in all would do, if they go on as these do."
            ),
            None => format!(
                "Judge it on more samples than these {}: so far the new model is behind by {} of 100.",
                paired.samples,
                hundredths(-paired.difference())
            ),
        }
    }
}

/// What can be ruled out where the lead is no smaller than `least`.
fn ruled_out(least: f64) -> String {
    if least >= 0.0 {
        "a loss can be ruled out".to_owned()
    } else {
        format!(
            "a loss of more than {} of 100 can be ruled out",
            hundredths(-least)
        )
    }
}

fn hundredths(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

impl Price {
    /// A gradient counts three forward passes.
    fn words(&self) -> String {
        let Cost {
            sample_gradients,
            sample_forwards,
            ..
        } = self.spent;
        if self.epoch == 0 {
            return format!("{sample_forwards} forward passes");
        }

        let gradients = sample_gradients as f64 + sample_forwards as f64 / 3.0;
        let epochs = gradients / self.epoch as f64;

        format!("as much computing as {epochs:.2} epochs of training on the same data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::training::{Paired, Tally};

    fn card(evidence: &Evidence, action: Option<Recommendation>) -> Decision {
        let told = Told {
            evidence,
            action,
            rejected: None,
            fine_tuned: false,
            by_old_model: false,
            judged_on: "test",
        };
        let spent = Cost {
            sample_gradients: 50,
            sample_forwards: 150,
            flops: 0.0,
        };

        told.card(&Price { spent, epoch: 200 })
    }

    fn evidence(ours: usize, old: usize, both: usize, has_labels: bool) -> Evidence {
        let samples = (ours + old + both) as f64;
        let one = |right: f64| Tally { right, counted: 1 };
        let own = [
            vec![one(1.0); ours],
            vec![one(0.0); old],
            vec![one(1.0); both],
        ]
        .concat();
        let other = [
            vec![one(0.0); ours],
            vec![one(1.0); old],
            vec![one(1.0); both],
        ]
        .concat();

        Evidence {
            metric: Some((ours + both) as f64 / samples),
            source: Some((old + both) as f64 / samples),
            paired: Some(Paired::of(&own, &other)),
            has_labels,
            ..Evidence::default()
        }
    }

    #[test]
    fn a_card_says_what_is_lost_and_what_to_do() {
        let found = card(&evidence(10, 14, 976, true), Some(Recommendation::Collect));
        assert!((found.accuracy_lost_per_100.unwrap() - 0.4).abs() < 1e-9);
        assert!(
            found
                .sentence
                .starts_with("The new model gets 98.6 of 100 right, the old one 99.0;")
        );
        assert!(
            found.sentence.ends_with("of 100 can be ruled out."),
            "{}",
            found.sentence
        );
        assert_eq!(found.checked_on, "1000 test samples");
        assert_eq!(
            found.price,
            "as much computing as 0.50 epochs of training on the same data"
        );
        let needed = found.needed_samples.unwrap();
        assert!((1500..2500).contains(&needed), "{needed}");
        assert!(
            found.next_step.contains(&needed.to_string()),
            "{}",
            found.next_step
        );
        assert!(found.needed_disagreements.unwrap() > 24);

        let decided = card(
            &evidence(10, 14, 9976, true),
            Some(Recommendation::Transfer),
        );
        assert_eq!(
            (decided.needed_samples, decided.needed_disagreements),
            (None, None)
        );

        assert!(
            decided.next_step.starts_with("Put the new model"),
            "{}",
            decided.next_step
        );
    }

    /// What is not there is not to be put anywhere.
    #[test]
    fn a_result_that_is_not_published_says_what_would_publish_it() {
        let evidence = evidence(10, 14, 9976, true);
        let next = |by_gate| {
            let rejected = Some(Rejected { by_gate });
            let action = Some(Recommendation::Transfer);
            let told = Told {
                evidence: &evidence,
                action,
                rejected,
                fine_tuned: false,
                by_old_model: false,
                judged_on: "test",
            };
            told.next_step()
        };
        assert!(
            next(false).starts_with("Give the job a gate"),
            "{}",
            next(false)
        );

        assert!(next(true).starts_with("Look at the gate"), "{}", next(true));
    }

    #[test]
    fn without_labels_the_differences_are_what_is_to_be_labelled() {
        let found = card(&evidence(0, 12, 188, false), Some(Recommendation::Collect));
        assert_eq!(found.accuracy_lost_per_100, None);
        assert!(
            found.sentence.starts_with("On 94.0 of 100 samples"),
            "{}",
            found.sentence
        );
        let step = "Label the samples on which the two models differ (12)";
        assert!(found.next_step.starts_with(step), "{}", found.next_step);

        // Where they differ nowhere there is nothing to label; too few samples say so.
        let same = card(&evidence(0, 0, 60, false), Some(Recommendation::Collect));
        assert!(
            same.next_step
                .starts_with("Judge it on more samples: about 26"),
            "{}",
            same.next_step
        );

        assert_eq!(found.checked_on, "200 test samples, without labels");
    }

    #[test]
    fn without_data_nothing_is_said_of_the_result() {
        let found = card(&Evidence::default(), None);
        assert_eq!(
            (found.checked_on.as_str(), found.accuracy_lost_per_100),
            ("nothing", None)
        );
        assert!(found.sentence.starts_with("Nothing was measured"));
    }
}
