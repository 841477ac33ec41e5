//! Which layers `functional` fits: the pairs of the evidence by start, rule and number of unlabelled inputs.
//!
//! Trained pairs are kept, so that another rule is measured on the same ones.

use std::{error::Error, path::Path, time::Instant};

use burn::tensor::Device;
use retune::engine::{
    tensors::Checkpoint,
    training::{Dataset, Learner},
    transfer::{
        InMemory, STATISTICS_SAMPLES, TransferError,
        functional::{Fitted, Functions, Rule, Variant},
    },
};

use super::{
    case::{Case, Relation, checkpoint},
    images::Images,
    networks::Network,
};

const NETWORKS: [&str; 4] = ["mlp-512", "vit", "conv8", "resnet18"];
const SAMPLES: [usize; 3] = [64, 256, 1000];
const SEEDS: u64 = 3;

/// Measures the pairs of Fashion-MNIST whose name contains `only`; they are kept below `cases`.
///
/// # Errors
/// When a file cannot be read or written.
pub fn measure(data: &Path, cases: &Path, only: &str) -> Result<(), Box<dyn Error>> {
    let folder = data.join("fashion");
    let (learned, judged) = (
        Images::read(&folder, "train")?,
        Images::read(&folder, "t10k")?,
    );

    for seed in 0..SEEDS {
        for network in NETWORKS {
            for relation in [Relation::Continued, Relation::Independent] {
                let name = format!("fashion-{network}-{}-{seed}", relation.name());
                if !name.contains(only) {
                    continue;
                }
                let at = cases.join(&name);
                if !at.join("test.safetensors").exists() {
                    Case::make(&learned, &judged, network, relation, seed)?.store(&at)?;
                }
                Pair::read(&at, network)?.measure(&name)?;
            }
        }
    }
    Ok(())
}

/// A kept pair of bases with a tuning of the old one.
pub struct Pair {
    pub network: Network,
    pub old: Checkpoint,
    pub tuned: Checkpoint,
    pub new: Checkpoint,
    pub inputs: Dataset,
    pub test: Dataset,
}

impl Pair {
    /// The new base with the old update added as it is.
    pub fn identity(&self) -> Checkpoint {
        self.new.shifted(&self.old, &self.tuned, 1.0)
    }

    /// The new base with layers fitted on the first so many inputs.
    ///
    /// # Errors
    /// As [`Functions::fit`].
    pub fn fitted(
        &self,
        learner: &Learner,
        samples: usize,
        rule: Rule,
    ) -> Result<Checkpoint, Box<dyn Error>> {
        let fitted = self.fit(
            learner,
            samples,
            Variant {
                start: &self.new,
                rule,
            },
        )?;
        Ok(fitted.model)
    }

    fn fit(
        &self,
        learner: &Learner,
        samples: usize,
        variant: Variant,
    ) -> Result<Fitted, Box<dyn Error>> {
        let positions: Vec<usize> = (0..samples.min(self.inputs.len())).collect();
        let inputs = self.inputs.batch(&positions);
        let functions = Functions {
            graph: &self.network.graph,
            program: learner.program(),
            source_program: learner.program(),
            old_base: &self.old,
            old_tuned: &self.tuned,
            new_base: &self.new,
            inputs: &inputs,
            keeps_head: false,
            seed: 0,
            rounds: false,
            store: &InMemory,
            run: 0,
        };
        let go_on = |_, _| Ok::<_, TransferError>(());
        let mut fitted = functions.fit(&[variant], &go_on)?;
        fitted.pop().ok_or_else(|| "a variant has a fit".into())
    }

    /// Reads what [`Case::store`] has written.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(at: &Path, network: &str) -> Result<Self, Box<dyn Error>> {
        let model = |name: &str| checkpoint(&at.join(name).join("model.safetensors"));
        let images = |name: &str| -> Result<Dataset, Box<dyn Error>> {
            let file = checkpoint(&at.join(format!("{name}.safetensors")))?;
            let labels = file["labels"]
                .f32()
                .iter()
                .map(|&label| label as i64)
                .collect();
            Ok(Dataset::from_bytes(
                file["inputs"].bytes(),
                vec![1, 28, 28],
                labels,
            ))
        };
        Ok(Self {
            network: Network::named(network)?,
            old: model("old")?,
            tuned: model("tuned")?,
            new: model("new")?,
            inputs: images("train")?,
            test: images("test")?,
        })
    }

    fn measure(&self, name: &str) -> Result<(), Box<dyn Error>> {
        let Network {
            graph, signature, ..
        } = &self.network;
        let learner = Learner::new(graph, signature, Device::flex())?;
        let accuracy = |model: &Checkpoint| {
            let model = learner.with_statistics(model, &self.inputs, STATISTICS_SAMPLES, 128);
            100.0 * learner.evaluate(&model, &self.test).accuracy
        };
        let identity = self.identity();
        println!(
            "{name}: tuned {:.1}, before {:.1}, identity {:.1}",
            100.0 * learner.evaluate(&self.tuned, &self.test).accuracy,
            accuracy(&self.new),
            accuracy(&identity)
        );
        for samples in SAMPLES.into_iter().map(|n| n.min(self.inputs.len())) {
            for (start_name, start) in [("base", &self.new), ("identity", &identity)] {
                for rule in [Rule::Head, Rule::Writers, Rule::Outside, Rule::Every] {
                    let begun = Instant::now();
                    let Fitted { model, layers } =
                        self.fit(&learner, samples, Variant { start, rule })?;
                    let seconds = begun.elapsed().as_secs_f64();
                    let left = layers.iter().map(|layer| layer.left.to_string());
                    println!(
                        "  n {samples:4} from {start_name:8} {:8} {:5.1} %  {seconds:5.1} s  left {}",
                        rule.name(),
                        accuracy(&model),
                        left.map(|left| left.chars().take(4).collect())
                            .collect::<Vec<String>>()
                            .join(" ")
                    );
                }
            }
        }
        Ok(())
    }
}
