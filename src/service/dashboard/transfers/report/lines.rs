//! What the curve of a report shows: a line per candidate, and the baselines.

use super::candidates::method;
use crate::{
    contract::report::{self, Baselines, Scores},
    service::dashboard::{format, transfers::curve},
};

/// Accuracy by step; a candidate without steps is one point. Nothing, where all are points: the table has
/// them.
pub(super) fn series(candidates: &[report::Candidate]) -> Vec<curve::Given> {
    let series: Vec<curve::Given> = candidates
        .iter()
        .map(|one| {
            let chosen = one.step.map(|step| step as f64);
            let mut points: Vec<(f64, f64)> = one
                .steps
                .iter()
                .filter_map(|step| Some((step.step? as f64, step.share()?)))
                .collect();
            if points.is_empty() {
                let accuracy = one.validation.as_ref().and_then(Scores::share);
                points.extend(chosen.zip(accuracy));
            }
            curve::Given {
                name: format::words(method(one)),
                points,
                chosen,
            }
        })
        .filter(|given| !given.points.is_empty())
        .collect();

    if series.iter().any(|given| given.points.len() > 1) {
        series
    } else {
        Vec::new()
    }
}

/// The curve shows validation; so should the lines it is measured against.
pub(super) fn baselines(baselines: &Baselines) -> Vec<(String, f64)> {
    let Baselines {
        source_tuned,
        target_before,
        few_shot,
        fine_tune_only,
        without_pull,
    } = baselines;
    let standing = [
        ("source_tuned", source_tuned),
        ("target_before", target_before),
    ]
    .map(|(name, one)| (name, one.as_ref().map(|one| (&one.validation, one.share()))));
    let trained = [
        ("few_shot", few_shot),
        ("fine_tune_only", fine_tune_only),
        ("without_pull", without_pull),
    ]
    .map(|(name, one)| {
        (
            name,
            one.as_ref()
                .map(|one| (&one.validation, one.accuracy.or(one.r2))),
        )
    });

    standing
        .into_iter()
        .chain(trained)
        .filter_map(|(name, figures)| {
            let (validation, test) = figures?;
            let validation = validation.as_ref().and_then(Scores::share);
            Some((format::words(name), validation.or(test)?))
        })
        .collect()
}
