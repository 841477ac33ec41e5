//! The methods that are named, and what they need.

use super::Fault;
use crate::contract::spec::{Method, Methods, Spec};

/// More than there are: each is named once.
const METHODS_LIMIT: usize = 16;

impl Spec {
    pub(super) fn check_methods(&self, faults: &mut Vec<Fault>) {
        let Methods::Named(methods) = &self.methods else {
            return;
        };
        if methods.is_empty() {
            faults.push(Fault::new(
                "/methods",
                "name at least one method, or say \"auto\"",
            ));
        }

        if methods.len() > METHODS_LIMIT {
            faults.push(Fault::new(
                "/methods",
                format!("at most {METHODS_LIMIT} methods"),
            ));
        }

        for (i, method) in methods.iter().take(METHODS_LIMIT).enumerate() {
            if methods[..i].contains(method) {
                faults.push(Fault::new(
                    format!("/methods/{i}"),
                    "this method is named twice",
                ));
            }
            if method.needs_data() && !self.has_train() {
                faults.push(Fault::new(
                    format!("/methods/{i}"),
                    format!(
                        "{} needs {}: give data.train",
                        method.name(),
                        method.needs()
                    ),
                ));
            }
        }

        let on = self.options.gradfix_on;
        if methods.contains(&Method::Gradfix) && matches!(on, Method::Gradfix | Method::Oracle) {
            let detail = format!("gradfix masks another method's update, not {}", on.name());
            faults.push(Fault::new("/options/gradfix_on", detail));
        }
    }
}
