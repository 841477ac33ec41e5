//! What the two bases' weights tell by themselves, before anything is spent.

use super::{context::Context, failure::Failure};
use crate::{
    contract::{codes::FailureCode, spec::Methods},
    engine::{
        training::Cost,
        transfer::{
            diagnosis::{Cosines, cosines},
            ladder,
        },
    },
};

/// The relation of old and new base, by their weights alone.
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
}

/// A diagnosis with what it took.
pub struct Diagnosed {
    pub diagnosis: Diagnosis,
    pub cost: Cost,
    pub seconds: f64,
}

/// Compares the bases, and how far the tuning went from the old one.
///
/// # Errors
/// `incompatible_models`, where identity alone can be carried, and between strangers.
pub fn run(context: &Context) -> Result<Diagnosed, Failure> {
    let (cost, start) = (context.cost(), context.profiler.now());
    let diagnosis = of_weights(context);
    check_lineage(context, &diagnosis)?;

    Ok(Diagnosed {
        diagnosis,
        cost: context.cost() - cost,
        seconds: context.profiler.now() - start,
    })
}

fn of_weights(context: &Context) -> Diagnosis {
    let across_widths = context.inputs.source.is_some();
    let head = context.inputs.trajectory.head();
    let mut names: Vec<String> = context.inputs.graph.learned();
    names.retain(|name| !head.contains(name));

    let source = context.inputs.trajectory.base();
    let target = &context.inputs.target.checkpoint;
    let tuned = context.inputs.trajectory.tuned();
    let (mut squares, mut moved, mut identical) = (0.0, 0.0, !across_widths);

    for name in names.iter().filter(|n| source.get(n).is_some()) {
        let a = &source[name];
        identical = identical && a.same_values(&target[name]);
        squares += a.squares();
        moved += a.squared_distance(&tuned[name]);
    }

    let comparable: &[String] = if across_widths { &[] } else { &names };
    Diagnosis {
        across_widths,
        identical_bases: identical,
        relative_task_vector: (squares > 0.0).then(|| (moved / squares).sqrt()),
        base_cosines: cosines(comparable, source, target),
    }
}

/// Refuses to add a tuning to a stranger, where identity was asked for. `auto` ends with a rejected result.
fn check_lineage(context: &Context, diagnosis: &Diagnosis) -> Result<(), Failure> {
    let is_auto = context.job.spec.methods == Methods::Auto;
    let is_by_names = context.inputs.graph.by_names().is_some();
    if !is_by_names || is_auto || !diagnosis.are_strangers() {
        return Ok(());
    }

    let cosine = diagnosis.cosine().unwrap_or(0.0);
    Err(Failure::Input {
        code: FailureCode::IncompatibleModels,
        pointer: Some("/target/base".into()),
        detail: format!(
            "the new base is not of the old one's lineage: the cosine of their weight matrices is {cosine:.3}. \
             Without its network only `identity` can be carried, and between strangers it carries nothing: \
             keep the old model, or give the network as a graph (\"model_type\": \"graph\") for methods that \
             match or fit"
        ),
    })
}
