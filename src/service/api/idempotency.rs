//! The header `Idempotency-Key`.

use axum::http::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::problem::{Problem, ProblemCode};
use crate::{
    contract::spec::Fault,
    service::database::idempotency::{Idempotency, KeyReused},
};

/// Longest accepted key, in bytes.
const KEY_LIMIT: usize = 255;

impl From<KeyReused> for Problem {
    fn from(_: KeyReused) -> Self {
        Self::new(
            ProblemCode::IdempotencyKeyReused,
            "this Idempotency-Key came with another body before; use a new key for a new request",
        )
    }
}

/// The request is remembered by the digest of its body as read: spelling and order of fields do not
/// make it another one.
pub fn of(headers: &HeaderMap, body: &Value) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match key.to_str() {
        Ok(key) if (1..=KEY_LIMIT).contains(&key.len()) => Ok(Some(Idempotency {
            key: key.to_owned(),
            request_sha256: Sha256::digest(body.to_string()).into(),
        })),
        _ => Err(Problem::invalid(
            ProblemCode::InvalidIdempotencyKey,
            vec![Fault::new(
                "",
                "Idempotency-Key has 1 to 255 visible ASCII characters",
            )],
        )),
    }
}
