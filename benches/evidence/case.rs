//! One pair of bases with a tuning of the first.
//!
//! A base learns upright images; it is tuned on images turned by 90°, few of them; the new base
//! stands in one of three relations to the old one. No two of the parts share an image.

use std::{error::Error, fs, io::Write, ops::ControlFlow, path::Path};

use burn::tensor::Device;
use bytes::Bytes;
use retune::{
    artifacts::tensors,
    engine::{
        tensors::{Checkpoint, DType, HostTensor},
        training::{Dataset, FineTunePlan, FineTuned, Learner, Optimizer},
    },
};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{images::Images, networks::Network};

/// What the new base is to the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The old base, trained on with other images.
    Continued,
    /// From another seed, on other images.
    Independent,
    /// From another seed, on ten times as many images as the old base had.
    Better,
}

impl Relation {
    pub const ALL: [Self; 3] = [Self::Continued, Self::Independent, Self::Better];

    pub fn name(self) -> &'static str {
        match self {
            Self::Continued => "continued",
            Self::Independent => "independent",
            Self::Better => "better",
        }
    }
}

/// How many images and passes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Budget {
    /// Images of a base; the old one of `Better` has a tenth.
    pub base: usize,
    pub base_epochs: usize,
    /// Turned images of the tuning.
    pub tune: usize,
    pub tune_epochs: usize,
    pub validation: usize,
    pub test: usize,
    /// T of the methods.
    pub timesteps: usize,
    /// Learning rate of bases and of the tuning.
    pub learning_rate: f64,
    /// Those that fine-tuning chooses from.
    pub learning_rates: [f64; 3],
    /// SGD with momentum 0.9, or `AdamW`.
    pub optimizer: Optimizer,
}

impl Budget {
    /// Convolutions and attention are dear: fewer images.
    pub fn of(network: &str) -> Self {
        let wide = Self {
            base: 6000,
            base_epochs: 6,
            tune: 1024,
            tune_epochs: 8,
            validation: 512,
            test: 2000,
            timesteps: 10,
            learning_rate: 0.05,
            learning_rates: [0.1, 0.03, 0.01],
            optimizer: Optimizer::Sgd,
        };
        let narrow = Self {
            base: 3000,
            tune: 512,
            validation: 256,
            test: 1000,
            ..wide
        };
        match network {
            "vit" => Self {
                base_epochs: 10,
                learning_rate: 1e-3,
                learning_rates: [3e-3, 1e-3, 3e-4],
                optimizer: Optimizer::AdamW,
                ..narrow
            },
            // Without norms, SGD starts slowly.
            "conv8" => Self {
                tune_epochs: 6,
                timesteps: 5,
                optimizer: Optimizer::AdamW,
                learning_rate: 1e-3,
                learning_rates: [3e-3, 1e-3, 3e-4],
                ..narrow
            },
            // The images shipped with the program are few.
            "mlp-32" => Self {
                base: 2000,
                tune: 512,
                validation: 256,
                test: 1000,
                ..wide
            },
            "resnet18" => Self {
                tune_epochs: 6,
                base_epochs: 5,
                timesteps: 5,
                ..narrow
            },
            _ => wide,
        }
    }
}

pub const BATCH: usize = 64;

/// What is trained.
pub struct Setting<'n> {
    pub network: &'n str,
    pub budget: Budget,
    pub relation: Relation,
    pub seed: u64,
}

/// Models and data of one row.
#[derive(Clone)]
pub struct Case {
    pub network: Network,
    pub budget: Budget,
    pub seed: u64,
    pub old_base: Checkpoint,
    pub tuned: Checkpoint,
    pub new_base: Checkpoint,
    pub train: Images,
    pub validation: Images,
    pub test: Images,
}

impl Case {
    /// Trains everything: on the images of a training file, judged by those of a test file.
    ///
    /// # Errors
    /// When the network is unknown.
    pub fn make(
        learned: &Images,
        judged: &Images,
        network: &str,
        relation: Relation,
        seed: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let setting = Setting {
            network,
            budget: Budget::of(network),
            relation,
            seed,
        };
        Self::trained(learned, judged, setting)
    }

