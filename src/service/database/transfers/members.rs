//! Transfers as members of a retune.

use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    contract::ids::{BaseModelId, BaseVersionId, FineTuneId, RetuneId, TenantId, TransferId},
    service::domain::{registry::occasions::Occasion, transfers::Status},
};

/// A transfer to be.
pub(in crate::service) struct Member {
    pub fine_tune: FineTuneId,
    pub spec: Value,
    /// Version and digest of a registered target.
    pub base: Option<(BaseVersionId, String)>,
}

/// Queues a member, held where only some may be at work at once; `None` where a transfer of the
/// fine-tune onto this base lives or has succeeded.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    occasion: &Occasion,
    retune: RetuneId,
    member: &Member,
) -> Result<Option<TransferId>, sqlx::Error> {
    let id = TransferId::generate();
    let metadata = member
        .spec
        .get("metadata")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let (base_version, base_digest) = member.base.clone().unzip();
    let done = sqlx::query!(
        "INSERT INTO transfers (id, tenant, spec, metadata, max_attempts, retune, fine_tune,
                                base_version, base_digest, held)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (fine_tune, base_digest) WHERE status NOT IN ('failed', 'cancelled')
         DO NOTHING",
        id.0,
        occasion.tenant.0,
        member.spec,
        metadata,
        occasion.max_attempts,
        retune.0,
        member.fine_tune.0,
        base_version.map(Uuid::from),
        base_digest,
        occasion.limits.max_concurrent.is_some(),
    )
    .execute(connection)
    .await?;

    Ok((done.rows_affected() == 1).then_some(id))
}

/// A transfer that waits to be carried onto a registered version.
pub(in crate::service) struct Waiting {
    pub id: TransferId,
    pub retune: RetuneId,
    pub fine_tune: FineTuneId,
    pub version_id: BaseVersionId,
    pub version: String,
    /// An alias that the fine-tune still follows made it.
    pub follows: bool,
    /// An alias that the fine-tune follows stands on the bytes of this version.
    pub stands: bool,
}

/// Locks the waiting transfers of these fine-tunes onto versions of a base model, in the order of their ids.
pub(in crate::service) async fn lock_waiting_for(
    connection: &mut PgConnection,
    base_model: BaseModelId,
    fine_tunes: &[FineTuneId],
) -> Result<Vec<Waiting>, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        r#"SELECT t.id, t.retune AS "retune!", t.fine_tune AS "fine_tune!", v.id AS version_id,
                  v.version,
                  r.reason = 'alias_moved' AND f.policy_on = 'alias_moved' AS "follows!",
                  EXISTS (
                      SELECT FROM base_model_aliases a JOIN base_model_versions s ON s.id = a.version
                      WHERE a.base_model = v.base_model AND s.digest = v.digest
                        AND (f.policy_alias IS NULL OR a.alias = f.policy_alias)) AS "stands!"
           FROM transfers t
           JOIN base_model_versions v ON v.id = t.base_version
           JOIN retunes r ON r.id = t.retune
           JOIN fine_tunes f ON f.id = t.fine_tune
           WHERE t.fine_tune = ANY ($1) AND t.status = 'queued' AND v.base_model = $2
             AND t.evaluation IS NULL
           ORDER BY t.id FOR UPDATE OF t"#,
        fine_tunes as &[FineTuneId],
        base_model.0,
    )
    .fetch_all(connection)
    .await
}

/// Locks a retune's unfinished transfers, in the order of their ids.
pub(in crate::service) async fn lock_unfinished(
    connection: &mut PgConnection,
    tenant: TenantId,
    retune: RetuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"SELECT status AS "status: Status" FROM transfers
           WHERE retune = $1 AND tenant = $2
             AND status IN ('queued', 'running', 'awaiting_evaluation', 'cancelling')
           ORDER BY id FOR UPDATE"#,
        retune.0,
        tenant.0,
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// A retune's transfers that wait, for a worker or an evaluation, in the order of their ids.
pub(in crate::service) async fn waiting(
    connection: &mut PgConnection,
    retune: RetuneId,
) -> Result<Vec<TransferId>, sqlx::Error> {
    let waiting = sqlx::query_scalar!(
        "SELECT id FROM transfers
         WHERE retune = $1 AND status IN ('queued', 'awaiting_evaluation') ORDER BY id",
        retune.0
    )
    .fetch_all(connection)
    .await?;

    Ok(waiting.into_iter().map(TransferId).collect())
}

/// Locks a retune's waiting transfers, in the order of their ids, but for those that somebody else holds and those
/// that have computed already.
pub(in crate::service) async fn lock_free_waiting(
    connection: &mut PgConnection,
    retune: RetuneId,
) -> Result<Vec<TransferId>, sqlx::Error> {
    let waiting = sqlx::query_scalar!(
        "SELECT id FROM transfers WHERE retune = $1 AND status = 'queued' AND evaluation IS NULL
         ORDER BY id FOR UPDATE SKIP LOCKED",
        retune.0
    )
    .fetch_all(connection)
    .await?;

    Ok(waiting.into_iter().map(TransferId).collect())
}

/// Keeps a retune's transfers from beginning. Running ones too: should their worker die, nobody takes
/// them up.
pub(in crate::service) async fn hold(
    connection: &mut PgConnection,
    retune: RetuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers SET held = true
         WHERE retune = $1
           AND status IN ('queued', 'running', 'awaiting_evaluation', 'cancelling')",
        retune.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets a retune's running transfers be taken up again, should their worker die.
pub(in crate::service) async fn release_running(
    connection: &mut PgConnection,
    retune: RetuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers SET held = false
         WHERE retune = $1 AND status IN ('running', 'awaiting_evaluation', 'cancelling')",
        retune.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Asks the workers of a retune's running transfers to stop.
pub(in crate::service) async fn cancel_running(
    connection: &mut PgConnection,
    retune: RetuneId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE transfers SET status = 'cancelling' WHERE retune = $1 AND status = 'running'",
        retune.0
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets as many held transfers go as may be at work beside those that are let go already; without a
/// limit all of them.
pub(in crate::service) async fn let_go(
    connection: &mut PgConnection,
    retune: RetuneId,
    max_concurrent: Option<i32>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH next AS (
             SELECT id FROM transfers
             WHERE retune = $1 AND status = 'queued' AND held
             ORDER BY id
             LIMIT CASE WHEN $2::bigint IS NOT NULL THEN
                 (SELECT greatest($2 - count(*), 0) FROM transfers
                  WHERE retune = $1 AND NOT held AND status IN ('queued', 'running', 'cancelling'))
             END
             FOR UPDATE SKIP LOCKED
         )
         UPDATE transfers t SET held = false FROM next WHERE t.id = next.id",
        retune.0,
        max_concurrent.map(i64::from),
    )
    .execute(connection)
    .await?;
    Ok(())
}
