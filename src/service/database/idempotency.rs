//! A request that is sent again does nothing again.

use sqlx::PgConnection;

use crate::contract::ids::TenantId;

/// The sender's promise that requests under one key are one request.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pub key: String,
    pub request_sha256: [u8; 32],
}

/// The key came with another request before.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this Idempotency-Key was used with another request")]
pub struct KeyReused;

impl Idempotency {
    /// Keeps other requests with this key waiting until the transaction's end.
    pub(in crate::service) async fn lock(
        &self,
        connection: &mut PgConnection,
        tenant: TenantId,
    ) -> Result<(), sqlx::Error> {
        let of = format!("{tenant} {}", self.key);
        sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", of)
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Whether an earlier request under the key was this one.
    pub(in crate::service) fn check(&self, earlier_sha256: Option<&[u8]>) -> Result<(), KeyReused> {
        if earlier_sha256 == Some(&self.request_sha256[..]) {
            Ok(())
        } else {
            Err(KeyReused)
        }
    }
}
