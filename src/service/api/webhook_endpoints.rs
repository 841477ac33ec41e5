//! Endpoints of webhooks, and what was delivered to them; for administrators.

pub mod control;
pub mod deliveries;
pub mod put;
pub mod read;

use super::problem::Problem;
use crate::service::registry::endpoints::SecretError;

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Database(error) => error.into(),
            SecretError::Randomness(_) => Self::internal(error),
        }
    }
}
