//! Where a result is written.

use super::failure::{self, Failure};
use crate::{
    contract::manifest::STAGING,
    storage::{Location, Storage},
};

/// Where a result is published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where it belongs.
    Final,
    /// Where another program judges it first: see `external`.
    Staging,
}

/// The location of the specification where the result is written, if it may be used.
///
/// # Errors
/// What is wrong with it, at `/output`.
pub fn location(storage: &Storage, text: &str, place: Place) -> Result<Location, Failure> {
    let output = storage
        .check_output(text)
        .map_err(|error| failure::location("/output", &error))?;
    match place {
        Place::Final => Ok(output),
        Place::Staging => output
            .child(STAGING)
            .map_err(|error| failure::location("/output", &error)),
    }
}
