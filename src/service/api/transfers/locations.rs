//! Checks every location of a specification against the allowed roots, before it is queued.

use crate::{
    contract::{
        codes::FailureCode,
        spec::{Fault, Spec},
    },
    service::api::problem::Problem,
    storage::Storage,
};

const OUTPUT: &str = "/output";

/// # Errors
/// 422 `location_not_allowed`, with a pointer for every location at fault.
pub fn check(spec: &Spec, storage: &Storage) -> Result<(), Problem> {
    let faults = faults(spec, storage);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(FailureCode::LocationNotAllowed, faults))
    }
}

/// The locations that are refused.
pub fn faults(spec: &Spec, storage: &Storage) -> Vec<Fault> {
    named(spec)
        .into_iter()
        .filter_map(|(pointer, uri)| {
            let checked = match pointer {
                OUTPUT => storage.check_output(uri),
                _ => storage.check_location(uri),
            };
            checked
                .err()
                .map(|error| Fault::new(pointer, error.to_string()))
        })
        .collect()
}

fn named(spec: &Spec) -> Vec<(&'static str, &str)> {
    let mut named = vec![
        ("/source/base", spec.source.base.as_str()),
        ("/source/trajectory", spec.source.trajectory.as_str()),
        ("/target/base", spec.target.base.as_str()),
        (OUTPUT, spec.output.as_str()),
    ];
    if let Some(data) = &spec.data {
        let sets = [
            ("/data/train", &data.train),
            ("/data/validation", &data.validation),
            ("/data/test", &data.test),
        ];
        named.extend(
            sets.into_iter()
                .filter_map(|(pointer, uri)| uri.as_deref().map(|uri| (pointer, uri))),
        );
    }

    named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_location_of_a_specification_is_left_out() {
        let spec = Spec::from_json(&json!({
            "source": {"base": "u:1", "trajectory": "u:2"}, "target": {"base": "u:3"},
            "data": {"train": "u:4", "validation": "u:5", "test": "u:6"}, "output": "u:7"
        }))
        .unwrap();
        let mut uris: Vec<_> = named(&spec).into_iter().map(|(_, uri)| uri).collect();
        uris.sort_unstable();
        assert_eq!(uris, ["u:1", "u:2", "u:3", "u:4", "u:5", "u:6", "u:7"]);
    }
}
