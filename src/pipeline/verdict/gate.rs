//! The conditions under which a result may be published.

use crate::{
    contract::{report::GateCheck, spec::Gate},
    engine::tensors::Checkpoint,
};

/// What a gate looks at.
pub struct Measured {
    /// Accuracy or agreement, as the gate wants.
    pub metric: Option<f64>,
    /// The same of the old tuned model.
    pub source: Option<f64>,
    /// Share of the test samples.
    pub negative_flips: Option<f64>,
    /// Learned values that are not the new base's.
    pub changed: usize,
}

/// The condition that something was transferred at all.
const CHANGED: &str = "changed_parameters";

/// How many learned values of `model` differ from the new base's.
pub fn changed(learned: &[String], base: &Checkpoint, model: &Checkpoint) -> usize {
    let both = learned
        .iter()
        .filter_map(|name| base.get(name).zip(model.get(name)));
    both.map(|(base, model)| base.count_differing(model)).sum()
}

/// What a gate says of a result; empty without figures.
pub fn checks(gate: &Gate, measured: &Measured) -> Vec<GateCheck> {
    // A checked specification has data wherever its gate has a bound.
    let (Some(metric), Some(source)) = (measured.metric, measured.source) else {
        return Vec::new();
    };

    let min = gate.min.map(|bound| GateCheck {
        condition: "min".to_owned(),
        bound,
        value: metric,
        passed: metric >= bound,
    });
    let drop = gate
        .max_drop_from_source
        .map(|bound| at_most("max_drop_from_source", source - metric, bound));
    let flips = gate
        .max_negative_flips
        .zip(measured.negative_flips)
        .map(|(bound, value)| at_most("max_negative_flips", value, bound));

    let changed = GateCheck {
        condition: CHANGED.to_owned(),
        bound: 1.0,
        value: measured.changed as f64,
        passed: measured.changed > 0,
    };
    min.into_iter()
        .chain(drop)
        .chain(flips)
        .chain([changed])
        .collect()
}

fn at_most(condition: &str, value: f64, bound: f64) -> GateCheck {
    GateCheck {
        condition: condition.to_owned(),
        bound,
        value,
        passed: value <= bound,
    }
}

/// Whether a check is the condition that something was transferred, unmet.
pub fn found_nothing(check: &GateCheck) -> bool {
    check.condition == CHANGED && !check.passed
}

/// Why the gate failed, for a check that did not pass.
pub fn reason(check: &GateCheck) -> String {
    if check.condition == CHANGED {
        return "the gate fails: nothing was transferred, every learned parameter is the new base's"
            .to_owned();
    }

    let GateCheck {
        condition,
        bound,
        value,
        ..
    } = check;
    format!("the gate fails: {condition} is {bound:.4}, the result has {value:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tensors::HostTensor;

    #[test]
    fn a_gate_compares_at_its_bounds() {
        let gate = Gate {
            metric: crate::contract::spec::Metric::Accuracy,
            min: Some(0.5),
            max_drop_from_source: Some(0.25),
            max_negative_flips: Some(0.125),
            external: None,
        };
        let passed = |metric, flips, changed| {
            let (metric, source) = (Some(metric), Some(0.75));
            let measured = Measured {
                metric,
                source,
                negative_flips: Some(flips),
                changed,
            };
            checks(&gate, &measured)
                .iter()
                .map(|c| c.passed)
                .collect::<Vec<_>>()
        };
        assert_eq!(passed(0.5, 0.125, 1), [true, true, true, true]);
        assert_eq!(passed(0.49, 0.13, 1), [false, false, false, true]);
        assert_eq!(passed(0.9, 0.0, 0), [true, true, true, false]);
    }

    #[test]
    fn changed_values_are_counted_in_learned_tensors_only() {
        let model = |w: f32, mean: f32| -> Checkpoint {
            let tensor = |values: Vec<f32>| HostTensor::from_f32(vec![values.len()], values);
            [
                ("w".to_owned(), tensor(vec![1.0, w])),
                ("mean".to_owned(), tensor(vec![mean])),
            ]
            .into_iter()
            .collect()
        };
        let learned = ["w".to_owned()];
        assert_eq!(changed(&learned, &model(2.0, 0.0), &model(2.0, 5.0)), 0);
        assert_eq!(changed(&learned, &model(2.0, 0.0), &model(2.5, 0.0)), 1);
    }
}
