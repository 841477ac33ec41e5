//! Retunes: begin by hand, look, pause, resume, cancel.

pub mod control;
pub mod create;
pub mod read;

use axum::{Json, http::StatusCode};

use super::problem::Problem;
use crate::service::{domain::registry::retunes::Retune, registry::control::ControlError};

/// The retune, if the tenant has it.
fn found(retune: Option<Retune>) -> Result<Json<Retune>, Problem> {
    retune.map(Json).ok_or_else(|| Problem::not_found("retune"))
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::InvalidState { status } => Self::new(
                StatusCode::CONFLICT,
                "invalid_state",
                format!("the retune is {}, which does not allow this", status.name()),
            ),
            ControlError::Database(error) => error.into(),
        }
    }
}
