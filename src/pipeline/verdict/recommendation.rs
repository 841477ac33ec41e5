//! What the evidence says the owner should do, and why.
//!
//! A result counts as good as the old tuned model where its samples show that it is not behind by more than a
//! point; as worse where the exact sign test shows it ([`Shown`]). Where they show neither, more samples are
//! needed, and that is what is recommended.

use super::Evidence;
use crate::{
    contract::outcome::Recommendation,
    engine::training::{Paired, Shown},
};

/// From this recovery on the transfer is a start worth fine-tuning from.
const WARM_START_RECOVERY: f64 = 0.5;
/// Below this recovery the transfer brings next to nothing.
const HOPELESS_RECOVERY: f64 = 0.1;

/// What a recommendation rests on.
pub struct Facts {
    pub evidence: Evidence,
    pub fine_tuned: bool,
    pub identical_bases: bool,
    /// Cosine of bases that are strangers, of a network that is known by its tensors' names alone.
    pub strangers: Option<f64>,
    pub untransferred: Option<Untransferred>,
}

/// The new base trained alone at the same cost, beside the result: accuracies on validation, or agreements.
#[derive(Clone, Copy, Debug)]
pub struct Untransferred {
    pub only: f64,
    pub ours: f64,
    /// Trained on the old tuned model's probabilities, in the absence of labels.
    pub by_old_model: bool,
}

/// A recommendation, and its reasons with their numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// `None` where nothing was measured.
    pub action: Option<Recommendation>,
    pub reasons: Vec<String>,
}

impl Untransferred {
    fn lead(self) -> f64 {
        self.only - self.ours
    }

    fn told(self) -> String {
        let how = if self.by_old_model {
            "training of the new base on the old tuned model's predictions"
        } else {
            "plain fine-tuning of the new base"
        };
        format!(
            "{how} at the same cost: {} on validation, the result {}",
            percent(self.only),
            percent(self.ours)
        )
    }
}

impl Facts {
    pub fn recommend(&self) -> Advice {
        if self.identical_bases {
            let reason = "the new base equals the old one: the old tuned model is the result";
            return Advice {
                action: Some(Recommendation::Copy),
                reasons: vec![reason.into()],
            };
        }

        if let Some(cosine) = self.strangers {
            let reason = format!(
                "the bases are strangers: the cosine of their weight matrices is {cosine:.3}, and without the \
                 network nothing but identity can be carried between them"
            );
            return Advice {
                action: Some(Recommendation::KeepOld),
                reasons: vec![reason],
            };
        }

        let Some(mut reasons) = self.measured() else {
            return Advice {
                action: None,
                reasons: vec!["nothing was measured: there are no data".into()],
            };
        };

        if self
            .untransferred
            .is_some_and(|one| one.lead() > self.evidence.bounds.margin + 1e-9)
        {
            reasons.push("training alone gives more than the transfer".into());
            return Advice {
                action: Some(Recommendation::Retrain),
                reasons,
            };
        }

        let (action, reason) = self.by_samples();
        reasons.extend(reason);

        Advice {
            action: Some(action),
            reasons,
        }
    }

    /// What was measured, in words; `None` without data.
    fn measured(&self) -> Option<Vec<String>> {
        let metric = self.evidence.metric?;
        let source = self.evidence.source?;
        let first = match (self.evidence.has_labels, self.evidence.is_of_values) {
            (true, true) => format!("R² {metric:.4} against {source:.4} of the old tuned model"),
            (false, true) => {
                format!("R² {metric:.4} beside the old tuned model's values; there are no labels")
            }
            (true, false) => format!(
                "accuracy {} against {} of the old tuned model",
                percent(metric),
                percent(source)
            ),
            (false, false) => format!(
                "agreement {} with the old tuned model; there are no labels",
                percent(metric)
            ),
        };

        let mut reasons = vec![first];
        let recovery = self.evidence.recovery;
        reasons.extend(recovery.map(|r| format!("{} of the tuning's gain recovered", percent(r))));
        reasons.extend(self.untransferred.map(Untransferred::told));

        Some(reasons)
    }

