//! How a model's own files say that its images are normalised.
//!
//! Who names no `preprocess` means what the model was made for: Hugging Face writes it in
//! `preprocessor_config.json`, timm in `pretrained_cfg`. It is taken for images in bytes; floats may be
//! normalised already, so that a warning is all that can be said.

use serde_json::Value;

use crate::{
    artifacts::{ModelFolder, model::OtherFile},
    contract::{codes::FailureCode, manifest::files as names, spec::Preprocess},
    pipeline::failure::{self, Failure},
    storage::Storage,
};

const PREPROCESSOR_FILE: &str = "preprocessor_config.json";
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Means and deviations are written to three digits and more: `0.485`, `0.4847`.
const ROUNDING: f64 = 1e-3;
/// What bytes are scaled by where nothing else is said.
const RESCALE: f64 = 1.0 / 255.0;

/// What of a model may say it.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    pub config: &'a Value,
    /// What lies beside it.
    pub others: &'a [OtherFile],
}

impl<'a> From<&'a ModelFolder> for Files<'a> {
    fn from(folder: &'a ModelFolder) -> Self {
        Self {
            config: &folder.config,
            others: &folder.other_files,
        }
    }
}

/// Means and deviations of a model's images, and where they are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    pub values: Preprocess,
    pub file: &'static str,
}

impl Stated {
    /// What the model says, if it says anything.
    ///
    /// # Errors
    /// What keeps the store from answering, `malformed_config`.
    pub fn of(storage: &Storage, pointer: &str, files: Files) -> Result<Option<Self>, Failure> {
        let file = files
            .others
            .iter()
            .find(|file| file.key.to_string() == PREPROCESSOR_FILE);
        let Some(file) = file else {
            let config = &files.config["pretrained_cfg"];
            let values = values(&config["mean"], &config["std"], RESCALE);
            return Ok(values.map(|values| Self {
                values,
                file: names::CONFIG,
            }));
        };

        let bytes = storage
            .blocking()
            .read_small(&file.location, MAX_FILE_BYTES)
            .map_err(|error| failure::at(pointer)(error.into()))?;
        let stated: Value = serde_json::from_slice(&bytes).map_err(|error| Failure::Input {
            code: FailureCode::MalformedConfig,
            pointer: Some(pointer.to_owned()),
            detail: format!("{}: {error}", file.location),
        })?;

        Ok(of_processor(&stated).map(|values| Self {
            values,
            file: PREPROCESSOR_FILE,
        }))
    }

    /// For the report, where this is the old tuned model's word and its images are read otherwise: as `used`
    /// says, or as bytes over 255.
    pub fn read_otherwise(&self, used: Option<&Preprocess>) -> Option<String> {
        let Self { values, file } = self;
        let over_255 = Preprocess {
            mean: vec![0.0; values.mean.len()],
            std: vec![1.0; values.std.len()],
        };
        let used = used.unwrap_or(&over_255);
        if is_about(used, values) {
            return None;
        }

        Some(format!(
            "the old tuned model's {file} normalises its images ({}) otherwise than images in bytes were here ({}): \
             what is measured of it is worse than it is. Set data.preprocess to one that fits both, or give the new \
             base as it reads the images of the tuning",
            described(values),
            described(used)
        ))
    }
}

/// Values that files round differently are the same.
fn is_about(one: &Preprocess, other: &Preprocess) -> bool {
    close(&one.mean, &other.mean) && close(&one.std, &other.std)
}

fn close(one: &[f64], other: &[f64]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| (a - b).abs() < ROUNDING)
}

fn described(values: &Preprocess) -> String {
    format!("mean {:?}, std {:?}", values.mean, values.std)
}

/// What an image processor of Hugging Face does to bytes, as `(x − mean) / std` of `x = byte / 255`.
fn of_processor(processor: &Value) -> Option<Preprocess> {
    if processor["do_normalize"] == false {
        return None;
    }
    let rescale = match &processor["do_rescale"] {
        Value::Bool(false) => 1.0,
        _ => processor["rescale_factor"].as_f64().unwrap_or(RESCALE),
    };
    values(&processor["image_mean"], &processor["image_std"], rescale)
}

fn values(mean: &Value, std: &Value, rescale: f64) -> Option<Preprocess> {
    let (mean, std) = (numbers(mean, rescale)?, numbers(std, rescale)?);
    let fits = !mean.is_empty() && mean.len() == std.len() && std.iter().all(|&s| s > 0.0);
    fits.then_some(Preprocess { mean, std })
}

/// Numbers that hold for `byte · rescale`, as they hold for `byte / 255`.
fn numbers(value: &Value, rescale: f64) -> Option<Vec<f64>> {
    value
        .as_array()?
        .iter()
        .map(|v| v.as_f64().map(|v| v * RESCALE / rescale))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_normalisation_of_the_old_model_is_told_of() {
        let stated = |mean: f64, std: f64| Stated {
            values: Preprocess {
                mean: vec![mean; 3],
                std: vec![std; 3],
            },
            file: PREPROCESSOR_FILE,
        };
        let old = stated(0.5, 0.5);
        assert_eq!(old.read_otherwise(Some(&old.values)), None);
        let rounded = stated(0.5004, 0.4996).values;
        assert_eq!(old.read_otherwise(Some(&rounded)), None);
        assert_eq!(stated(0.0, 1.0).read_otherwise(None), None, "over 255");
        for used in [None, Some(&stated(0.485, 0.229).values)] {
            let told = old.read_otherwise(used).unwrap();
            assert!(told.contains("mean [0.5, 0.5, 0.5]"), "{told}");
        }
    }

    #[test]
    fn a_processor_is_read_for_bytes_over_255() {
        let of = |processor: Value| of_processor(&processor).map(|found| (found.mean, found.std));
        let plain = json!({"image_mean": [0.5, 0.25], "image_std": [0.5, 0.125]});
        assert_eq!(of(plain), Some((vec![0.5, 0.25], vec![0.5, 0.125])));
        assert_eq!(
            of(json!({"do_normalize": false, "image_mean": [1], "image_std": [1]})),
            None
        );
        assert_eq!(of(json!({"image_mean": [0.5]})), None);
        assert_eq!(of(json!({"image_mean": [0.5], "image_std": [0.0]})), None);
        // (byte − 127.5) / 51 is (x − 0.5) / 0.2.
        let bytes = json!({"do_rescale": false, "image_mean": [127.5], "image_std": [51.0]});
        let (mean, std) = of(bytes).unwrap();
        assert!((mean[0] - 0.5).abs() < 1e-12 && (std[0] - 0.2).abs() < 1e-12);
    }
}
