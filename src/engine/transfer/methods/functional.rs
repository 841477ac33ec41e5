//! `functional` as a method: from which start, and which layers, by agreement on inputs held back.
//!
//! Fits of the output layer alone and of every layer are tried, from the new base and, between bases of
//! one width, from the update as it is. Each is made without a fifth of the inputs; the one that diverges
//! least there from the old tuned model is made once more of all inputs.
//!
//! A large model's layers lie on a disk, and its time is what its forward passes take. Both rules are tried
//! from one start, the likelier by the bases' cosine, in one walk; the better one is the result.

use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use crate::{
    network::{Graph, Input, Program},
    profiler::Work,
    symmetry::Permutation,
    tensors::Checkpoint,
    training::{Agreement, Batch, Predictions},
    transfer::{
        alignment::Alignment,
        error::TransferError,
        evidence::FunctionalEvidence,
        functional::{self, Fitted, FunctionalTrial, Functions, Rule, Start, Variant},
        options::Head,
        problem::Problem,
        transport::Transport,
    },
};

/// Inputs that a fit sees at most.
pub const MOST_SAMPLES: usize = 1024;
/// Bytes of activations that all models of a fit hold at once: fewer inputs are taken where each is large.
pub const MAX_ACTIVATION_BYTES: usize = 2 << 30;
/// Values of a model from which on it is large.
pub const LARGE: usize = 1 << 28;
/// Cosine of the bases' parameters from which on a large model's fits start from the update (ours).
const ONE_LINEAGE: f64 = 0.5;
/// The rules that are tried from every start.
const RULES: [Rule; 2] = [Rule::Head, Rule::Every];
/// Through the network: the trials together, and the fit in full.
const RUNS: usize = 2;
/// Inputs that a fit sees however large they are.
const LEAST_SAMPLES: usize = 8;
/// One in so many inputs is held back while the fit is chosen.
const HELD_BACK: usize = 5;

/// Whether a model of so many values is fitted from one start alone, its layers on a disk.
pub fn is_large(values: usize) -> bool {
    values >= LARGE
}

/// Inputs of a fit, of so many training samples. Of sequences shorter than the longest that the network
/// reads, `length` says how long they are.
pub fn samples(graph: &Graph, program: &Program, train: usize, length: usize) -> usize {
    let longest = program.input.shape().first().copied().unwrap_or(1);
    let is_tokens = matches!(program.input, Input::Tokens { .. });
    let share = if is_tokens {
        length.min(longest) as f64 / longest.max(1) as f64
    } else {
        1.0
    };
    let each = share * (size_of::<f32>() * functional::held_values(graph, program)) as f64;

    let walks = (3 + 2 * RULES.len()) as f64;
    let fit = (MAX_ACTIVATION_BYTES as f64 / (walks * each).max(1.0)) as usize;
    MOST_SAMPLES.min(train).min(fit.max(LEAST_SAMPLES))
}

/// Forward passes of all fits on so many inputs, of single samples.
pub fn forwards(samples: usize, across_widths: bool, is_large: bool) -> usize {
    let starts = if across_widths || is_large { 1 } else { 2 };
    let trials = RULES.len() * starts;
    let held = samples / HELD_BACK;
    if is_large {
        return (samples - held) * (3 + trials) + held * (1 + trials);
    }
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
    let values = problem.target.iter().map(|(_, tensor)| tensor.len()).sum();
    align_sized(problem, is_large(values))
}

