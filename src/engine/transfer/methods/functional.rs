//! `functional` as a method: from which start, and which layers, by agreement on inputs held back.
//!
//! Fits of the output layer alone and of every layer are tried, from the new base and, between bases of
//! one width, from the update as it is. Each is made without a fifth of the inputs; the one that diverges
//! least there from the old tuned model is made once more of all inputs.

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use crate::{
    profiler::Work,
    symmetry::Permutation,
    tensors::Checkpoint,
    training::{Agreement, Batch, Predictions},
    transfer::{
        alignment::Alignment,
        evidence::{FunctionalEvidence, FunctionalTrial},
        functional::{Fitted, Functions, Rule, Start, Variant},
        options::Head,
        problem::{Problem, TransferError},
        transport::Transport,
    },
};

/// Inputs that a fit sees at most.
pub const MOST_SAMPLES: usize = 1024;
/// The rules that are tried from every start.
const RULES: [Rule; 2] = [Rule::Head, Rule::Every];
/// Through the network: the trials together, and the fit in full.
const RUNS: usize = 2;
/// One in so many inputs is held back while the fit is chosen.
const HELD_BACK: usize = 5;

/// Forward passes of all fits on so many training samples, of single samples.
pub fn forwards(train: usize, across_widths: bool) -> usize {
    let starts = if across_widths { 1 } else { 2 };
    let (samples, trials) = (MOST_SAMPLES.min(train), RULES.len() * starts);
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
    let trials = fits.trials()?;

    let best = (1..trials.len())
        .fold(0, |best, i| if trials[i].divergence < trials[best].divergence { i } else { best });
    let FunctionalTrial { start, rule, .. } = trials[best];
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
        let samples = MOST_SAMPLES.min(train.len());
        let inputs = index::sample(&mut rng, train.len(), samples).into_vec();

        let identity = problem.source.is_none().then(|| {
            let transport = Transport::from(Permutation::identity(problem.symmetry));
            problem.carried(&transport, problem.trajectory.timesteps(), 1.0)
        });
        Self { problem, inputs, identity }
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
