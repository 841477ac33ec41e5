//! The codes of a job's failures: what a program may decide by, where texts may change.

/// Why a transfer ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// A file of the result is there already, and is another.
    AlreadyExists,
    /// Every attempt ended without a word from its worker.
    AttemptsExhausted,
    /// The computing thread vanished.
    Crashed,
    /// A dataset has more values than this process may hold.
    DatasetTooLarge,
    /// There is no such device, it computes wrong, or its driver does not come through.
    DeviceRefused,
    /// A dataset has no sample.
    EmptyDataset,
    /// A trajectory has no checkpoint after its base.
    EmptyTrajectory,
    /// A file is a pointer of Git LFS.
    GitLfsPointer,
    /// A file's header is larger than a header may be.
    HeaderTooLarge,
    /// The models have other tensors, or compute otherwise.
    IncompatibleModels,
    /// An input was written to while the job read it.
    InputChanged,
    /// A mask of tokens is not made of zeros and ones.
    InvalidMask,
    /// Means and deviations do not fit the samples.
    InvalidPreprocess,
    /// The stored specification is none of this version.
    InvalidSpec,
    /// A label is no class of the network.
    LabelOutOfRange,
    /// A split has no labels, and the job asks for what needs them.
    LabelsMissing,
    /// A location is no URI.
    LocationMalformed,
    /// A location lies outside the allowed roots.
    LocationNotAllowed,
    /// A location's scheme is not known.
    LocationScheme,
    /// A configuration cannot be read.
    MalformedConfig,
    /// The nodes of a network do not fit together.
    MalformedGraph,
    /// An image cannot be decoded.
    MalformedImage,
    /// The index of a model's shards contradicts them.
    MalformedIndex,
    /// A Parquet file cannot be read.
    MalformedParquet,
    /// A safetensors file cannot be read.
    MalformedSafetensors,
    /// A trajectory.json cannot be read.
    MalformedTrajectory,
    /// A Parquet file lacks a column.
    MissingColumn,
    /// A folder has no config.json.
    MissingConfig,
    /// A tensor is missing.
    MissingTensor,
    /// A sentence lacks the token that its class is told at, or has another number of them than others.
    MissingToken,
    /// By its plan the job holds more than this worker may.
    NeedsMemory,
    /// No method gave a candidate.
    NoCandidate,
    /// There is no output layer to take or to keep.
    NoHead,
    /// The scratch folder cannot be used.
    NoScratch,
    /// A thread could not start.
    NoThread,
    /// A location is no regular file.
    NotAFile,
    /// A location is no folder.
    NotAFolder,
    /// A tensor holds infinities, or no numbers.
    NotFinite,
    /// Nothing is at a location, or no model is.
    NotFound,
    /// Known, and not supported.
    NotImplemented,
    /// Values overflow within the computation.
    Overflow,
    /// A fault of this program.
    Panicked,
    /// A pickle is never opened.
    PickleRefused,
    /// A folder holds several splits, and none is named.
    SeveralSplits,
    /// The job was told to end.
    Stopped,
    /// The store refuses access.
    StorageDenied,
    /// The store gave fewer bytes than it announced.
    StorageTruncated,
    /// The store does not answer.
    StorageUnavailable,
    /// The output matrix is the embedding.
    TiedHead,
    /// A token is none of the vocabulary.
    TokenOutOfRange,
    /// A document is larger than is read.
    TooLarge,
    /// A file ends before what its header announces.
    Truncated,
    /// A Parquet file has a column that is not read.
    UnexpectedColumn,
    /// A tensor is not read by the network.
    UnexpectedTensor,
    /// The architecture is not known.
    UnknownArchitecture,
    /// A tensor's element type is not known.
    UnknownDtype,
    /// An operation of a graph is not known.
    UnknownOp,
    /// A copy of an input could not be read any further.
    Unreadable,
    /// What an external gate has said cannot be read.
    UnreadableEvaluation,
    /// A standing result cannot be read.
    UnreadableResult,
    /// A manifest cannot be written as JSON.
    UnwritableManifest,
    /// Predictions cannot be written as a table.
    UnwritablePredictions,
    /// A specification cannot be written as JSON.
    UnwritableSpec,
    /// A tensor has another element type.
    WrongDtype,
    /// Samples do not have the shape that the network reads.
    WrongInputShape,
    /// A gate asks for a figure that the network's task has not.
    WrongMeasure,
    /// A tensor has another shape.
    WrongShape,
}

