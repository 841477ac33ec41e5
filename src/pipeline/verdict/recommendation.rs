//! What the evidence says the owner should do, and why.

use crate::{contract::outcome::Recommendation, engine::transfer::ladder::AS_GOOD};

/// From this recovery on the transfer is a start worth fine-tuning from.
const WARM: f64 = 0.5;
/// Below this recovery the transfer brings next to nothing.
const HOPELESS: f64 = 0.1;

/// What a recommendation rests on.
pub struct Facts {
    pub metric: Option<f64>,
    pub source: Option<f64>,
    pub recovery: Option<f64>,
    pub fine_tuned: bool,
    pub identical_bases: bool,
    /// Validation accuracy of the new base trained alone at the same cost, and of the result.
    pub untransferred: Option<(f64, f64)>,
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

impl Facts {
    /// The advice, and its reasons with their numbers.
    pub fn recommend(&self) -> (Option<Recommendation>, Vec<String>) {
        if self.identical_bases {
            let reason = "the new base equals the old one: the old tuned model is the result";
            return (Some(Recommendation::Copy), vec![reason.into()]);
        }

        let (Some(metric), Some(source)) = (self.metric, self.source) else {
            return (None, vec!["nothing was measured: there are no data".into()]);
        };
        let mut reasons = vec![format!(
            "accuracy {} against {} of the old tuned model",
            percent(metric),
            percent(source)
        )];
        reasons.extend(
            self.recovery.map(|r| format!("{} of the tuning's gain recovered", percent(r))),
        );
        reasons.extend(self.untransferred.map(|(only, ours)| {
            format!(
                "plain fine-tuning of the new base at the same cost: {} on validation, the \
                 result {}",
                percent(only),
                percent(ours)
            )
        }));
        if self.untransferred.is_some_and(|(only, ours)| only - ours > AS_GOOD + 1e-9) {
            reasons.push("training alone gives more than the transfer".into());
            return (Some(Recommendation::Retrain), reasons);
        }

        let recommendation = if metric >= source - AS_GOOD {
            if self.fine_tuned {
                Recommendation::TransferAndFineTune
            } else {
                Recommendation::Transfer
            }
        } else if self.recovery.is_some_and(|r| r >= WARM) {
            reasons.push("a start to fine-tune from, not yet a replacement".into());
            Recommendation::TransferAndFineTune
        } else if self.recovery.is_some_and(|r| r >= HOPELESS) {
            reasons.push("too little carries over to save training".into());
            Recommendation::Retrain
        } else {
            reasons.push("next to nothing carries over between these bases".into());
            Recommendation::KeepOld
        };
        (Some(recommendation), reasons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::verdict::recovery;

    fn facts(metric: f64, source: f64, before: f64) -> Facts {
        let recovery = recovery(Some(metric), Some(before), Some(source));
        Facts {
            metric: Some(metric),
            source: Some(source),
            recovery,
            fine_tuned: false,
            identical_bases: false,
            untransferred: None,
        }
    }

    #[test]
    fn evidence_decides_the_recommendation() {
        let action = |f: Facts| f.recommend().0;
        assert_eq!(action(facts(0.955, 0.96, 0.2)), Some(Recommendation::Transfer));
        assert_eq!(action(facts(0.8, 0.96, 0.2)), Some(Recommendation::TransferAndFineTune));
        assert_eq!(action(facts(0.4, 0.96, 0.2)), Some(Recommendation::Retrain));
        assert_eq!(action(facts(0.21, 0.96, 0.2)), Some(Recommendation::KeepOld));
        assert_eq!(
            action(Facts { identical_bases: true, ..facts(0.9, 0.9, 0.2) }),
            Some(Recommendation::Copy)
        );
        assert_eq!(action(Facts { metric: None, ..facts(0.9, 0.9, 0.2) }), None);
        // The best of transfers is no reason to transfer where training alone gives more.
        let beside =
            |only, ours| Facts { untransferred: Some((only, ours)), ..facts(0.955, 0.96, 0.2) };
        assert_eq!(action(beside(0.98, 0.96)), Some(Recommendation::Retrain));
        assert_eq!(action(beside(0.97, 0.96)), Some(Recommendation::Transfer));
        let reasons = beside(0.98, 0.96).recommend().1.join("; ");
        assert!(reasons.contains("98.0 %") && reasons.contains("96.0 %"), "{reasons}");
    }
}
