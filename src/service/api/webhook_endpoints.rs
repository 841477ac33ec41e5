//! Endpoints of webhooks, and what was delivered to them; for administrators.

pub mod delete;
pub mod deliveries;
pub mod get;
pub mod list;
pub mod put;
pub mod replay;
pub mod rotate;

use super::problem::Problem;
use crate::service::database::webhook_endpoints::SecretError;

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Database(error) => error.into(),
            SecretError::Randomness(_) => Self::internal(error),
        }
    }
}
