//! How a matching of the two bases' weights relates them, where `auto` has made one.

use super::{
    comparison::Candidates,
    context::Context,
    diagnose::{Diagnosed, Diagnosis},
};
use crate::{
    contract::report,
    engine::{
        training::Cost,
        transfer::{
            Method,
            diagnosis::{Relation, Wanted, relation},
        },
    },
};

/// All that is known of old and new base, with what that took.
pub struct Related {
    pub diagnosis: Diagnosis,
    /// `None` where `auto` came to an end without a matching, and where methods are named, for nothing
    /// depends on it there.
    pub relation: Option<Relation>,
    pub cost: Cost,
    pub seconds: f64,
}

impl Related {
    /// In the report's words.
    pub fn told(&self) -> report::Diagnosis {
        let Diagnosis {
            across_widths,
            identical_bases,
            relative_task_vector,
            base_cosines,
        } = &self.diagnosis;
        report::Diagnosis {
            across_widths: *across_widths,
            identical_bases: *identical_bases,
            relative_task_vector: *relative_task_vector,
            base_cosines: base_cosines.into(),
            relation: self.relation.as_ref().map(Into::into),
        }
    }
}

/// Adds to a diagnosis what the matching says. The bases' gradients are compared where a method rests on
/// gradients, the barrier is taken where the job asks for it.
pub fn run(context: &Context, diagnosed: Diagnosed, candidates: &Candidates) -> Related {
    let Diagnosed {
        diagnosis,
        cost,
        seconds,
    } = diagnosed;
    let Some(alignment) = &candidates.weight_matching else {
        return Related {
            diagnosis,
            relation: None,
            cost,
            seconds,
        };
    };

    let (before, start) = (context.cost(), context.profiler.now());
    let wanted = Wanted {
        barrier: context.job.spec.options.barrier,
        gradients: candidates
            .tried
            .iter()
            .any(|one| matches!(one.method, Method::Fgmt | Method::Gmt)),
    };
    let progress = |done: usize, total: usize| context.advance(done, total, "steps");
    let problem = context.problem(&progress);
    let found = relation(&problem, alignment, wanted);

    Related {
        diagnosis,
        relation: Some(found),
        cost: cost + (context.cost() - before),
        seconds: seconds + (context.profiler.now() - start),
    }
}
