//! Whose cards are to be read, and what they have named.

use std::time::Duration;

use sqlx::PgConnection;

use crate::{
    contract::ids::TenantId,
    service::{
        database::Database,
        domain::registry::{arrivals::Announcement, cards::SuccessorPolicy, inbound::Inbound},
    },
};

/// A base model whose newest version is of a hub.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub tenant: TenantId,
    pub base_model: String,
    pub version: String,
    /// Of that version.
    pub uri: String,
    pub policy: SuccessorPolicy,
}

/// Takes up to `most` base models whose cards are due; a card that is not read is due again after `retry`.
///
/// # Errors
/// From the database.
pub async fn claim(
    database: &Database,
    most: i64,
    retry: Duration,
) -> Result<Vec<Claimed>, sqlx::Error> {
    sqlx::query_as!(
        Claimed,
        r#"WITH due AS (
               SELECT m.id, newest.version, newest.uri
               FROM base_models m CROSS JOIN LATERAL (
                   SELECT v.version, v.uri FROM base_model_versions v
                   WHERE v.base_model = m.id ORDER BY v.id DESC LIMIT 1
               ) AS newest
               WHERE m.card_due_at <= now() AND m.successors <> 'ignore' AND newest.uri LIKE 'hf://%'
               ORDER BY m.card_due_at LIMIT $1
               FOR UPDATE OF m SKIP LOCKED
           )
           UPDATE base_models m SET card_due_at = now() + make_interval(secs => $2)
           FROM due WHERE m.id = due.id
           RETURNING m.tenant, m.name AS base_model, due.version, due.uri,
                     m.successors AS "policy: SuccessorPolicy""#,
        most,
        retry.as_secs_f64(),
    )
    .fetch_all(&database.pool)
    .await
}

/// Notes that a card was read, and is to be read again after `pause`.
pub(in crate::service) async fn read(
    connection: &mut PgConnection,
    card: &Claimed,
    pause: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE base_models SET card_due_at = now() + make_interval(secs => $3)
         WHERE tenant = $1 AND name = $2",
        card.tenant.0,
        card.base_model,
        pause.as_secs_f64(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets the times at which cards are due back by so many seconds.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn set_back(
    connection: &mut PgConnection,
    seconds: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE base_models SET card_due_at = card_due_at - make_interval(secs => $1)",
        seconds
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Lets the card of a base model be read at once: its hub has said that something changed.
///
/// # Errors
/// From the database.
pub async fn ask(database: &Database, inbound: &Inbound) -> Result<(), sqlx::Error> {
    let mut scope = database.scope(inbound.tenant).await?;
    sqlx::query!(
        "UPDATE base_models SET card_due_at = now() WHERE tenant = $1 AND name = $2",
        inbound.tenant.0,
        inbound.base_model,
    )
    .execute(&mut *scope)
    .await?;
    scope.commit().await
}

/// Announces what a card names, as a proposal or to be looked at; false where it is a version, or was announced,
/// already.
pub(in crate::service) async fn announce(
    connection: &mut PgConnection,
    card: &Claimed,
    named: &Announcement,
    proposal: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let announced = sqlx::query!(
        "INSERT INTO arrivals (tenant, base_model, uri, version, status, reason, finished_at)
         SELECT m.tenant, m.id, $3, $4,
                CASE WHEN $5::text IS NULL THEN 'waiting' ELSE 'proposed' END::arrival_status,
                $5, CASE WHEN $5::text IS NOT NULL THEN now() END
         FROM base_models m
         WHERE m.tenant = $1 AND m.name = $2
           AND NOT EXISTS (SELECT FROM base_model_versions v
                           WHERE v.base_model = m.id
                             AND rtrim(split_part(v.uri, '@', 1), '/') = rtrim($3, '/'))
         ON CONFLICT (base_model, uri, version) DO NOTHING",
        card.tenant.0,
        card.base_model,
        named.uri,
        named.version,
        proposal,
    )
    .execute(connection)
    .await?;
    Ok(announced.rows_affected() == 1)
}
