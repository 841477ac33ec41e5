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
    training::{Batch, Predictions},
    transfer::{
        alignment::Alignment,
        evidence::{FunctionalEvidence, FunctionalTrial},
        functional::{Fitted, Functions, Rule, Start},
        options::Head,
        problem::{Problem, TransferError},
        transport::Transport,
    },
};

/// Inputs that a fit sees at most.
pub const MOST_SAMPLES: usize = 1024;
/// The rules that are tried from every start.
const RULES: [Rule; 2] = [Rule::Head, Rule::Every];
/// One in so many inputs is held back while the fit is chosen.
const HELD_BACK: usize = 5;

/// Forward passes of all fits on so many training samples, of single samples.
pub fn forwards(train: usize, across_widths: bool) -> usize {
    let starts = if across_widths { 1 } else { 2 };
    let (samples, fits) = (MOST_SAMPLES.min(train), RULES.len() * starts + 1);
    // Four models each, and what is predicted for the inputs that are held back.
    4 * samples * fits + samples / HELD_BACK * fits
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

    let best = (0..trials.len())
        .reduce(|best, i| {
            let better = trials[i].divergence < trials[best].divergence;
            if better { i } else { best }
        })
        .unwrap_or_default();
    let FunctionalTrial { start, rule, .. } = trials[best];
    let (rest, held) = fits.inputs.split_at(fits.inputs.len() - fits.inputs.len() / HELD_BACK);
    let all = [rest, held].concat();
    let Fitted { model, layers } = fits.fit(start, rule, &all, (trials.len(), trials.len() + 1))?;

    let transport = Transport::from(model);
    Ok(Alignment {
        transports: vec![transport; problem.trajectory.timesteps()],
        functional: Some(FunctionalEvidence { samples: all.len(), chosen: best, trials, layers }),
        ..Alignment::default()
    })
}

/// What the fits have in common.
struct Fits<'p> {
    problem: &'p Problem<'p>,
    /// Positions of the inputs, shuffled.
    inputs: Vec<usize>,
    identity: Option<Checkpoint>,
}

impl<'p> Fits<'p> {
    fn new(problem: &'p Problem<'p>) -> Self {
        let train = problem.train.expect("a checked specification gives the fit inputs");
        let mut rng = ChaCha8Rng::seed_from_u64(problem.seed);
        let samples = MOST_SAMPLES.min(train.len());
        let inputs = index::sample(&mut rng, train.len(), samples).into_vec();
        // Between widths nothing can be added as it is.
        let identity = problem.source.is_none().then(|| {
            let transport = Transport::from(Permutation::identity(problem.symmetry));
            problem.carried(&transport, problem.trajectory.timesteps(), 1.0)
        });
        Self { problem, inputs, identity }
    }

    /// Every start with every rule, judged by the inputs that are held back.
    fn trials(&self) -> Result<Vec<FunctionalTrial>, TransferError> {
        let (fitted, held) =
            self.inputs.split_at(self.inputs.len() - self.inputs.len() / HELD_BACK);
        // Too few to hold any back: they are judged by what they were fitted to.
        let held = self.batch(if held.is_empty() { fitted } else { held });
        let reference = self.reference(&held);

        let starts = [Some(Start::NewBase), self.identity.as_ref().map(|_| Start::Identity)];
        let pairs: Vec<(Start, Rule)> = starts
            .into_iter()
            .flatten()
            .flat_map(|start| RULES.map(|rule| (start, rule)))
            .collect();

        let mut trials = Vec::new();
        for (done, &(start, rule)) in pairs.iter().enumerate() {
            let found = self.fit(start, rule, fitted, (done, pairs.len() + 1))?;
            let model = self.problem.with_statistics(&found.model);
            let predictions = self
                .problem
                .ledger
                .time(Work::Evaluation, || self.problem.learner.predictions(&model, &held));
            let agreement = predictions.beside(&reference);
            trials.push(FunctionalTrial {
                start,
                rule,
                agreement: agreement.agreement,
                divergence: agreement.divergence,
            });
        }
        Ok(trials)
    }

    fn reference(&self, held: &Batch) -> Predictions {
        let Problem { trajectory, ledger, .. } = self.problem;
        let tuned = trajectory.end_of(trajectory.timesteps());
        ledger.time(Work::Evaluation, || self.problem.source().predictions(tuned, held))
    }

    /// One fit, which is the first so many of all.
    fn fit(
        &self,
        start: Start,
        rule: Rule,
        inputs: &[usize],
        (done, fits): (usize, usize),
    ) -> Result<Fitted, TransferError> {
        let problem = self.problem;
        let trajectory = problem.trajectory;
        let inputs = self.batch(inputs);
        let start = match start {
            Start::NewBase => problem.target,
            Start::Identity => self.identity.as_ref().unwrap_or(problem.target),
        };
        let functions = Functions {
            graph: problem.learner.graph(),
            source_graph: problem.source().graph(),
            old_base: trajectory.base(),
            old_tuned: trajectory.end_of(trajectory.timesteps()),
            new_base: problem.target,
            start,
            inputs: &inputs,
            rule,
            keeps_head: problem.head == Head::Keep,
            seed: problem.seed,
        };
        problem.source().spent_forwards(2 * inputs.len());
        problem.learner.spent_forwards(2 * inputs.len());
        problem.ledger.time(Work::Fitting, || {
            functions.fit(&|layer, layers| problem.step(done * layers + layer, fits * layers))
        })
    }

    fn batch(&self, positions: &[usize]) -> Batch {
        let train = self.problem.train.expect("a checked specification gives the fit inputs");
        train.batch(positions)
    }
}
