//! How the two bases are related, before anything is spent.

use super::{cache::matchings, context::Context, failure::Failure};
use crate::{
    contract::{report, spec::Methods},
    engine::{
        training::Cost,
        transfer::{
            Alignment, Problem,
            diagnosis::{Cosines, Relation, cosines, relation},
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
    /// What costs more than a look at the weights; null where methods are named, for nothing
    /// depends on it there.
    pub relation: Option<Relation>,
}

impl Diagnosis {
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
    /// Weight matching's alignment, where it was solved.
    pub weight_matching: Option<Alignment>,
    pub cost: Cost,
    pub seconds: f64,
}

/// Weight matching's alignment, from the cache where it is there.
pub fn weight_matching(context: &Context, problem: &Problem) -> Result<Alignment, Failure> {
    let matched = matchings::weight_matching(context.inputs, context.job, problem)?;
    if matched.origin.is_some() {
        context.weight_matching.set(matched.origin);
    }
    Ok(matched.alignment)
}

pub fn run(context: &Context) -> Result<Diagnosed, Failure> {
    let (cost, start) = (context.cost(), context.ledger.now());
    let across_widths = context.inputs.source.is_some();
    let head = context.inputs.trajectory.head();
    let mut names: Vec<String> = context.inputs.graph.learned();
    names.retain(|name| !head.contains(name));
    let (source, target) = (context.inputs.trajectory.base(), &context.inputs.target.checkpoint);
    let tuned = context.inputs.trajectory.tuned();
    let (mut squares, mut moved, mut identical) = (0.0, 0.0, !across_widths);
    for name in names.iter().filter(|n| source.get(n).is_some()) {
        let a = &source[name];
        squares += a.inner(a);
        identical = identical && a.same_values(&target[name]);
        moved += a.sums(&tuned[name], |a, t| f64::from(t - a).powi(2));
    }

    let progress = |done: usize, total: usize| context.advance(done, total, "steps");
    let related = match context.job.spec.methods {
        Methods::Auto if !across_widths => {
            let problem = context.problem(&progress);
            let alignment = weight_matching(context, &problem)?;
            Some((relation(&problem, &alignment), alignment))
        }
        _ => None,
    };
    let (relation, weight_matching) = related.unzip();
    let comparable: &[String] = if across_widths { &[] } else { &names };
    let diagnosis = Diagnosis {
        across_widths,
        identical_bases: identical,
        relative_task_vector: (squares > 0.0).then(|| (moved / squares).sqrt()),
        base_cosines: cosines(comparable, source, target),
        relation,
    };
    let (cost, seconds) = (context.cost() - cost, context.ledger.now() - start);
    Ok(Diagnosed { diagnosis, weight_matching, cost, seconds })
}
