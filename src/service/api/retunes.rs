//! Retunes: begin by hand, look, pause, resume, cancel.

pub mod control;
pub mod create;
pub mod read;
pub mod report;

use super::problem::{Problem, ProblemCode};
use crate::service::registry::control::ControlError;

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::InvalidState { status } => Self::new(
                ProblemCode::InvalidState,
                format!("the retune is {}, which does not allow this", status.name()),
            ),
            ControlError::Database(error) => error.into(),
        }
    }
}
