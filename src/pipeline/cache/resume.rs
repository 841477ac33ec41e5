//! The end of a step as a file: floats as their bits, so that what goes on from there has the bytes of
//! what was never interrupted.

use serde::{Deserialize, Serialize};

use crate::engine::{
    symmetry::{
        Fit,
        assignment::{Certificate, Prices},
    },
    transfer::{Evidence, resume_point::StepState},
};

/// What a file says.
#[derive(Serialize, Deserialize)]
struct Entry {
    sigmas: Vec<Vec<u32>>,
    position: String,
    step: usize,
    fit: Bits,
    weight_anchor: Option<Bits>,
    sweeps: usize,
    certified_groups: usize,
    certificates: Vec<Option<String>>,
    /// As bits.
    prices: Vec<Vec<u64>>,
}

/// Objective, the same at the identity, bound; cosines at the identity; cosines.
#[derive(Serialize, Deserialize)]
struct Bits([u64; 3], Vec<u64>, Vec<u64>);

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn floats(bits: Vec<u64>) -> Vec<f64> {
    bits.into_iter().map(f64::from_bits).collect()
}

impl From<&Fit> for Bits {
    fn from(fit: &Fit) -> Self {
        Self(
            [fit.objective, fit.objective_at_identity, fit.bound].map(f64::to_bits),
            bits(&fit.cosines_at_identity),
            bits(&fit.cosines),
        )
    }
}

impl From<Bits> for Fit {
    fn from(Bits(sums, before, after): Bits) -> Self {
        let [objective, objective_at_identity, bound] = sums.map(f64::from_bits);
        let (cosines_at_identity, cosines) = (floats(before), floats(after));
        Self {
            objective,
            objective_at_identity,
            bound,
            cosines_at_identity,
            cosines,
        }
    }
}

pub(super) fn to_text(state: &StepState) -> serde_json::Result<String> {
    let StepState {
        sigmas,
        position,
        evidence,
        certificates,
        prices,
    } = state;
    let entry = Entry {
        sigmas: sigmas.clone(),
        position: position.to_string(),
        step: evidence.step,
        fit: Bits::from(&evidence.fit),
        weight_anchor: evidence.weight_anchor.as_ref().map(Bits::from),
        sweeps: evidence.sweeps,
        certified_groups: evidence.certified_groups,
        certificates: certificates
            .iter()
            .map(|name| name.map(str::to_owned))
            .collect(),
        prices: prices.iter().map(|prices| bits(prices.columns())).collect(),
    };
    serde_json::to_string(&entry)
}

/// `None` for what is not about as many groups in each of its parts.
pub(super) fn from_text(text: &str) -> Option<StepState> {
    let entry: Entry = serde_json::from_str(text).ok()?;
    let certificates: Option<Vec<_>> = entry
        .certificates
        .into_iter()
        .map(|name| match name {
            Some(name) => Certificate::known_name(&name).map(Some),
            None => Some(None),
        })
        .collect();
    let (fit, weight_anchor) = (Fit::from(entry.fit), entry.weight_anchor.map(Fit::from));
    let Entry {
        step,
        sweeps,
        certified_groups,
        ..
    } = entry;
    let state = StepState {
        position: entry.position.parse().ok()?,
        evidence: Evidence {
            step,
            fit,
            weight_anchor,
            sweeps,
            certified_groups,
        },
        certificates: certificates?,
        prices: entry
            .prices
            .into_iter()
            .map(floats)
            .map(Prices::from_columns)
            .collect(),
        sigmas: entry.sigmas,
    };
    let groups = state.sigmas.len();
    let fit = &state.evidence.fit;
    let cosines = [fit.cosines.len(), fit.cosines_at_identity.len()];
    let lengths = [
        state.certificates.len(),
        state.prices.len(),
        cosines[0],
        cosines[1],
    ];
    lengths.iter().all(|len| *len == groups).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_written_or_nothing() {
        let fit = Fit {
            objective: 0.1 + 0.2,
            objective_at_identity: -0.0,
            bound: f64::MIN_POSITIVE,
            cosines_at_identity: vec![1.0 / 3.0, f64::NAN],
            cosines: vec![0.7, 1e-300],
        };
        let weight_anchor = Some(Fit {
            cosines: vec![0.5; 2],
            ..fit.clone()
        });
        let state = StepState {
            sigmas: vec![vec![1, 2, 0], vec![0, 1]],
            position: u128::MAX - 1,
            evidence: Evidence {
                step: 3,
                fit,
                weight_anchor,
                sweeps: 4,
                certified_groups: 1,
            },
            certificates: vec![Some("dual"), None],
            prices: vec![Prices::from_columns(vec![0.1, 1e-9]), Prices::default()],
        };
        let text = to_text(&state).expect("JSON");
        let again = from_text(&text).expect("whole");
        assert_eq!(to_text(&again).expect("JSON"), text);
        assert_eq!(
            (again.sigmas, again.position),
            (state.sigmas, state.position)
        );
        assert_eq!(
            (again.certificates, again.prices),
            (state.certificates, state.prices)
        );
        for wrong in [
            &text[..text.len() - 1],
            &text.replacen("[1,2,0],", "", 1),
            "",
        ] {
            assert_eq!(from_text(wrong), None);
        }
    }
}