    /// The same within a budget.
    ///
    /// # Errors
    /// When the network is unknown.
    #[expect(clippy::too_many_lines, reason = "one model after the other")]
    pub fn trained(
        learned: &Images,
        judged: &Images,
        setting: Setting,
    ) -> Result<Self, Box<dyn Error>> {
        let Setting {
            network,
            budget,
            relation,
            seed,
        } = setting;
        let network = Network::named(network)?;
        let learner = Learner::new(&network.graph, &network.signature, Device::flex())?;
        let Budget {
            base,
            tune,
            validation,
            test,
            ..
        } = budget;
        let few = if relation == Relation::Better {
            base / 10
        } else {
            base
        };
        // Passes over a tenth of the images are ten times as many, so that it is learned as well.
        let passes = |images: usize| budget.base_epochs * base / images;
        let draw = |which: u64| network.initial(100 * seed + which);
        let fit = |start: &Checkpoint, images: &Images, epochs: usize, which: u64| {
            let plan = plan(
                epochs,
                budget.optimizer,
                budget.learning_rate,
                100 * seed + which,
            );
            train(&learner, start, &images.dataset(), &plan).checkpoint
        };
        let old_base = fit(&draw(1), &learned.part(0, few), passes(few), 1);
        let turned = learned.part(2 * base, tune + validation).turned();
        let (train, held) = (turned.part(0, tune), turned.part(tune, validation));
        let tuned = fit(&old_base, &train, budget.tune_epochs, 2);
        let shown = |model: &Checkpoint| 100.0 * learner.evaluate(model, &held.dataset()).accuracy;
        eprintln!(
            "    old base {:.1} %, tuned {:.1} % of validation",
            shown(&old_base),
            shown(&tuned)
        );
        let others = learned.part(base, base);
        let new_base = match relation {
            Relation::Continued => fit(&old_base, &others, 2, 3),
            Relation::Independent | Relation::Better => {
                fit(&draw(3), &others, budget.base_epochs, 3)
            }
        };
        drop(learner);
        let test = judged.part(0, test).turned();
        Ok(Self {
            network,
            budget,
            seed,
            old_base,
            tuned,
            new_base,
            train,
            validation: held,
            test,
        })
    }

    /// The same pair with other data at hand.
    pub fn with(&self, train: Images, validation: Images) -> Self {
        Self {
            train,
            validation,
            ..self.clone()
        }
    }

    /// Writes what a job points to.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn store(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        for (name, model) in [
            ("old", &self.old_base),
            ("tuned", &self.tuned),
            ("new", &self.new_base),
        ] {
            fs::create_dir_all(folder.join(name))?;
            fs::write(
                folder.join(name).join("config.json"),
                self.network.config.to_string(),
            )?;
            write(&folder.join(name).join("model.safetensors"), model)?;
        }
        for (name, images) in [
            ("train", &self.train),
            ("validation", &self.validation),
            ("test", &self.test),
        ] {
            write(
                &folder.join(format!("{name}.safetensors")),
                &images.tensors(),
            )?;
        }
        Ok(())
    }
}

/// Writes a file of safetensors.
fn write(path: &Path, tensors: &Checkpoint) -> Result<(), Box<dyn Error>> {
    let mut file = fs::File::create(path)?;
    for piece in tensors::to_pieces(tensors).pieces {
        file.write_all(&piece)?;
    }
    Ok(())
}

/// A cosine learning rate.
pub fn plan(
    epochs: usize,
    optimizer: Optimizer,
    learning_rate: f64,
    seed: u64,
) -> FineTunePlan<'static> {
    FineTunePlan {
        batch_size: BATCH,
        seed,
        statistics_samples: 512,
        ..FineTunePlan::new(optimizer, epochs, learning_rate)
    }
}

pub fn train(
    learner: &Learner,
    start: &Checkpoint,
    data: &Dataset,
    plan: &FineTunePlan,
) -> FineTuned {
    learner.fine_tune(start, data, plan, &mut |_| ControlFlow::Continue(()))
}

/// The tensors of a file of safetensors.
///
/// # Errors
/// When it cannot be read.
pub fn checkpoint(path: &Path) -> Result<Checkpoint, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let mut tensors = Checkpoint::new();
    for (name, view) in file.tensors() {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::U8 => DType::U8,
            Dtype::I64 => DType::I64,
            other => return Err(format!("{name} is {other:?}").into()),
        };
        let bytes = Bytes::copy_from_slice(view.data());
        let tensor = HostTensor::from_bytes(dtype, view.shape().to_vec(), bytes);
        tensors.insert(name, tensor.ok_or("a tensor is cut off")?);
    }
    Ok(tensors)
}