/// [`align`], the model large or not.
fn align_sized(problem: &Problem, is_large: bool) -> Result<Alignment, TransferError> {
    let fits = Fits::new(problem, is_large);
    let Chosen {
        trials,
        best,
        fitted,
        samples,
    } = if fits.is_large {
        fits.one_run()?
    } else {
        fits.two_runs()?
    };
    let Fitted { model, layers } = fitted;

    let transport = Transport::from(model);
    Ok(Alignment {
        transports: vec![transport; problem.trajectory.timesteps()],
        functional: Some(FunctionalEvidence {
            samples,
            chosen: best,
            trials,
            layers,
        }),
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
    is_large: bool,
}

/// What was tried, and the result.
struct Chosen {
    trials: Vec<FunctionalTrial>,
    /// The position of the trial that was chosen.
    best: usize,
    fitted: Fitted,
    /// Inputs that the result was fitted to.
    samples: usize,
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
    fn new(problem: &'p Problem<'p>, is_large: bool) -> Self {
        let train = problem
            .train
            .expect("a checked specification gives the fit inputs");
        let mut rng = ChaCha8Rng::seed_from_u64(problem.seed);
        let (graph, program) = (problem.learner.graph(), problem.learner.program());
        let length = train.sample_shape().first().copied().unwrap_or(1);
        let samples = samples(graph, program, train.len(), length);
        let inputs = index::sample(&mut rng, train.len(), samples).into_vec();

        let identity = problem.source.is_none().then(|| {
            let transport = Transport::from(Permutation::identity(problem.symmetry));
            problem.carried(&transport, problem.trajectory.timesteps(), 1.0)
        });
        Self {
            problem,
            inputs,
            identity,
            is_large,
        }
    }

    /// Tries everything without a fifth of the inputs, and makes the best once more of all of them.
    fn two_runs(&self) -> Result<Chosen, TransferError> {
        let store = self.problem.fits;
        let trials = match store.find_trials() {
            Some(trials) => trials,
            None => self.trials(&self.pairs())?.1,
        };
        // Kept before its layers go: a later run needs either.
        store.keep_trials(&trials);
        store.forget_layers(0);

        let best = least(&trials);
        let samples = self.inputs.len();
        let whole = Run {
            fitted: samples,
            number: 1,
        };
        let pair = (trials[best].start, trials[best].rule);
        let mut fitted = self.fit(&[pair], whole)?;
        Ok(Chosen {
            best,
            fitted: fitted.swap_remove(0),
            trials,
            samples,
        })
    }

    /// Tries both rules from the likely start. The better fit is the result, although it has not seen the
    /// inputs that it was judged by.
    fn one_run(&self) -> Result<Chosen, TransferError> {
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
            let predictions = self.problem.ledger.time(Work::Evaluation, || {
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
            trajectory, ledger, ..
        } = self.problem;
        let tuned = trajectory.end_of(trajectory.timesteps());
        ledger.time(Work::Evaluation, || {
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
            store: problem.fits,
            run: run.number,
        };
        let runs = if self.is_large { 1 } else { RUNS };
        problem.source().spent_forwards(2 * inputs.len());
        problem
            .learner
            .spent_forwards((1 + variants.len()) * inputs.len());
        problem.ledger.time(Work::Fitting, || {
            let step = |node, nodes| problem.step(run.number * nodes + node, runs * nodes);
            functions.fit(&variants, &step)
        })
    }

    fn batch(&self, positions: &[usize]) -> Batch {
        let train = self
            .problem
            .train
            .expect("a checked specification gives the fit inputs");
        train.batch(positions)
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::{
        profiler::Profiler,
        symmetry::Symmetry,
        tensors::{DType, HostTensor},
        training::{Learner, testing},
        transfer::{Schedule, Trajectory},
    };

    fn in_bf16(model: &Checkpoint) -> Checkpoint {
        let tensors = model.iter().map(|(name, tensor)| {
            let (shape, values) = (tensor.shape().to_vec(), tensor.f32().into_owned());
            (
                name.to_owned(),
                HostTensor::from_f32_as(DType::BF16, shape, values),
            )
        });
        tensors.collect()
    }

    /// Both rules from one start in one run; the better fit is published with the bytes that it was
    /// judged with.
    #[test]
    fn a_large_model_is_fitted_once_in_its_own_dtype() {
        let nodes =
            json!([{"op": "linear", "param": "a"}, {"op": "relu"}, {"op": "linear", "param": "b"}]);
        let graph = testing::graph(&[6], nodes);
        let shapes: [(&str, &[usize]); 3] = [
            ("a.weight", &[9, 6]),
            ("a.bias", &[9]),
            ("b.weight", &[4, 9]),
        ];
        let signature = testing::signature(&shapes);
        let models = [1, 2, 3].map(|seed| in_bf16(&testing::random_params(&signature, seed)));
        let [old, tuned, target] = models;
        let learner = Learner::new(&graph, &target.signature(), Device::flex()).unwrap();
        let symmetry = Symmetry::derive(&graph, &signature).unwrap();
        let train = testing::dataset(&testing::random_batch(&[6], 60, 4, 5));
        let trajectory = Trajectory::linear(old, tuned.clone(), Schedule::Uniform, 1);
        let profiler = Profiler::new(|| 0.0);
        let problem = Problem {
            train: Some(&train),
            ..Problem::new(&learner, &symmetry, &trajectory, &target, &profiler)
        };

        let found = align_sized(&problem, true).unwrap();
        let evidence = found.functional.unwrap();
        assert_eq!(evidence.samples, 48, "a fifth is held back");
        let tried: Vec<_> = evidence
            .trials
            .iter()
            .map(|trial| (trial.start, trial.rule))
            .collect();
        assert_eq!(
            tried,
            RULES.map(|rule| (Start::NewBase, rule)),
            "the bases are unrelated"
        );
        let model = problem.finished(&found.transports[0], 1, 1.0);
        let fitted = found.transports[0].fitted().unwrap();
        for (name, tensor) in model.iter() {
            assert_eq!(tensor.dtype(), DType::BF16, "{name}");
            assert_eq!(tensor.bytes(), fitted[name].bytes(), "{name}");
        }

        let batch = train.batch(&(0..train.len()).collect::<Vec<_>>());
        let reference = learner.predictions(&tuned, &batch);
        let divergence = |model: &Checkpoint| {
            learner
                .predictions(model, &batch)
                .beside(&reference)
                .divergence
        };
        assert!(divergence(&model) < 0.5 * divergence(&target));
        let small = align_sized(&problem, false).unwrap();
        assert_eq!(small.functional.unwrap().trials.len(), 4);
    }

    #[test]
    fn shorter_sequences_leave_room_for_more() {
        let nodes = json!([{"op": "embedding", "param": "e"}, {"op": "linear", "param": "out"}]);
        let graph = testing::token_graph(1 << 15, nodes);
        let signature = testing::signature(&[("e.weight", &[50, 8]), ("out.weight", &[400, 8])]);
        let program = graph.resolve(&signature).unwrap();
        let longest = samples(&graph, &program, 1024, 1 << 15);
        assert!((LEAST_SAMPLES..64).contains(&longest), "{longest}");
        assert_eq!(samples(&graph, &program, 1024, 128), 1024);
    }
}
