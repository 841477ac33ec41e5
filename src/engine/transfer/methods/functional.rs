//! `functional` as a method: from which start, and which layers, by agreement on inputs held back.
//!
//! Fits of the output layer alone and of every layer are tried, from the new base and, between bases of
//! one width, from the update as it is. Each is made without a fifth of the inputs; the one that diverges
//! least there from the old tuned model is made once more of all inputs.

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use crate::{
    network::{Graph, Program},
    profiler::Work,
    symmetry::Permutation,
    tensors::Checkpoint,
    training::{Agreement, Batch, Predictions},
    transfer::{
        alignment::Alignment,
        error::TransferError,
        evidence::{FunctionalEvidence, FunctionalTrial},
        functional::{self, Fitted, Functions, Rule, Start, Variant},
        options::Head,
        problem::Problem,
        transport::Transport,
    },
};

/// Inputs that a fit sees at most.
pub const MOST_SAMPLES: usize = 1024;
/// Bytes of activations that all models of a fit hold at once: fewer inputs are taken where each is large.
pub const MAX_ACTIVATIONS: usize = 2 << 30;
/// Bytes of results that are fitted side by side. Of a larger model one fit is made, and none beside it.
pub const MAX_RESULTS: usize = 4 << 30;
/// Cosine of the bases' parameters from which on that one fit starts from the update (ours).
const ONE_LINEAGE: f64 = 0.5;
/// The rules that are tried from every start.
const RULES: [Rule; 2] = [Rule::Head, Rule::Every];
/// Through the network: the trials together, and the fit in full.
const RUNS: usize = 2;
/// Inputs that a fit sees however large they are.
const LEAST_SAMPLES: usize = 8;
/// One in so many inputs is held back while the fit is chosen.
const HELD_BACK: usize = 5;

/// Whether several results of so many values are too much to hold. One fit is made then, and `auto` makes
/// none.
pub fn is_large(values: usize) -> bool {
    2 * RULES.len() * size_of::<f32>() * values > MAX_RESULTS
}

/// Inputs of a fit, of so many training samples.
pub fn samples(graph: &Graph, program: &Program, train: usize) -> usize {
    let each = size_of::<f32>() * functional::held_values(graph, program);
    let walks = 3 + 2 * RULES.len();
    let fit = MAX_ACTIVATIONS / (walks * each).max(1);
    MOST_SAMPLES.min(train).min(fit.max(LEAST_SAMPLES))
}

/// Forward passes of all fits on so many inputs, of single samples.
pub fn forwards(samples: usize, across_widths: bool) -> usize {
    let starts = if across_widths { 1 } else { 2 };
    let trials = RULES.len() * starts;
    let held = samples / HELD_BACK;
    // Three models beside the results, and what is predicted for the inputs that are held back.
    (samples - held) * (3 + trials) + held * (1 + trials) + samples * (3 + 1)
}

/// The fit of least divergence.
///
/// # Errors
/// When the caller interrupts or values overflow.
///
/// # Panics
/// Without inputs.
pub fn align(problem: &Problem) -> Result<Alignment, TransferError> {
    let fits = Fits::new(problem);
    let trials = if fits.is_large() { Vec::new() } else { fits.trials()? };

    let best = (1..trials.len())
        .fold(0, |best, i| if trials[i].divergence < trials[best].divergence { i } else { best });
    let (start, rule) = match trials.get(best) {
        Some(trial) => (trial.start, trial.rule),
        None => (fits.likely_start(), Rule::Every),
    };
    let whole = Run { fitted: fits.inputs.len(), done: 1 };
    let found = fits.fit(&[(start, rule)], whole)?;
    let Fitted { model, layers } = found.into_iter().next().ok_or(TransferError::Interrupted)?;

    let transport = Transport::from(model);
    let samples = fits.inputs.len();
    Ok(Alignment {
        transports: vec![transport; problem.trajectory.timesteps()],
        functional: Some(FunctionalEvidence { samples, chosen: best, trials, layers }),
        ..Alignment::default()
    })
}

/// What the fits have in common.
struct Fits<'p> {
    problem: &'p Problem<'p>,
    /// Positions of the inputs, shuffled.
    inputs: Vec<usize>,
    /// The update as it is; none between widths.
    identity: Option<Checkpoint>,
}

