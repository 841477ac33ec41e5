//! How the two bases are related: by their weights alone before anything is spent, and by a matching of
//! them where `auto` has made one.

use super::{cache::matchings, comparison::Candidates, context::Context, failure::Failure};
use crate::{
    contract::report,
    engine::{
        training::Cost,
        transfer::{
            Alignment, Method, Problem,
            diagnosis::{Cosines, Relation, Wanted, cosines, relation},
            ladder,
        },
    },
};

/// The relation of old and new base.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The bases differ in width: nothing of them can be compared entry by entry.
    pub across_widths: bool,
    /// The new base's learned tensors equal the old one's, bit for bit.
    pub identical_bases: bool,
    /// `‖θ_A^T − θ_A⁰‖ / ‖θ_A⁰‖`: how far the tuning went.
    pub relative_task_vector: Option<f64>,
    /// `θ_A⁰` against `θ_B⁰`.
    pub base_cosines: Cosines,
    /// What costs more than a look at the weights; null where `auto` came to an end without a matching, and
    /// where methods are named, for nothing depends on it there.
    pub relation: Option<Relation>,
}

impl Diagnosis {
    /// By which the bases are of one lineage or strangers; of a model without a matrix over all that it has.
    pub fn cosine(&self) -> Option<f64> {
        self.base_cosines.matrices.or(self.base_cosines.all)
    }

    /// Whether the bases' weights have nothing to do with each other, as far as their cosine tells.
    pub fn are_strangers(&self) -> bool {
        !self.identical_bases && !self.cosine().is_some_and(ladder::is_one_lineage)
    }

    /// In the report's words.
    pub fn told(&self) -> report::Diagnosis {
        report::Diagnosis {
            across_widths: self.across_widths,
            identical_bases: self.identical_bases,
            relative_task_vector: self.relative_task_vector,
            base_cosines: (&self.base_cosines).into(),
            relation: self.relation.as_ref().map(Into::into),
        }
    }
}

/// A diagnosis with what was found on the way.
pub struct Diagnosed {
    pub diagnosis: Diagnosis,
    pub cost: Cost,
    pub seconds: f64,
}

impl Diagnosed {
    /// With what the matching of the bases' weights says, where `auto` has used one. The bases' gradients
    /// are compared where a method rests on gradients, the barrier is taken where the job asks for it.
    #[must_use]
    pub fn with_relation(mut self, context: &Context, candidates: &Candidates) -> Self {
        let Some(alignment) = &candidates.weight_matching else {
            return self;
        };
        let (cost, start) = (context.cost(), context.ledger.now());
        let wanted = Wanted {
            barrier: context.job.spec.options.barrier,
            gradients: candidates
                .tried
                .iter()
                .any(|one| matches!(one.method, Method::Fgmt | Method::Gmt)),
        };

        let progress = |done: usize, total: usize| context.advance(done, total, "steps");
        let problem = context.problem(&progress);
        self.diagnosis.relation = Some(relation(&problem, alignment, wanted));
        self.cost = self.cost + (context.cost() - cost);
        self.seconds += context.ledger.now() - start;
        self
    }
}

/// Weight matching's alignment, from the cache where it is there.
pub fn weight_matching(context: &Context, problem: &Problem) -> Result<Alignment, Failure> {
    let matched = matchings::weight_matching(context.inputs, context.job, problem)?;
    if matched.origin.is_some() {
        context.weight_matching.set(matched.origin);
    }
    Ok(matched.alignment)
}

/// What the weights tell by themselves.
pub fn run(context: &Context) -> Diagnosed {
    let (cost, start) = (context.cost(), context.ledger.now());
    let across_widths = context.inputs.source.is_some();
    let head = context.inputs.trajectory.head();
    let mut names: Vec<String> = context.inputs.graph.learned();
    names.retain(|name| !head.contains(name));
    let (source, target) = (
        context.inputs.trajectory.base(),
        &context.inputs.target.checkpoint,
    );
    let tuned = context.inputs.trajectory.tuned();
    let (mut squares, mut moved, mut identical) = (0.0, 0.0, !across_widths);
    for name in names.iter().filter(|n| source.get(n).is_some()) {
        let a = &source[name];
        squares += a.inner(a);
        identical = identical && a.same_values(&target[name]);
        moved += a.squared_distance(&tuned[name]);
    }

    let comparable: &[String] = if across_widths { &[] } else { &names };
    let diagnosis = Diagnosis {
        across_widths,
        identical_bases: identical,
        relative_task_vector: (squares > 0.0).then(|| (moved / squares).sqrt()),
        base_cosines: cosines(comparable, source, target),
        relation: None,
    };
    let (cost, seconds) = (context.cost() - cost, context.ledger.now() - start);
    Diagnosed {
        diagnosis,
        cost,
        seconds,
    }
}
