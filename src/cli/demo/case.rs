//! The demo's case: an old base, its customisation with the way there, a new base, and the data.
//!
//! Order of events: the old base learns the first half of the images, upright; it is customised on
//! the same images turned by 90°; the new base, from another seed, learns the other half. The two
//! bases have no image in common, and no model here ever sees a test image.

use std::{
    fs,
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::{Value, json};

use super::{
    images::Images,
    training::{Network, Recipe, Trained, Trainer},
};
use crate::{
    artifacts::{tensors, trajectory},
    contract::manifest::files,
    engine::tensors::Checkpoint,
};

/// Samples of the customer's half that train; the rest of it validates. As many gradients as FGMT
/// takes, so that FGMT and one epoch cost exactly two epochs.
pub const TRAIN: usize = 2560;

/// Training images of the second table: without labels for the transfer, with them for training.
pub const FEW: usize = 256;

/// Checkpoints of the customisation that are kept.
const CHECKPOINTS: usize = 5;

/// How the bases learn.
const BASE: Recipe = Recipe {
    epochs: 15,
    learning_rate: 0.05,
    seed: 0,
    snapshots: 0,
};

/// How a base is fully customised, the old one and, for comparison, the new one.
pub const CUSTOMISE: Recipe = Recipe {
    epochs: 15,
    learning_rate: 0.05,
    seed: 0,
    snapshots: 0,
};

/// Models and data of one seed.
pub struct Case {
    pub old_base: Checkpoint,
    pub tuned: Trained,
    pub new_base: Checkpoint,
    /// Turned images of the old base's half.
    pub train: Images,
    pub validation: Images,
    /// Turned images that nobody learned from.
    pub test: Images,
}

impl Case {
    /// Makes everything from `seed`.
    ///
    /// # Errors
    /// `Interrupted`.
    pub fn make(network: &Network, trainer: &Trainer, seed: u64) -> anyhow::Result<Self> {
        let (images, upright) = Images::shipped()?;
        let (half, other_half) = images.halves();
        let base = |title: &str, images: &Images, number: u64| {
            let seed = derived(seed, number);
            let start = network.graph.initial(&network.signature, seed);
            let learned = trainer.train(title, &start, images, Recipe { seed, ..BASE })?;
            let accuracy = trainer.accuracy(&learned.model, &upright);
            say(title, accuracy, &learned);
            anyhow::Ok(learned.model)
        };

        let old_base = base("old base, upright images", &half, 1)?;
        let (train, validation) = half.turned().split_at(TRAIN);
        let test = upright.turned();
        let title = "customised on turned images";
        let recipe = Recipe {
            seed: derived(seed, 2),
            snapshots: CHECKPOINTS,
            ..CUSTOMISE
        };

        let tuned = trainer.train(title, &old_base, &train, recipe)?;
        say(title, trainer.accuracy(&tuned.model, &test), &tuned);
        let new_base = base("new base, other half, upright", &other_half, 3)?;

        Ok(Self {
            old_base,
            tuned,
            new_base,
            train,
            validation,
            test,
        })
    }

    /// Writes models, trajectory and data under `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn store(&self, network: &Network, folder: &Path) -> anyhow::Result<()> {
        write_model(&folder.join("old-base"), &network.config, &self.old_base)?;
        write_model(&folder.join("new-base"), &network.config, &self.new_base)?;
        let tuned = folder.join("trajectory");
        let mut checkpoints = Vec::new();
        let base = (0, self.old_base.clone());

        for (step, model) in std::iter::once(&base).chain(&self.tuned.snapshots) {
            let name = format!("step-{step:06}");
            write_model(&tuned.join(&name), &network.config, model)?;
            checkpoints.push(json!({"step": step, "model": format!("{name}/")}));
        }

        let list = json!({"format": trajectory::FORMAT, "checkpoints": checkpoints});
        write_json(&tuned.join(trajectory::LIST), &list)?;
        let data = folder.join("data");
        make(&data)?;

        for (name, images) in [
            ("train", &self.train),
            ("validation", &self.validation),
            ("test", &self.test),
        ] {
            write_tensors(&data.join(format!("{name}.safetensors")), &images.tensors())?;
        }

        let (few, _) = self.train.split_at(FEW);
        write_tensors(&data.join("unlabelled.safetensors"), &few.inputs_alone())?;

        Ok(())
    }
}

/// Seeds of one demo, none of which meets that of a neighbouring demo.
pub fn derived(seed: u64, number: u64) -> u64 {
    seed.wrapping_mul(16).wrapping_add(number)
}

fn say(title: &str, accuracy: f64, trained: &Trained) {
    let percent = 100.0 * accuracy;
    tellln!(
        "  {title:<32} {percent:5.1} % of the test  {:5.1} s",
        trained.seconds
    );
}

/// A folder of its own for every run: what an earlier one left is never touched.
///
/// # Errors
/// When none can be made.
pub fn fresh_folder(objects: &Path, seed: u64) -> anyhow::Result<PathBuf> {
    make(objects)?;
    for run in 1.. {
        let name = if run == 1 {
            format!("seed-{seed}")
        } else {
            format!("seed-{seed}-run-{run}")
        };
        let folder = objects.join(name);
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| folder.display().to_string()),
        }
    }
    unreachable!("a number is free")
}

fn make(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

fn write_model(folder: &Path, config: &Value, model: &Checkpoint) -> anyhow::Result<()> {
    make(folder)?;
    write_json(&folder.join(files::CONFIG), config)?;
    write_tensors(&folder.join(files::WEIGHTS), model)
}

fn write_json(path: &Path, value: &Value) -> anyhow::Result<()> {
    fs::write(path, format!("{value:#}\n")).with_context(|| path.display().to_string())
}

fn write_tensors(path: &Path, tensors: &Checkpoint) -> anyhow::Result<()> {
    File::create(path)
        .and_then(|mut file| {
            tensors::to_pieces(tensors)
                .pieces
                .try_for_each(|piece| file.write_all(&piece))
        })
        .with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_a_folder_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let name = |folder: PathBuf| folder.file_name().unwrap().to_str().unwrap().to_owned();
        let objects = dir.path().join("objects");
        assert_eq!(name(fresh_folder(&objects, 7).unwrap()), "seed-7");
        assert_eq!(name(fresh_folder(&objects, 7).unwrap()), "seed-7-run-2");
        assert_eq!(name(fresh_folder(&objects, 8).unwrap()), "seed-8");
    }
}
