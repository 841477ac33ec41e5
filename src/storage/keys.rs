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
    /// In a folder of its own: beside a model, libraries would load it on top.
    AdapterConfig,
    AdapterModel,
    Config,
    Model,
    ModelIndex,
    /// `number` counts from 1.
    ModelShard {
        number: usize,
        of: usize,
    },
    /// A file of the target base, carried along under its own name.
    Carried(String),
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
            Self::Config,
        ];
        let nested = name.contains('/');
        let weights = name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
        let weights = weights && !nested;
        let taken = weights || own.iter().any(|key| key.to_string().eq_ignore_ascii_case(name));
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
            Self::AdapterConfig => write!(f, "adapter/{}", files::ADAPTER_CONFIG),
            Self::AdapterModel => write!(f, "adapter/{}", files::ADAPTER_WEIGHTS),
            Self::Config => f.write_str(files::CONFIG),
            Self::Model => f.write_str(files::WEIGHTS),
            Self::ModelIndex => f.write_str(files::WEIGHTS_INDEX),
            Self::ModelShard { number, of } => {
                write!(f, "model-{number:05}-of-{of:05}.safetensors")
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
        assert_eq!(ResultKey::carried("vocab.txt"), Some(ResultKey::Carried("vocab.txt".into())));
        for name in
            ["manifest.json", "report.json", "readme.md", "model-00001-of-00002.safetensors"]
        {
            assert_eq!(ResultKey::carried(name), None, "{name}");
        }
        assert!(ResultKey::carried("2_Dense/model.safetensors").is_some());
    }

    #[test]
    fn shards_are_named_as_hugging_face_does() {
        let key = ResultKey::ModelShard { number: 1, of: 12 };
        assert_eq!(key.to_string(), "model-00001-of-00012.safetensors");
    }
}
