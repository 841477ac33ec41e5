//! The fitted layers of `functional`, beside the gradients of the job's other methods.

use std::{fs, io, path::PathBuf, sync::atomic::Ordering};

use super::{DiskGradients, write_tensors};
use crate::{
    artifacts::tensors,
    engine::transfer::{
        FunctionalTrial, ResumePoint,
        functional::{FittedLayer, LayerKey, LayerStore},
        resume_point::OnePerRun,
    },
    pipeline::cache::{checksummed, fitted},
    storage::sha256_of_file,
};

impl DiskGradients<'_> {
    /// A layer that was kept, where its digest agrees with what its entry says.
    fn read_layer(&self, key: LayerKey, entry: &str) -> io::Result<FittedLayer> {
        let (sha256, fit) =
            fitted::layer_of_text(entry).ok_or_else(|| checksummed::broken("is no layer's"))?;
        let Some(expected) = sha256 else {
            return Ok(FittedLayer {
                fit,
                ..FittedLayer::default()
            });
        };
        let path = self.layer(key).with_extension("safetensors");
        if sha256_of_file(&path)? != expected {
            return Err(checksummed::broken(
                "has another digest than its entry says",
            ));
        }
        let tensors = tensors::open_own(&path)?;
        let tensors = if self.fits_in_memory {
            tensors.held()
        } else {
            tensors
        };
        Ok(FittedLayer { fit, tensors })
    }

    /// The layer's tensors and then its entry, with which it can be found.
    fn write_layer(&self, key: LayerKey, layer: &FittedLayer) -> io::Result<FittedLayer> {
        let entry = self.layer(key);
        let path = entry.with_extension("safetensors");
        let mut kept = layer.clone();
        let mut sha256 = None;
        if !layer.tensors.is_empty() {
            fs::create_dir_all(&self.folder)?;
            let incoming = path.with_extension(format!("{}.incoming", std::process::id()));
            write_tensors(&incoming, &layer.tensors)?;
            sha256 = Some(sha256_of_file(&incoming)?);
            fs::rename(&incoming, &path)?;
            if !self.fits_in_memory {
                kept.tensors = tensors::open_own(&path)?;
            }
        }
        if self.outlives_run() {
            checksummed::write(
                &entry,
                &fitted::text_of_layer(sha256.as_deref(), layer.fit.as_ref()),
            )?;
        }
        Ok(kept)
    }

    /// Where a layer's entry lies; its tensors lie beside it.
    fn layer(&self, key: LayerKey) -> PathBuf {
        let LayerKey {
            run,
            variant,
            layer,
        } = key;
        self.folder
            .join(format!("fit-{run}-{variant}-{layer:05}.json"))
    }

    fn trials(&self) -> PathBuf {
        self.folder.join("trials.json")
    }
}

impl LayerStore for DiskGradients<'_> {
    fn get(&self, key: LayerKey) -> Option<FittedLayer> {
        let path = self.layer(key);
        if !self.outlives_run() {
            return None;
        }
        let found = checksummed::read(&path)
            .and_then(|entry| entry.map(|entry| self.read_layer(key, &entry)).transpose());
        match found {
            Ok(layer) => {
                self.found_layers
                    .fetch_add(usize::from(layer.is_some()), Ordering::Relaxed);
                layer
            }
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "not usable; fitted again");
                None
            }
        }
    }

    fn put(&self, key: LayerKey, layer: FittedLayer) -> FittedLayer {
        if self.fits_in_memory && !self.outlives_run() {
            return layer;
        }
        self.write_layer(key, &layer).unwrap_or_else(|error| {
            let file = self.layer(key);
            tracing::warn!(%error, file = %file.display(), "not written; kept in memory");
            layer
        })
    }

    fn remove_run(&self, run: usize) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let of_run = format!("fit-{run}-");
        for entry in entries.flatten() {
            let is_old = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(&of_run));
            if is_old && let Err(error) = fs::remove_file(entry.path()) {
                tracing::debug!(%error, file = %entry.path().display(), "could not remove");
            }
        }
    }
}

impl ResumePoint<Vec<FunctionalTrial>> for DiskGradients<'_> {
    fn load(&self, _: OnePerRun) -> Option<Vec<FunctionalTrial>> {
        if !self.outlives_run() {
            return None;
        }
        let text = checksummed::read(&self.trials());
        let text = text.unwrap_or_else(|error| {
            tracing::warn!(%error, file = %self.trials().display(), "not usable; tried again");
            None
        });
        fitted::trials_of_text(&text?)
    }

    fn save(&self, _: OnePerRun, trials: &Vec<FunctionalTrial>) {
        if !self.outlives_run() {
            return;
        }
        let written = checksummed::write(&self.trials(), &fitted::text_of_trials(trials));
        if let Err(error) = written {
            tracing::warn!(%error, file = %self.trials().display(), "not written");
        }
    }
}
