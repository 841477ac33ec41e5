//! Who takes part, and how each comes by its model.

use std::error::Error;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune::engine::{
    symmetry::Permutation,
    tensors::Checkpoint,
    transfer::{
        Alignment, Method, Problem, Transport, WEIGHT_ANCHOR,
        candidate::ALPHAS,
        methods::{align, builds_on},
    },
};
use serde_json::{Value, json};

use super::{
    bench::{Bench, SAMPLES},
    case::{plan, train},
};

/// How a contender comes by its model.
#[derive(Clone, Copy)]
pub enum Way {
    Method(Method),
    /// On another method's alignment.
    Gradfix(Method),
    /// Identity, the update made orthogonal to the difference of the bases.
    OrthogonalShift,
    /// Gradient matching without the bases' own parameters, as published.
    Published(Method),
    RandomPermutation,
    /// Plain training on as many samples, at as many gradients, as FGMT takes.
    FewShot,
    Untouched,
}

/// Which contenders take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    All,
    /// For the figure over widths.
    Widths,
}

pub const WIDTHS: [&str; 5] = [
    "identity",
    "weight matching",
    "FGMT as published",
    "FGMT",
    "random π",
];

pub const CONTENDERS: [(&str, Way); 16] = [
    ("identity", Way::Method(Method::Identity)),
    ("identity, orthogonal shift", Way::OrthogonalShift),
    ("weight matching", Way::Method(Method::WeightMatching)),
    ("GMT as published", Way::Published(Method::Gmt)),
    ("GMT", Way::Method(Method::Gmt)),
    ("FGMT as published", Way::Published(Method::Fgmt)),
    ("FGMT", Way::Method(Method::Fgmt)),
    ("gradfix", Way::Gradfix(Method::Identity)),
    (
        "gradfix on weight matching",
        Way::Gradfix(Method::WeightMatching),
    ),
    ("gradfix on FGMT", Way::Gradfix(Method::Fgmt)),
    ("bico", Way::Method(Method::Bico)),
    ("theseus", Way::Method(Method::Theseus)),
    ("oracle", Way::Method(Method::Oracle)),
    ("random π", Way::RandomPermutation),
    ("few-shot fine-tuning", Way::FewShot),
    ("plain fine-tuning", Way::Untouched),
];

/// A point of a method's search.
struct Found {
    model: Checkpoint,
    step: usize,
    alpha: f64,
    accuracy: f64,
}

impl Bench<'_> {
    /// The model before any further training, and how it was chosen.
    #[expect(clippy::too_many_lines, reason = "an arm for every way")]
    pub fn model(&self, way: Way) -> Result<(Checkpoint, Value), Box<dyn Error>> {
        let case = self.case;
        let (mut gradfix_on, mut weight_anchor) = (Method::Identity, WEIGHT_ANCHOR);
        let method = match way {
            Way::Untouched => return Ok((case.new_base.clone(), Value::Null)),
            Way::FewShot => {
                let samples = case.budget.timesteps * SAMPLES;
                let few: Vec<usize> = (0..samples.min(self.train.len())).collect();
                let epochs = 2 * samples / few.len();
                let plan = plan(
                    epochs,
                    case.budget.optimizer,
                    self.full.learning_rate,
                    case.seed,
                );
                let tuned = train(
                    &self.learner,
                    &case.new_base,
                    &self.train.subset(&few),
                    &plan,
                );
                return Ok((tuned.checkpoint, Value::Null));
            }
            Way::RandomPermutation | Way::OrthogonalShift => Method::Identity,
            Way::Method(method) => method,
            Way::Published(method) => {
                weight_anchor = 0.0;
                method
            }
            Way::Gradfix(on) => {
                gradfix_on = on;
                Method::Gradfix
            }
        };
        let orthogonal_shift = matches!(way, Way::OrthogonalShift);
        let problem = Problem {
            orthogonal_shift,
            weight_anchor,
            train: Some(&self.train),
            validation: Some(&self.validation),
            batch_size: SAMPLES,
            seed: case.seed,
            ..Problem::new(
                &self.learner,
                &self.symmetry,
                &self.trajectory,
                &case.new_base,
                &self.ledger,
            )
        };
        let alignment = if matches!(way, Way::RandomPermutation) {
            let mut rng = ChaCha8Rng::seed_from_u64(case.seed);
            let random = Transport::from(Permutation::random(&self.symmetry, &mut rng));
            Alignment {
                transports: vec![random; case.budget.timesteps],
                ..Alignment::default()
            }
        } else {
            let budget = self.full_plan();
            let on = match builds_on(method, gradfix_on, false) {
                Some(on) => Some(align(on, &problem, None, None)?),
                None => None,
            };
            align(method, &problem, on.as_ref(), Some(&budget))?
        };
        let Found {
            model, step, alpha, ..
        } = self.best(&problem, &alignment.transports);
        Ok((model, json!({"step": step, "alpha": alpha})))
    }

    /// The best step at α = 1, then the best α there, each of all that there are and on the whole validation
    /// split: the table compares methods, not searches. A job races ([`retune::engine::transfer::race`]).
    fn best(&self, problem: &Problem, transports: &[Transport]) -> Found {
        let look = |step: usize, alpha: f64| {
            let model = problem.finished(&transports[step - 1], step, alpha);
            let accuracy = self.learner.evaluate(&model, &self.validation).accuracy;
            Found {
                model,
                step,
                alpha,
                accuracy,
            }
        };
        let later = |best: Found, one: Found| {
            if one.accuracy >= best.accuracy {
                one
            } else {
                best
            }
        };
        let best = (2..=transports.len())
            .map(|step| look(step, 1.0))
            .fold(look(1, 1.0), later);

        let step = best.step;
        let others = ALPHAS
            .into_iter()
            .filter(|alpha| alpha.to_bits() != 1f64.to_bits());
        let better = |best: Found, one: Found| {
            if one.accuracy > best.accuracy {
                one
            } else {
                best
            }
        };
        others.map(|alpha| look(step, alpha)).fold(best, better)
    }
}