/// One of the [`RUNS`] through the network.
#[derive(Clone, Copy)]
struct Run {
    /// So many inputs are fitted to.
    fitted: usize,
    /// Runs before.
    done: usize,
}

impl<'p> Fits<'p> {
    fn new(problem: &'p Problem<'p>) -> Self {
        let train = problem.train.expect("a checked specification gives the fit inputs");
        let mut rng = ChaCha8Rng::seed_from_u64(problem.seed);
        let (graph, program) = (problem.learner.graph(), problem.learner.program());
        let samples = samples(graph, program, train.len());
        let inputs = index::sample(&mut rng, train.len(), samples).into_vec();

        let identity = problem.source.is_none().then(|| {
            let transport = Transport::from(Permutation::identity(problem.symmetry));
            problem.carried(&transport, problem.trajectory.timesteps(), 1.0)
        });
        Self { problem, inputs, identity }
    }

    fn is_large(&self) -> bool {
        is_large(self.problem.target.iter().map(|(_, tensor)| tensor.len()).sum())
    }

    /// Where the one fit of a large model starts.
    fn likely_start(&self) -> Start {
        let [old, new] = [self.problem.trajectory.base(), self.problem.target]
            .map(|model| self.problem.learned(model));
        let is_related = self.identity.is_some()
            && old.inner(&new) >= ONE_LINEAGE * (old.inner(&old) * new.inner(&new)).sqrt();
        if is_related { Start::Identity } else { Start::NewBase }
    }

    /// Every start with every rule, judged by the inputs that are held back.
    fn trials(&self) -> Result<Vec<FunctionalTrial>, TransferError> {
        let held = self.inputs.len() / HELD_BACK;
        let fitted = self.inputs.len() - held;
        // Too few to hold any back: they are judged by what they were fitted to.
        let held = self.batch(if held == 0 { &self.inputs } else { &self.inputs[fitted..] });
        let reference = self.reference(&held);

        let starts = [Some(Start::NewBase), self.identity.as_ref().map(|_| Start::Identity)];
        let pairs: Vec<(Start, Rule)> = starts
            .into_iter()
            .flatten()
            .flat_map(|start| RULES.map(|rule| (start, rule)))
            .collect();
        let found = self.fit(&pairs, Run { fitted, done: 0 })?;

        let judged = pairs.into_iter().zip(found).map(|((start, rule), found)| {
            let model = self.problem.with_statistics(&found.model);
            let predictions = self
                .problem
                .ledger
                .time(Work::Evaluation, || self.problem.learner.predictions(&model, &held));
            let Agreement { agreement, divergence } = predictions.beside(&reference);
            FunctionalTrial { start, rule, agreement, divergence }
        });
        Ok(judged.collect())
    }

    fn reference(&self, held: &Batch) -> Predictions {
        let Problem { trajectory, ledger, .. } = self.problem;
        let tuned = trajectory.end_of(trajectory.timesteps());
        ledger.time(Work::Evaluation, || self.problem.source().predictions(tuned, held))
    }

    fn fit(&self, pairs: &[(Start, Rule)], run: Run) -> Result<Vec<Fitted>, TransferError> {
        let problem = self.problem;
        let trajectory = problem.trajectory;
        let inputs = self.batch(&self.inputs[..run.fitted]);
        let variants: Vec<Variant> = pairs
            .iter()
            .map(|&(start, rule)| {
                let update = self.identity.as_ref().filter(|_| start == Start::Identity);
                Variant { start: update.unwrap_or(problem.target), rule }
            })
            .collect();

        let functions = Functions {
            graph: problem.learner.graph(),
            program: problem.learner.program(),
            source_program: problem.source().program(),
            old_base: trajectory.base(),
            old_tuned: trajectory.end_of(trajectory.timesteps()),
            new_base: problem.target,
            inputs: &inputs,
            keeps_head: problem.head == Head::Keep,
            seed: problem.seed,
        };
        problem.source().spent_forwards(2 * inputs.len());
        problem.learner.spent_forwards((1 + variants.len()) * inputs.len());
        problem.ledger.time(Work::Fitting, || {
            let step = |node, nodes| problem.step(run.done * nodes + node, RUNS * nodes);
            functions.fit(&variants, &step)
        })
    }

    fn batch(&self, positions: &[usize]) -> Batch {
        let train = self.problem.train.expect("a checked specification gives the fit inputs");
        train.batch(positions)
    }
}
