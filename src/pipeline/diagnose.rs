//! How the two bases are related, before anything is spent.

use super::{Failure, compete::Bench, matching};
use crate::{
    contract::{report, spec::Methods},
    engine::{
        learning::Cost,
        transfer::{
            Alignment,
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

pub fn run(bench: &Bench) -> Result<Diagnosed, Failure> {
    let (cost, start) = (bench.cost(), bench.ledger.now());
    let across_widths = bench.inputs.source.is_some();
    let head = bench.inputs.trajectory.head();
    let mut names: Vec<String> = bench.inputs.graph.learned();
    names.retain(|name| !head.contains(name));
    let (source, target) = (bench.inputs.trajectory.base(), &bench.inputs.target.checkpoint);
    let tuned = bench.inputs.trajectory.tuned();
    let (mut squares, mut moved, mut identical) = (0.0, 0.0, !across_widths);
    for name in names.iter().filter(|n| source.get(n).is_some()) {
        let a = &source[name];
        squares += a.inner(a);
        identical = identical && a.same_values(&target[name]);
        moved += a.sums(&tuned[name], |a, t| f64::from(t - a).powi(2));
    }
    let progress = |done: usize, total: usize| bench.advance(done, total, "steps");
    let related = match bench.job.spec.methods {
        Methods::Auto if !across_widths => {
            let problem = bench.problem(&progress);
            let alignment = matching::weight_matching(bench, &problem)?;
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
    let (cost, seconds) = (bench.cost() - cost, bench.ledger.now() - start);
    Ok(Diagnosed { diagnosis, weight_matching, cost, seconds })
}
