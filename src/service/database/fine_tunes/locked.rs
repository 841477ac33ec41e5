//! Fine-tunes within a transaction of a use case that keeps them locked.

use sqlx::PgConnection;

use crate::{
    contract::ids::{BaseVersionId, FineTuneId},
    service::domain::registry::fine_tunes::{Mode, On},
};

/// A fine-tune whose row is locked, as far as it may follow an alias.
pub(in crate::service) struct Follower {
    pub id: FineTuneId,
    pub name: String,
    pub trajectory: String,
    pub policy_mode: Mode,
}

/// Locks fine-tunes in the order of their ids.
pub(in crate::service) async fn lock_all(
    connection: &mut PgConnection,
    fine_tunes: &[FineTuneId],
) -> Result<Vec<Follower>, sqlx::Error> {
    sqlx::query_as!(
        Follower,
        r#"SELECT id, name, trajectory, policy_mode AS "policy_mode: Mode" FROM fine_tunes
           WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE"#,
        fine_tunes as &[FineTuneId],
    )
    .fetch_all(connection)
    .await
}

/// A fine-tune whose row is locked, as far as its next version is concerned.
pub(in crate::service) struct Locked {
    pub name: String,
    pub policy_on: On,
    pub policy_mode: Mode,
    pub trajectory: String,
}

/// Locks a fine-tune that is there.
pub(in crate::service) async fn lock_policy(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<Locked, sqlx::Error> {
    sqlx::query_as!(
        Locked,
        r#"SELECT name, policy_on AS "policy_on: On", policy_mode AS "policy_mode: Mode", trajectory
           FROM fine_tunes WHERE id = $1 FOR NO KEY UPDATE"#,
        id.0,
    )
    .fetch_one(connection)
    .await
}

/// Whether an alias that the fine-tune follows stands on this version of its base model, by its bytes.
pub(in crate::service) async fn follows_to(
    connection: &mut PgConnection,
    id: FineTuneId,
    base_version: BaseVersionId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM fine_tunes f
               JOIN base_model_versions own ON own.id = $2 AND own.base_model = f.base_model
               JOIN base_model_aliases a ON a.base_model = own.base_model
               JOIN base_model_versions v ON v.id = a.version
               WHERE f.id = $1 AND v.digest = own.digest
                 AND (f.policy_alias IS NULL OR a.alias = f.policy_alias)) AS "stands!""#,
        id.0,
        base_version.0,
    )
    .fetch_one(connection)
    .await
}

/// Counts a change that readers of a fine-tune see.
pub(in crate::service) async fn count_change(
    connection: &mut PgConnection,
    id: FineTuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE fine_tunes SET revision = revision + 1 WHERE id = $1",
        id.0
    )
    .execute(connection)
    .await?;
    Ok(())
}