    /// By what the samples can carry.
    fn by_samples(&self) -> (Recommendation, Option<String>) {
        let evidence = &self.evidence;
        let (shown, recovery) = (evidence.shown(), evidence.recovery.unwrap_or(0.0));
        let (action, reason) = match shown {
            Some(Shown::AsGood) if self.fine_tuned => {
                return (Recommendation::TransferAndFineTune, None);
            }
            Some(Shown::AsGood) => return (Recommendation::Transfer, None),
            Some(Shown::Worse) if recovery < HOPELESS_RECOVERY => (
                Recommendation::KeepOld,
                "next to nothing carries over between these bases",
            ),
            Some(Shown::Worse) if recovery < WARM_START_RECOVERY => (
                Recommendation::Retrain,
                "too little carries over to save training",
            ),
            // Without labels nobody knows whether a disagreement is a loss.
            Some(Shown::Worse) if evidence.has_labels => (
                Recommendation::TransferAndFineTune,
                "a start to fine-tune from, not yet a replacement",
            ),
            _ => {
                let reason = evidence.paired.map(|pairs| self.undecided(&pairs));
                return (Recommendation::Collect, reason);
            }
        };

        (action, Some(reason.to_owned()))
    }

    fn undecided(&self, pairs: &Paired) -> String {
        let (samples, differ) = (pairs.samples, pairs.disagreements());

        if self.evidence.has_labels || differ == 0 {
            format!(
                "{samples} samples, {differ} of which tell the two models apart, can neither rule out a loss \
                 of more than {} nor show one",
                percent(self.evidence.bounds.margin)
            )
        } else {
            format!(
                "the two models differ on {differ} of {samples} samples, and without labels nobody knows \
                 which of them is right there"
            )
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::training::Tally, pipeline::verdict::evidence::recovery};

    /// Right answers of the result alone, of the old tuned model alone, of both, among so many.
    struct Counts {
        ours: usize,
        old: usize,
        both: usize,
        samples: usize,
    }

    fn facts(counts: &Counts, before: f64) -> Facts {
        let Counts {
            ours,
            old,
            both,
            samples,
        } = *counts;
        let rights = |first: usize, second: usize| {
            let rights = (0..samples).map(move |i| match i {
                i if i < ours => first,
                i if i < ours + old => second,
                i if i < ours + old + both => 1,
                _ => 0,
            });
            rights
                .map(|right| Tally {
                    right: right as f64,
                    counted: 1,
                })
                .collect::<Vec<_>>()
        };
        let share = |right: usize| Some(right as f64 / samples as f64);
        let (metric, source) = (share(ours + both), share(old + both));
        let evidence = Evidence {
            metric,
            source,
            before: Some(before),
            recovery: recovery(metric, Some(before), source),
            paired: Some(Paired::of(&rights(1, 0), &rights(0, 1))),
            has_labels: true,
            ..Evidence::default()
        };

        Facts {
            evidence,
            fine_tuned: false,
            identical_bases: false,
            strangers: None,
            untransferred: None,
        }
    }

    fn action(facts: &Facts) -> Option<Recommendation> {
        facts.recommend().action
    }

    #[test]
    fn evidence_decides_the_recommendation() {
        let many = |ours, old, both| {
            facts(
                &Counts {
                    ours,
                    old,
                    both,
                    samples: 5000,
                },
                0.2,
            )
        };
        assert_eq!(action(&many(40, 50, 4750)), Some(Recommendation::Transfer));
        let tuned = Facts {
            fine_tuned: true,
            ..many(40, 50, 4750)
        };
        assert_eq!(action(&tuned), Some(Recommendation::TransferAndFineTune));
        assert_eq!(
            action(&many(0, 800, 4000)),
            Some(Recommendation::TransferAndFineTune)
        );
        assert_eq!(action(&many(0, 2800, 2000)), Some(Recommendation::Retrain));
        assert_eq!(action(&many(50, 3800, 1000)), Some(Recommendation::KeepOld));
        let same = Facts {
            identical_bases: true,
            ..many(0, 0, 4000)
        };
        assert_eq!(action(&same), Some(Recommendation::Copy));
        let unmeasured = Evidence {
            metric: None,
            ..same.evidence
        };

        assert_eq!(
            action(&Facts {
                evidence: unmeasured,
                identical_bases: false,
                ..same
            }),
            None
        );
    }

    #[test]
    fn what_few_samples_cannot_carry_is_no_guess() {
        let few = |ours, old, both| {
            facts(
                &Counts {
                    ours,
                    old,
                    both,
                    samples: 200,
                },
                0.2,
            )
        };
        // As good by the figures, and no loss shown; a point cannot be ruled out.
        assert_eq!(action(&few(4, 5, 180)), Some(Recommendation::Collect));
        assert_eq!(action(&few(0, 0, 190)), Some(Recommendation::Collect));
        let reasons = few(4, 5, 180).recommend().reasons.join("; ");
        assert!(reasons.contains("200 samples, 9 of which"), "{reasons}");

        // A large loss is plain with few.
        assert_eq!(
            action(&few(2, 30, 150)),
            Some(Recommendation::TransferAndFineTune)
        );
    }

    #[test]
    fn without_labels_a_disagreement_may_be_a_loss_or_none() {
        let unlabelled = |counts: Counts, before| {
            let facts = facts(&counts, before);
            let evidence = Evidence {
                has_labels: false,
                ..facts.evidence
            };
            Facts { evidence, ..facts }
        };
        let of = |old, both| Counts {
            ours: 0,
            old,
            both,
            samples: 1000,
        };
        assert_eq!(
            action(&unlabelled(of(2, 998), 0.2)),
            Some(Recommendation::Transfer)
        );
        assert_eq!(
            action(&unlabelled(of(60, 940), 0.2)),
            Some(Recommendation::Collect)
        );
        assert_eq!(
            action(&unlabelled(of(600, 400), 0.2)),
            Some(Recommendation::Retrain)
        );
        assert_eq!(
            action(&unlabelled(of(790, 210), 0.2)),
            Some(Recommendation::KeepOld)
        );
        let reasons = unlabelled(of(60, 940), 0.2).recommend().reasons.join("; ");

        assert!(
            reasons.contains("agreement 94.0 %") && reasons.contains("60 of 1000"),
            "{reasons}"
        );
    }

    /// As good as the old tuned model, beside the new base trained alone.
    fn beside(only: f64, ours: f64, by_old_model: bool) -> Facts {
        let counts = Counts {
            ours: 40,
            old: 50,
            both: 4750,
            samples: 5000,
        };
        let untransferred = Some(Untransferred {
            only,
            ours,
            by_old_model,
        });

        Facts {
            untransferred,
            ..facts(&counts, 0.2)
        }
    }

    #[test]
    fn the_best_of_transfers_is_no_reason_where_training_alone_gives_more() {
        let better = beside(0.98, 0.96, false);
        assert_eq!(action(&better), Some(Recommendation::Retrain));
        assert_eq!(
            action(&beside(0.97, 0.96, false)),
            Some(Recommendation::Transfer)
        );
        let reasons = better.recommend().reasons.join("; ");
        assert!(
            reasons.contains("98.0 %") && reasons.contains("96.0 %"),
            "{reasons}"
        );
        assert!(reasons.contains("plain fine-tuning"), "{reasons}");

        let refreshed = beside(0.98, 0.96, true);
        assert_eq!(action(&refreshed), Some(Recommendation::Retrain));
        let reasons = refreshed.recommend().reasons.join("; ");

        assert!(
            reasons.contains("on the old tuned model's predictions"),
            "{reasons}"
        );
    }
}
