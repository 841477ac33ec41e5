//! The demo's network and the plain training of it, all by the engine.

use std::{ops::ControlFlow, time::Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Interrupted,
    images::{CLASSES, Images, SIDE},
};
use crate::{
    engine::{
        network::Graph,
        tensors::{Checkpoint, DType, Signature, TensorInfo},
        training::{Event, FineTunePlan, Learner, Optimizer},
    },
    pipeline,
};

/// Units of the one hidden layer.
pub const WIDTH: usize = 512;

/// Samples of one optimiser step.
pub const BATCH: usize = 64;

/// One hidden layer: wide enough for two networks to have counterparts for their units, small
/// enough to be trained in seconds.
pub struct Network {
    /// `config.json` of every model here.
    pub config: Value,
    pub graph: Graph,
    pub signature: Signature,
}

impl Network {
    /// # Errors
    /// When the engine refuses the description.
    pub fn describe() -> anyhow::Result<Self> {
        let config = json!({"model_type": "graph", "task": "classification",
            "input": {"kind": "image", "shape": [1, SIDE, SIDE]},
            "nodes": [{"op": "flatten"}, {"op": "linear", "param": "fc1"}, {"op": "relu"},
                      {"op": "linear", "param": "fc2"}]});
        let shapes = [
            ("fc1.weight", vec![WIDTH, SIDE * SIDE]),
            ("fc1.bias", vec![WIDTH]),
            ("fc2.weight", vec![CLASSES, WIDTH]),
            ("fc2.bias", vec![CLASSES]),
        ];
        let signature = Signature::from(shapes.map(|(name, shape)| {
            (
                name.to_owned(),
                TensorInfo {
                    dtype: DType::F32,
                    shape,
                },
            )
        }));

        let graph = Graph::from_document(&config).context("the demo's network")?;
        Ok(Self {
            config,
            graph,
            signature,
        })
    }
}

/// How long and how fast to train. SGD with momentum 0.9 and a cosine learning rate, always.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub epochs: usize,
    pub learning_rate: f64,
    /// Order of the samples.
    pub seed: u64,
    /// Checkpoints to keep on the way.
    pub snapshots: usize,
}

/// A trained model and what it took.
pub struct Trained {
    pub model: Checkpoint,
    /// `(steps done, checkpoint)`, the last is the end.
    pub snapshots: Vec<(usize, Checkpoint)>,
    pub seconds: f64,
    pub sample_gradients: u64,
}

/// Trains with a bar, and stops on Ctrl-C.
pub struct Trainer<'a> {
    learner: Learner<'a>,
    stop: &'a CancellationToken,
}

impl<'a> Trainer<'a> {
    /// # Errors
    /// When the network has no classes.
    pub fn new(network: &'a Network, stop: &'a CancellationToken) -> anyhow::Result<Self> {
        pipeline::checked_device()?;
        let learner = pipeline::learner(&network.graph, &network.signature)?;
        Ok(Self { learner, stop })
    }

    /// Trains on these images; `title` stands beside the bar.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn train(
        &self,
        title: &str,
        start: &Checkpoint,
        images: &Images,
        recipe: Recipe,
    ) -> anyhow::Result<Trained> {
        let plan = FineTunePlan {
            batch_size: BATCH,
            seed: recipe.seed,
            // There is no batch norm here.
            statistics_samples: 0,
            snapshots: recipe.snapshots,
            ..FineTunePlan::new(Optimizer::Sgd, recipe.epochs, recipe.learning_rate)
        };
        let bar = bar(title);
        let mut observe = |event: Event| {
            if let Event::Step { done, total, .. } = event {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            if self.stop.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };

        let (begun, spent) = (Instant::now(), self.learner.cost());
        let tuned = self
            .learner
            .fine_tune(start, &images.dataset(), &plan, &mut observe);
        let seconds = begun.elapsed().as_secs_f64();
        bar.finish_and_clear();
        if self.stop.is_cancelled() {
            return Err(Interrupted.into());
        }

        let sample_gradients = (self.learner.cost() - spent).sample_gradients;
        let (model, snapshots) = (tuned.checkpoint, tuned.snapshots);
        Ok(Trained {
            model,
            snapshots,
            seconds,
            sample_gradients,
        })
    }

    /// Share of right answers, in [0, 1].
    pub fn accuracy(&self, model: &Checkpoint, images: &Images) -> f64 {
        self.learner.evaluate(model, &images.dataset()).accuracy
    }
}

/// Drawn on a terminal alone.
fn bar(title: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("  {msg:34} {bar:32} {pos}/{len} {elapsed}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0)
        .with_style(style)
        .with_message(title.to_owned())
}