impl std::fmt::Display for FailureCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FailureCode {
    /// In order of their text forms.
    pub const ALL: [Self; 67] = [
        Self::AlreadyExists,
        Self::AttemptsExhausted,
        Self::Crashed,
        Self::DatasetTooLarge,
        Self::DeviceRefused,
        Self::EmptyDataset,
        Self::EmptyTrajectory,
        Self::GitLfsPointer,
        Self::HeaderTooLarge,
        Self::IncompatibleModels,
        Self::InputChanged,
        Self::InvalidMask,
        Self::InvalidPreprocess,
        Self::InvalidSpec,
        Self::LabelOutOfRange,
        Self::LabelsMissing,
        Self::LocationMalformed,
        Self::LocationNotAllowed,
        Self::LocationScheme,
        Self::MalformedConfig,
        Self::MalformedGraph,
        Self::MalformedImage,
        Self::MalformedIndex,
        Self::MalformedParquet,
        Self::MalformedSafetensors,
        Self::MalformedTrajectory,
        Self::MissingColumn,
        Self::MissingConfig,
        Self::MissingTensor,
        Self::MissingToken,
        Self::NeedsMemory,
        Self::NoCandidate,
        Self::NoHead,
        Self::NoScratch,
        Self::NoThread,
        Self::NotAFile,
        Self::NotAFolder,
        Self::NotFinite,
        Self::NotFound,
        Self::NotImplemented,
        Self::Overflow,
        Self::Panicked,
        Self::PickleRefused,
        Self::SeveralSplits,
        Self::Stopped,
        Self::StorageDenied,
        Self::StorageTruncated,
        Self::StorageUnavailable,
        Self::TiedHead,
        Self::TokenOutOfRange,
        Self::TooLarge,
        Self::Truncated,
        Self::UnexpectedColumn,
        Self::UnexpectedTensor,
        Self::UnknownArchitecture,
        Self::UnknownDtype,
        Self::UnknownOp,
        Self::Unreadable,
        Self::UnreadableEvaluation,
        Self::UnreadableResult,
        Self::UnwritableManifest,
        Self::UnwritablePredictions,
        Self::UnwritableSpec,
        Self::WrongDtype,
        Self::WrongInputShape,
        Self::WrongMeasure,
        Self::WrongShape,
    ];

    /// As it stands in JSON.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn name(self) -> &'static str {
        match self {
            Self::AlreadyExists => "already_exists",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Crashed => "crashed",
            Self::DatasetTooLarge => "dataset_too_large",
            Self::DeviceRefused => "device_refused",
            Self::EmptyDataset => "empty_dataset",
            Self::EmptyTrajectory => "empty_trajectory",
            Self::GitLfsPointer => "git_lfs_pointer",
            Self::HeaderTooLarge => "header_too_large",
            Self::IncompatibleModels => "incompatible_models",
            Self::InputChanged => "input_changed",
            Self::InvalidMask => "invalid_mask",
            Self::InvalidPreprocess => "invalid_preprocess",
            Self::InvalidSpec => "invalid_spec",
            Self::LabelOutOfRange => "label_out_of_range",
            Self::LabelsMissing => "labels_missing",
            Self::LocationMalformed => "location_malformed",
            Self::LocationNotAllowed => "location_not_allowed",
            Self::LocationScheme => "location_scheme",
            Self::MalformedConfig => "malformed_config",
            Self::MalformedGraph => "malformed_graph",
            Self::MalformedImage => "malformed_image",
            Self::MalformedIndex => "malformed_index",
            Self::MalformedParquet => "malformed_parquet",
            Self::MalformedSafetensors => "malformed_safetensors",
            Self::MalformedTrajectory => "malformed_trajectory",
            Self::MissingColumn => "missing_column",
            Self::MissingConfig => "missing_config",
            Self::MissingTensor => "missing_tensor",
            Self::MissingToken => "missing_token",
            Self::NeedsMemory => "needs_memory",
            Self::NoCandidate => "no_candidate",
            Self::NoHead => "no_head",
            Self::NoScratch => "no_scratch",
            Self::NoThread => "no_thread",
            Self::NotAFile => "not_a_file",
            Self::NotAFolder => "not_a_folder",
            Self::NotFinite => "not_finite",
            Self::NotFound => "not_found",
            Self::NotImplemented => "not_implemented",
            Self::Overflow => "overflow",
            Self::Panicked => "panicked",
            Self::PickleRefused => "pickle_refused",
            Self::SeveralSplits => "several_splits",
            Self::Stopped => "stopped",
            Self::StorageDenied => "storage_denied",
            Self::StorageTruncated => "storage_truncated",
            Self::StorageUnavailable => "storage_unavailable",
            Self::TiedHead => "tied_head",
            Self::TokenOutOfRange => "token_out_of_range",
            Self::TooLarge => "too_large",
            Self::Truncated => "truncated",
            Self::UnexpectedColumn => "unexpected_column",
            Self::UnexpectedTensor => "unexpected_tensor",
            Self::UnknownArchitecture => "unknown_architecture",
            Self::UnknownDtype => "unknown_dtype",
            Self::UnknownOp => "unknown_op",
            Self::Unreadable => "unreadable",
            Self::UnreadableEvaluation => "unreadable_evaluation",
            Self::UnreadableResult => "unreadable_result",
            Self::UnwritableManifest => "unwritable_manifest",
            Self::UnwritablePredictions => "unwritable_predictions",
            Self::UnwritableSpec => "unwritable_spec",
            Self::WrongDtype => "wrong_dtype",
            Self::WrongInputShape => "wrong_input_shape",
            Self::WrongMeasure => "wrong_measure",
            Self::WrongShape => "wrong_shape",
        }
    }

    /// The code of a text form.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once_and_in_order() {
        assert!(FailureCode::ALL.is_sorted_by(|a, b| a.name() < b.name()));
        for code in FailureCode::ALL {
            assert_eq!(FailureCode::of(code.name()), Some(code));
        }
        assert_eq!(FailureCode::of("no_such_code"), None);
    }
}
