//! Faults of every kind as the failure of a transfer.

use super::{Failure, Stop};
use crate::{
    artifacts::ArtifactError,
    engine::{
        network::GraphError,
        transfer::{TransferError, compatibility::Incompatible},
    },
    storage::LocationError,
};

/// An artifact's fault, at a pointer of the specification.
pub(super) fn at(pointer: &str) -> impl Fn(ArtifactError) -> Failure + use<> {
    let pointer = pointer.to_owned();
    move |error| {
        let (code, detail) = (error.code(), error.to_string());
        if error.is_input() {
            Failure::Input { code, pointer: Some(pointer.clone()), detail }
        } else {
            Failure::Internal { code, detail }
        }
    }
}

/// A location that may not be used, at a pointer of the specification.
pub(super) fn location(pointer: &str, error: &LocationError) -> Failure {
    Failure::Input { code: error.code, pointer: Some(pointer.into()), detail: error.to_string() }
}

/// A model that does not fit its configuration, at a pointer of the specification.
pub(super) fn graph(pointer: &str, place: &str) -> impl Fn(GraphError) -> Failure + use<> {
    let (pointer, place) = (pointer.to_owned(), place.to_owned());
    move |error| Failure::Input {
        code: error.code(),
        pointer: Some(pointer.clone()),
        detail: format!("{place}: {error}"),
    }
}

pub(super) fn incompatible(pointer: &str) -> impl Fn(Incompatible) -> Failure + use<> {
    let pointer = pointer.to_owned();
    move |error| Failure::Input {
        code: "incompatible_models",
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
                code: "overflow",
                pointer: None,
                detail: format!("{error}; check the models' values and data.preprocess"),
            },
        }
    }
}
