//! Class 1 has the logit `10 (α x − 1)` beside 0: it is predicted from `x = 1 / α` on.

use burn::tensor::Device;
use serde_json::json;

use super::*;
use crate::{
    network::Graph,
    profiler::Profiler,
    symmetry::{Permutation, Symmetry},
    tensors::HostTensor,
    training::{Dataset, Evaluation, Learner, testing},
    transfer::{
        Schedule, Trajectory,
        race::{Arm, Blocks, Rules, Track},
    },
};

const TIMESTEPS: usize = 4;
const SAMPLES: usize = 256;

fn model(weight: f32) -> Checkpoint {
    let tensor = |shape, values: [f32; 2]| HostTensor::from_f32(shape, values.to_vec());
    [
        (
            "fc.weight".to_owned(),
            tensor(vec![2, 1], [0.0, 10.0 * weight]),
        ),
        ("fc.bias".to_owned(), tensor(vec![2], [0.0, -10.0])),
    ]
    .into_iter()
    .collect()
}

/// Samples from −1 to 3, of class 1 from `threshold` on.
fn data(threshold: f32) -> Dataset {
    let inputs: Vec<f32> = (0..SAMPLES)
        .map(|i| 4.0 * i as f32 / SAMPLES as f32 - 1.0)
        .collect();
    let labels = inputs.iter().map(|x| i64::from(*x > threshold)).collect();
    Dataset::from_floats(HostTensor::from_f32(vec![SAMPLES, 1], inputs), labels)
}

/// A linear classifier, and the tuning from `x = ∞` to `x = 1`.
struct Case {
    graph: Graph,
    trajectory: Trajectory,
    target: Checkpoint,
    blocks: Blocks,
    profiler: Profiler,
}

impl Case {
    fn new(threshold: f32) -> Self {
        let graph = testing::graph(&[1], json!([{"op":"linear","param":"fc"}]));
        let trajectory = Trajectory::linear(model(0.0), model(1.0), Schedule::Uniform, TIMESTEPS);
        let blocks = Blocks::draw(&data(threshold), SAMPLES, 0);
        let profiler = Profiler::new(|| 0.0);
        Self {
            graph,
            trajectory,
            target: model(0.0),
            blocks,
            profiler,
        }
    }

    /// Chosen beside the old tuned model, or beside nothing.
    fn choose(&self, alpha: Alpha, beside_old: bool) -> Candidate {
        let signature = self.target.signature();
        let learner = Learner::new(&self.graph, &signature, Device::flex()).unwrap();
        let symmetry = Symmetry::derive(&self.graph, &signature).unwrap();
        let problem = Problem::new(
            &learner,
            &symmetry,
            &self.trajectory,
            &self.target,
            &self.profiler,
        );
        let alignment = Alignment::constant(&problem, &Permutation::identity(&symmetry));

        let go_on = |_: usize| std::ops::ControlFlow::Continue(());
        let (blocks, profiler) = (&self.blocks, &self.profiler);
        let track = Track {
            learner: &learner,
            profiler,
            blocks,
            go_on: &go_on,
        };
        let mut old = Arm::new(track, || model(1.0));
        let race = Some(Race {
            blocks,
            rules: Rules::default(),
        });
        let selection = Selection {
            step: Step::Best,
            alpha,
            race,
            completes: true,
        };
        let old = beside_old.then_some(&mut old as &mut dyn Runner);
        let incumbents = Incumbents { old, leader: None };
        select(Method::Identity, &problem, alignment, selection, incumbents).unwrap()
    }
}

#[test]
fn the_alpha_of_least_loss_wins_the_race_and_the_steps_are_its_line() {
    let found = Case::new(1.0 / 1.5).choose(Alpha::Search, false);
    assert_eq!(found.step, TIMESTEPS);
    assert!((1.4..=1.6).contains(&found.alpha), "{}", found.alpha);
    let record = found.validation.as_ref().unwrap();
    assert!(
        record.samples() == SAMPLES && record.accuracy() > 0.98,
        "{}",
        record.accuracy()
    );

    // α = 0.5 at the end is the middle of the way at α = 1.
    let steps: Vec<usize> = found.steps.iter().map(|score| score.step).collect();
    assert_eq!(steps, [2, 4]);
    let alphas: Vec<f64> = found.alphas.iter().map(|(alpha, _)| *alpha).collect();
    assert!(
        alphas.len() <= LINE.len() + MOST_ARMS && alphas.is_sorted(),
        "{alphas:?}"
    );
    let looked_at = found.alphas.iter().map(|(_, score)| score.samples).min();
    assert_eq!(
        looked_at,
        Some(LOOK),
        "the line is laid through few samples: {:?}",
        found.alphas
    );
}

#[test]
fn a_first_look_that_is_enough_is_the_last() {
    // As good as the old tuned model, and another α would be better still.
    let case = Case::new(1.0 / 1.5);
    let found = case.choose(Alpha::Search, true);
    assert_eq!(
        (found.step, found.alphas.len(), found.steps.len()),
        (TIMESTEPS, 1, 1)
    );
    assert!((found.alpha - 1.0).abs() < 1e-12);
}

#[test]
fn the_steps_are_searched_where_alpha_is_given() {
    // Three quarters of the way.
    let found = Case::new(1.0 / 0.75).choose(Alpha::Fixed(1.0), false);
    assert_eq!(found.step, 3);
    assert!(found.alphas.is_empty());
    let steps: Vec<usize> = found.steps.iter().map(|score| score.step).collect();
    assert_eq!(steps, [2, 3, 4]);
    // To the end, no step before it is better.
    assert_eq!(
        Case::new(1.0).choose(Alpha::Fixed(1.0), false).step,
        TIMESTEPS
    );
}

/// A candidate that was right on so many of 200 samples, with this loss.
fn judged(method: Method, right: usize, loss: f64, is_searched: bool) -> Candidate {
    let inputs = HostTensor::from_f32(vec![200, 1], vec![0.0; 200]);
    let data = Dataset::from_floats(inputs, vec![1; 200]);
    let predictions = (0..200).map(|i| u32::from(i < right)).collect();
    let evaluation = Evaluation {
        loss,
        accuracy: right as f64 / 200.0,
        predictions,
    };
    let record = Record::of(&evaluation, &data);
    let scores = vec![Score::of(1, &record); if is_searched { 3 } else { 1 }];
    let found = Case::new(1.0).choose(Alpha::Fixed(1.0), false);
    Candidate {
        method,
        validation: Some(record),
        steps: scores,
        alphas: Vec::new(),
        ..found
    }
}

#[test]
fn the_best_of_several_points_must_be_borne_out_beside_what_was_not_chosen_there() {
    use crate::transfer::ladder::best;
    let fitted = judged(Method::Functional, 160, 0.6, false);
    // One sample ahead, by a worse loss: by chance.
    let lucky = judged(Method::Identity, 161, 0.7, true);
    assert_eq!(best(&[lucky.clone(), fitted.clone()]), Some(1));
    assert_eq!(best(&[fitted.clone(), lucky]), Some(0));
    // By a better loss, or by more than chance, it is the better one.
    let sound = judged(Method::Identity, 161, 0.5, true);
    assert_eq!(best(&[sound, fitted.clone()]), Some(0));
    let ahead = judged(Method::Identity, 180, 0.7, true);
    assert_eq!(best(&[fitted.clone(), ahead]), Some(1));
    // Two that were not chosen there compare by accuracy.
    let plain = judged(Method::Identity, 161, 0.7, false);
    assert_eq!(best(&[fitted, plain]), Some(1));
}
