//! The names of the files of a result, in one place.

use std::fmt;

use crate::contract::manifest::files;

/// A file of `<output>/<transfer id>/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ResultKey {
    /// Written last: without it the folder is not a result.
    Manifest,
    Report,
    Predictions,
    ModelCard,
    Permutation,
    Signature,
    /// In a folder of its own: beside a model, libraries would load it on top.
    AdapterConfig,
    AdapterModel,
    Config,
    Model(WeightFiles),
    ModelIndex(WeightFiles),
    /// `number` counts from 1.
    ModelShard {
        files: WeightFiles,
        number: usize,
        of: usize,
    },
    /// A file of the target base, carried along under its own name.
    Carried(String),
}

/// What a library calls the files of a model's weights: a result has the new base's, so that it is loaded
/// by the library that loads that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightFiles {
    /// `model.safetensors`
    #[default]
    Transformers,
    /// `diffusion_pytorch_model.safetensors`
    Diffusers,
}

impl WeightFiles {
    pub const ALL: [Self; 2] = [Self::Transformers, Self::Diffusers];

    /// One file with all tensors.
    pub fn single(self) -> &'static str {
        match self {
            Self::Transformers => files::WEIGHTS,
            Self::Diffusers => files::DIFFUSION_WEIGHTS,
        }
    }

    /// The list of tensors by shard.
    pub fn index(self) -> &'static str {
        match self {
            Self::Transformers => files::WEIGHTS_INDEX,
            Self::Diffusers => files::DIFFUSION_WEIGHTS_INDEX,
        }
    }

    fn stem(self) -> &'static str {
        self.single()
            .strip_suffix(".safetensors")
            .unwrap_or_default()
    }
}

impl ResultKey {
    /// The key of a model folder's file that is copied as it is; `None` where the name belongs to
    /// a file that the result writes itself. A name may have a folder before it.
    pub fn carried(name: &str) -> Option<Self> {
        let own = [
            Self::Manifest,
            Self::Report,
            Self::Predictions,
            Self::ModelCard,
            Self::Permutation,
            Self::Signature,
            Self::Config,
        ];
        let nested = name.contains('/');
        let weights = name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
        let weights = weights && !nested;
        let taken = weights
            || own
                .iter()
                .any(|key| key.to_string().eq_ignore_ascii_case(name));
        (!taken).then(|| Self::Carried(name.to_owned()))
    }
}

impl fmt::Display for ResultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str(files::MANIFEST),
            Self::Report => f.write_str(files::REPORT),
            Self::Predictions => f.write_str(files::PREDICTIONS),
            Self::ModelCard => f.write_str(files::MODEL_CARD),
            Self::Permutation => f.write_str(files::PERMUTATION),
            Self::Signature => f.write_str(files::SIGNATURE),
            Self::AdapterConfig => write!(f, "adapter/{}", files::ADAPTER_CONFIG),
            Self::AdapterModel => write!(f, "adapter/{}", files::ADAPTER_WEIGHTS),
            Self::Config => f.write_str(files::CONFIG),
            Self::Model(files) => f.write_str(files.single()),
            Self::ModelIndex(files) => f.write_str(files.index()),
            Self::ModelShard { files, number, of } => {
                write!(f, "{}-{number:05}-of-{of:05}.safetensors", files.stem())
            }
            Self::Carried(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_cannot_smuggle_in_a_file_of_the_result() {
        assert_eq!(
            ResultKey::carried("vocab.txt"),
            Some(ResultKey::Carried("vocab.txt".into()))
        );
        for name in [
            "manifest.json",
            "model.sig",
            "readme.md",
            "model-00001-of-00002.safetensors",
        ] {
            assert_eq!(ResultKey::carried(name), None, "{name}");
        }
        assert!(ResultKey::carried("2_Dense/model.safetensors").is_some());
    }

    #[test]
    fn shards_are_named_as_hugging_face_does() {
        let name = |files| {
            ResultKey::ModelShard {
                files,
                number: 1,
                of: 12,
            }
            .to_string()
        };
        assert_eq!(
            name(WeightFiles::Transformers),
            "model-00001-of-00012.safetensors"
        );
        let of_diffusers = "diffusion_pytorch_model-00001-of-00012.safetensors";
        assert_eq!(name(WeightFiles::Diffusers), of_diffusers);
    }
}
