//! A transfer that ended without a result, and faults of every kind as such a failure.

use super::job::Stop;
use crate::{
    artifacts::{ArtifactError, tensors::InputChanged},
    contract::{codes::FailureCode, spec::Spec},
    engine::{
        network::GraphError,
        transfer::{TransferError, compatibility::Incompatible},
    },
    storage::{LocationError, StorageError},
};

/// A transfer that ended without a result; nothing under `output` claims otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error("stopped")]
    Stopped(Stop),
    /// The user's input is at fault: trying again gives the same.
    #[error("{detail}")]
    Input {
        /// Stable, `snake_case`: `missing_tensor`, `wrong_shape`, `not_finite` …
        code: FailureCode,
        /// JSON pointer into the specification.
        pointer: Option<String>,
        detail: String,
    },
    /// The world is at fault (storage, memory, a bug): another attempt may succeed.
    #[error("{detail}")]
    Internal { code: FailureCode, detail: String },
}

/// An artifact's fault, at a pointer of the specification.
pub(super) fn at(pointer: &str) -> impl Fn(ArtifactError) -> Failure + use<> {
    let pointer = pointer.to_owned();
    move |error| {
        let (code, detail) = (error.code(), error.to_string());
        if error.is_input() {
            Failure::Input {
                code,
                pointer: Some(pointer.clone()),
                detail,
            }
        } else {
            Failure::Internal { code, detail }
        }
    }
}

/// A fault while the result was being written, which may be that of an input.
pub(super) fn written(spec: &Spec) -> impl Fn(ArtifactError) -> Failure + use<'_> {
    move |error| match &error {
        ArtifactError::Storage(StorageError::Changed { location }) => Failure::Input {
            code: error.code(),
            pointer: pointer_to(&fields(spec), location),
            detail: error.to_string(),
        },
        // No single field made it too large.
        ArtifactError::Fault {
            code: FailureCode::Overflow,
            ..
        } => Failure::Input {
            code: FailureCode::Overflow,
            pointer: None,
            detail: error.to_string(),
        },
        _ => at("/output")(error),
    }
}

/// Refuses a loss that is no number: nothing can be said of such a model on such data.
pub(super) fn check_loss(loss: f64) -> Result<(), Failure> {
    if loss.is_finite() {
        return Ok(());
    }
    let detail = "the loss is NaN or infinite: values of the data or of the model overflow within the \
                  network; check them, and data.preprocess";

    Err(Failure::Input {
        code: FailureCode::Overflow,
        pointer: None,
        detail: detail.into(),
    })
}

/// A field that names files: its pointer, and what it says.
pub(super) struct Field<'a> {
    pub pointer: &'static str,
    pub uri: &'a str,
}

/// The fields of a specification that name inputs.
pub(super) fn fields(spec: &Spec) -> Vec<Field<'_>> {
    let data = spec.data.as_ref();
    let named = [
        ("/source/base", Some(&spec.source.base)),
        ("/source/trajectory", Some(&spec.source.trajectory)),
        ("/target/base", Some(&spec.target.base)),
        ("/data/train", data.and_then(|data| data.train.as_ref())),
        (
            "/data/validation",
            data.and_then(|data| data.validation.as_ref()),
        ),
        ("/data/test", data.and_then(|data| data.test.as_ref())),
    ];

    named
        .into_iter()
        .filter_map(|(pointer, uri)| Some(Field { pointer, uri: uri? }))
        .collect()
}

/// An input that could be read no further.
pub(super) fn lost(fields: &[Field<'_>], changed: InputChanged) -> Failure {
    let InputChanged { location, detail } = changed;
    if !location.starts_with("file://") {
        // A copy of our own.
        return Failure::Internal {
            code: FailureCode::Unreadable,
            detail: format!("{location}: {detail}"),
        };
    }
    let pointer = pointer_to(fields, &location);
    let error = StorageError::Changed { location };
    Failure::Input {
        code: error.code(),
        pointer,
        detail: format!("{error} ({detail})"),
    }
}

/// The first field that a file belongs to.
fn pointer_to(fields: &[Field<'_>], location: &str) -> Option<String> {
    let found = fields
        .iter()
        .find(|field| location.starts_with(field.uri.trim_end_matches('/')));
    found.map(|field| field.pointer.to_owned())
}

/// A location that may not be used, at a pointer of the specification.
pub(super) fn location(pointer: &str, error: &LocationError) -> Failure {
    Failure::Input {
        code: error.code,
        pointer: Some(pointer.into()),
        detail: error.to_string(),
    }
}

/// A model that does not fit its configuration, at a pointer of the specification.
pub(super) fn graph(pointer: &str, place: &str) -> impl Fn(GraphError) -> Failure + use<> {
    let (pointer, place) = (pointer.to_owned(), place.to_owned());
    move |error| Failure::Input {
        code: FailureCode::from(&error),
        pointer: Some(pointer.clone()),
        detail: format!("{place}: {error}"),
    }
}

pub(super) fn incompatible(pointer: &str) -> impl Fn(Incompatible) -> Failure + use<> {
    let pointer = pointer.to_owned();
    move |error| Failure::Input {
        code: FailureCode::IncompatibleModels,
        pointer: Some(pointer.clone()),
        detail: error.to_string(),
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        match error {
            // `run` replaces it by the reason.
            TransferError::Interrupted => Self::Stopped(Stop::Cancelled),
            TransferError::NotFinite(_) | TransferError::NoSingularValues => Self::Input {
                code: FailureCode::Overflow,
                pointer: None,
                detail: format!("{error}; check the models' values and data.preprocess"),
            },
            // A checked specification has what its methods need.
            TransferError::NoTrainingSamples
            | TransferError::NoAlignment
            | TransferError::NoFineTunePlan => Self::Internal {
                code: FailureCode::Panicked,
                detail: error.to_string(),
            },
        }
    }
}
