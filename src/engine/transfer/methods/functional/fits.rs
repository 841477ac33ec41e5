//! The fits of one transfer: which are tried, how they are judged, and which is the result.

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use super::cost::{HELD_BACK, RULES, samples};
use crate::{
    profiler::Work,
    symmetry::Permutation,
    tensors::Checkpoint,
    training::{Agreement, Batch, Dataset, Predictions},
    transfer::{
        error::TransferError,
        functional::{Fitted, FunctionalTrial, Functions, Rule, Start, Variant},
        options::Head,
        problem::Problem,
        resume_point::OnePerRun,
        stores::Stores,
        transport::Transport,
    },
};

/// Cosine of the bases' parameters from which on a large model's fits start from the update (ours).
const ONE_LINEAGE: f64 = 0.5;
/// Through the network: the trials together, and the fit in full.
const RUNS: usize = 2;

/// What the fits have in common.
pub(super) struct Fits<'p> {
    problem: &'p Problem<'p>,
    train: &'p Dataset,
    /// Positions of the inputs, shuffled.
    inputs: Vec<usize>,
    /// The update as it is; none between widths.
    identity: Option<Checkpoint>,
    is_large: bool,
}

/// What was tried, and the result.
pub(super) struct Chosen {
    pub trials: Vec<FunctionalTrial>,
    /// The position of the trial that was chosen.
    pub best: usize,
    pub fitted: Fitted,
    /// Inputs that the result was fitted to.
    pub samples: usize,
}

/// One of the runs through the network: [`RUNS`], of a large model one.
#[derive(Clone, Copy)]
struct Run {
    /// So many inputs are fitted to.
    fitted: usize,
    /// From 0.
    number: usize,
}

impl<'p> Fits<'p> {
    pub fn new(problem: &'p Problem<'p>, is_large: bool) -> Result<Self, TransferError> {
        let train = problem.training_samples()?;
        let mut rng = ChaCha8Rng::seed_from_u64(problem.seed);
        let (graph, program) = (problem.learner.graph(), problem.learner.program());
        let length = train.sample_shape().first().copied().unwrap_or(1);
        let samples = samples(graph, program, train.len(), length);
        let inputs = index::sample(&mut rng, train.len(), samples).into_vec();

        let identity = problem.source.is_none().then(|| {
            let transport = Transport::from(Permutation::identity(problem.symmetry));
            problem.carried(&transport, problem.trajectory.timesteps(), 1.0)
        });
        Ok(Self {
            problem,
            train,
            inputs,
            identity,
            is_large,
        })
    }

    /// Tries everything without a fifth of the inputs, and makes the best once more of all of them.
    pub fn two_runs(&self) -> Result<Chosen, TransferError> {
        let Stores { trials, layers, .. } = self.problem.stores;
        let judged = match trials.load(OnePerRun) {
            Some(judged) => judged,
            None => self.trials(&self.pairs())?.1,
        };
        // Saved before their layers go: a later run needs either.
        trials.save(OnePerRun, &judged);
        layers.remove_run(0);

        let best = least(&judged);
        let samples = self.inputs.len();
        let whole = Run {
            fitted: samples,
            number: 1,
        };
        let pair = (judged[best].start, judged[best].rule);
        let mut fitted = self.fit(&[pair], whole)?;
        Ok(Chosen {
            best,
            fitted: fitted.swap_remove(0),
            trials: judged,
            samples,
        })
    }

    /// Tries both rules from the likely start. The better fit is the result, although it has not seen the
    /// inputs that it was judged by.
    pub fn one_run(&self) -> Result<Chosen, TransferError> {
        let start = self.likely_start();
        let (mut fitted, trials) = self.trials(&RULES.map(|rule| (start, rule)))?;
        let best = least(&trials);
        let samples = self.inputs.len() - self.held();

        Ok(Chosen {
            best,
            fitted: fitted.swap_remove(best),
            trials,
            samples,
        })
    }

    /// Where the fits of a large model start.
    fn likely_start(&self) -> Start {
        let [old, new] = [self.problem.trajectory.base(), self.problem.target]
            .map(|model| self.problem.learned(model));
        let is_related = self.identity.is_some()
            && old.inner(&new) >= ONE_LINEAGE * (old.inner(&old) * new.inner(&new)).sqrt();

        if is_related {
            Start::Identity
        } else {
            Start::NewBase
        }
    }

    /// Every start with every rule.
    fn pairs(&self) -> Vec<(Start, Rule)> {
        let starts = [
            Some(Start::NewBase),
            self.identity.as_ref().map(|_| Start::Identity),
        ];
        starts
            .into_iter()
            .flatten()
            .flat_map(|start| RULES.map(|rule| (start, rule)))
            .collect()
    }

    /// Inputs that are held back while the fit is chosen.
    fn held(&self) -> usize {
        self.inputs.len() / HELD_BACK
    }

    /// Fits, judged by the inputs that are held back.
    fn trials(
        &self,
        pairs: &[(Start, Rule)],
    ) -> Result<(Vec<Fitted>, Vec<FunctionalTrial>), TransferError> {
        let held = self.held();
        let fitted = self.inputs.len() - held;
        // Too few to hold any back: they are judged by what they were fitted to.
        let held = self.batch(if held == 0 {
            &self.inputs
        } else {
            &self.inputs[fitted..]
        });
        let reference = self.reference(&held);
        let found = self.fit(pairs, Run { fitted, number: 0 })?;

        let judged = pairs.iter().zip(&found).map(|(&(start, rule), found)| {
            let model = self.problem.with_statistics(&found.model);
            let predictions = self.problem.profiler.time(Work::Evaluation, || {
                self.problem.learner.predictions(&model, &held)
            });
            let Agreement {
                agreement,
                divergence,
            } = predictions.beside(&reference);
            FunctionalTrial {
                start,
                rule,
                agreement,
                divergence,
            }
        });
        let judged = judged.collect();
        Ok((found, judged))
    }

    fn reference(&self, held: &Batch) -> Predictions {
        let Problem {
            trajectory,
            profiler,
            ..
        } = self.problem;
        let tuned = trajectory.end_of(trajectory.timesteps());

        profiler.time(Work::Evaluation, || {
            self.problem.source().predictions(tuned, held)
        })
    }

    fn fit(&self, pairs: &[(Start, Rule)], run: Run) -> Result<Vec<Fitted>, TransferError> {
        let problem = self.problem;
        let trajectory = problem.trajectory;
        let inputs = self.batch(&self.inputs[..run.fitted]);
        let variants: Vec<Variant> = pairs
            .iter()
            .map(|&(start, rule)| {
                let update = self.identity.as_ref().filter(|_| start == Start::Identity);
                Variant {
                    start: update.unwrap_or(problem.target),
                    rule,
                }
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
            rounds: self.is_large,
            store: problem.stores.layers,
            run: run.number,
        };
        let runs = if self.is_large { 1 } else { RUNS };
        problem.source().spent_forwards(2 * inputs.len());
        problem
            .learner
            .spent_forwards((1 + variants.len()) * inputs.len());
        problem.profiler.time(Work::Fitting, || {
            let step = |node, nodes| problem.step(run.number * nodes + node, runs * nodes);
            functions.fit(&variants, &step)
        })
    }

    fn batch(&self, positions: &[usize]) -> Batch {
        self.train.batch(positions)
    }
}

/// The trial of least divergence, the first of equals.
fn least(trials: &[FunctionalTrial]) -> usize {
    (1..trials.len()).fold(0, |best, i| {
        if trials[i].divergence < trials[best].divergence {
            i
        } else {
            best
        }
    })
}
