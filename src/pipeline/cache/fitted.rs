//! What is kept of a fit beside its tensors, as text: floats as their bits, so that what goes on from there
//! has the bytes of what was never interrupted.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::engine::transfer::{
    FunctionalTrial,
    functional::{LayerFit, Rule, Start},
};

/// A layer's entry.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// Of the file of its tensors; none where nothing was fitted.
    sha256: Option<String>,
    fit: Option<Fit>,
}

#[derive(Serialize, Deserialize)]
struct Fit {
    layer: String,
    rows: usize,
    /// Factor and what is left, as bits.
    bits: [u64; 2],
}

/// Names of start and rule, agreement and divergence as bits.
#[derive(Serialize, Deserialize)]
struct Trial(String, String, [u64; 2]);

pub(super) fn text_of_layer(sha256: Option<&str>, fit: Option<&LayerFit>) -> String {
    let fit = fit.map(|fit| Fit {
        layer: fit.layer.clone(),
        rows: fit.rows,
        bits: [fit.factor, fit.left].map(f64::to_bits),
    });
    json!(Entry {
        sha256: sha256.map(str::to_owned),
        fit
    })
    .to_string()
}

/// The digest of the layer's tensors, and its fit.
pub(super) fn layer_of_text(text: &str) -> Option<(Option<String>, Option<LayerFit>)> {
    let Entry { sha256, fit } = serde_json::from_str(text).ok()?;
    let fit = fit.map(|Fit { layer, rows, bits }| {
        let [factor, left] = bits.map(f64::from_bits);
        LayerFit {
            layer,
            rows,
            factor,
            left,
        }
    });
    Some((sha256, fit))
}

pub(super) fn text_of_trials(trials: &[FunctionalTrial]) -> String {
    let trials: Vec<Trial> = trials
        .iter()
        .map(|trial| {
            let bits = [trial.agreement, trial.divergence].map(f64::to_bits);
            Trial(
                trial.start.name().to_owned(),
                trial.rule.name().to_owned(),
                bits,
            )
        })
        .collect();
    json!(trials).to_string()
}

/// `None` for what names no trial.
pub(super) fn trials_of_text(text: &str) -> Option<Vec<FunctionalTrial>> {
    let trials: Vec<Trial> = serde_json::from_str(text).ok()?;
    let trials: Option<Vec<FunctionalTrial>> = trials
        .into_iter()
        .map(|Trial(start, rule, bits)| {
            let start = [Start::NewBase, Start::Identity]
                .into_iter()
                .find(|s| s.name() == start)?;
            let rules = [Rule::Head, Rule::Writers, Rule::Outside, Rule::Every];
            let rule = rules.into_iter().find(|r| r.name() == rule)?;
            let [agreement, divergence] = bits.map(f64::from_bits);
            Some(FunctionalTrial {
                start,
                rule,
                agreement,
                divergence,
            })
        })
        .collect();
    trials.filter(|trials| !trials.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_written_or_nothing() {
        let fit = LayerFit {
            layer: "a.b".into(),
            rows: 7,
            factor: 0.1 + 0.2,
            left: f64::NAN,
        };
        let text = text_of_layer(Some("00ff"), Some(&fit));
        let (sha256, found) = layer_of_text(&text).expect("whole");
        assert_eq!(text_of_layer(sha256.as_deref(), found.as_ref()), text);
        assert_eq!(found.expect("a fit").factor.to_bits(), fit.factor.to_bits());
        assert_eq!(
            layer_of_text(&text_of_layer(None, None)),
            Some((None, None))
        );
        assert_eq!(layer_of_text(&text[..text.len() - 1]), None);

        let trials = [
            FunctionalTrial {
                start: Start::NewBase,
                rule: Rule::Head,
                agreement: 0.3,
                divergence: 1e-300,
            },
            FunctionalTrial {
                start: Start::Identity,
                rule: Rule::Every,
                agreement: 1.0,
                divergence: 0.0,
            },
        ];
        let text = text_of_trials(&trials);
        assert_eq!(trials_of_text(&text).as_deref(), Some(&trials[..]));
        for wrong in [
            text.replacen("head", "tail", 1),
            "[]".into(),
            text[1..].into(),
        ] {
            assert_eq!(trials_of_text(&wrong), None);
        }
    }
}
