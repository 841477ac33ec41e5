//! The gate.

use super::{Fault, NAME_LIMIT};
use crate::contract::spec::Spec;

/// Longest wait for an external gate: a year.
const HOURS_LIMIT: f64 = 8760.0;

impl Spec {
    pub(super) fn check_gate(&self, faults: &mut Vec<Fault>) {
        let Some(gate) = &self.gate else { return };
        let bounds = [
            ("min", gate.min),
            ("max_drop_from_source", gate.max_drop_from_source),
            ("max_negative_flips", gate.max_negative_flips),
        ];
        let is_bounded = bounds.iter().any(|(_, bound)| bound.is_some());

        if let Some(external) = &gate.external {
            check_gate_name("/gate/external/name", &external.name, faults);
            if !(external.deadline_hours > 0.0 && external.deadline_hours <= HOURS_LIMIT) {
                let detail = format!("must lie above 0 and be at most {HOURS_LIMIT} hours");
                faults.push(Fault::new("/gate/external/deadline_hours", detail));
            }
        }

        if !is_bounded && gate.external.is_none() {
            let names = "min, max_drop_from_source, max_negative_flips or external";
            faults.push(Fault::new("/gate", format!("give at least one of {names}")));
        }
        if !self.has_data() && (is_bounded || gate.external.is_none()) {
            faults.push(Fault::new(
                "/gate",
                "a gate needs data to judge by: give data.test",
            ));
        }

        for (name, bound) in bounds {
            if bound.is_some_and(|b| !(0.0..=1.0).contains(&b)) {
                faults.push(Fault::new(
                    format!("/gate/{name}"),
                    "must lie between 0 and 1",
                ));
            }
        }
    }
}

/// Checks the name of an external gate.
pub fn check_gate_name(pointer: &str, name: &str, faults: &mut Vec<Fault>) {
    let length = name.chars().count();
    if !(1..=NAME_LIMIT).contains(&length) || name.chars().any(char::is_control) {
        faults.push(Fault::new(
            pointer,
            format!("1 to {NAME_LIMIT} characters, none of control"),
        ));
    }
}
