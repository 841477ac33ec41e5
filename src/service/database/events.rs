//! What happened: history for readers and outbox for deliveries.

pub mod feed;

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Database;
use crate::{
    contract::{
        events::EventKind,
        ids::{EventId, TenantId, TransferId},
    },
    service::domain::events::{Event, RecordedKind, Summary},
};

/// Records a transfer's event in the transaction of the transition that it tells of.
///
/// # Errors
/// From the database; among them a second `transfer.succeeded`.
pub(in crate::service) async fn insert(
    connection: &mut PgConnection,
    transfer: TransferId,
    kind: EventKind,
    data: Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO events (id, tenant, transfer, subject, kind, data)
         SELECT $1, tenant, id, 'transfers/' || id, $3, $4 FROM transfers WHERE id = $2",
        EventId::generate().0,
        transfer.0,
        kind.name(),
        data,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Records an event about something other than a transfer, in the transaction of the change that it
/// tells of; its id. `subject` is what the API shows it under, below `/v1`: `base_models/llama/versions/2`.
///
/// # Errors
/// From the database.
pub(in crate::service) async fn record(
    connection: &mut PgConnection,
    tenant: TenantId,
    subject: &str,
    kind: EventKind,
    data: Value,
) -> Result<EventId, sqlx::Error> {
    let id = EventId::generate();
    sqlx::query!(
        "INSERT INTO events (id, tenant, subject, kind, data) VALUES ($1, $2, $3, $4, $5)",
        id.0,
        tenant.0,
        subject,
        kind.name(),
        data,
    )
    .execute(connection)
    .await?;

    Ok(id)
}

/// Up to `limit` events of a tenant's transfer with `seq > after`, oldest first.
///
/// # Errors
/// From the database.
pub async fn list(
    database: &Database,
    tenant: TenantId,
    transfer: TransferId,
    after: i64,
    limit: i64,
) -> Result<Vec<Event>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    let rows = sqlx::query_as!(
        Row,
        "SELECT seq, id, kind, created_at, data FROM events
         WHERE tenant = $1 AND transfer = $2 AND seq > $3
         ORDER BY seq LIMIT $4",
        tenant.0,
        transfer.0,
        after,
        limit,
    )
    .fetch_all(&mut *scope)
    .await?;

    Ok(rows.into_iter().map(Event::from).collect())
}

/// The last `limit` events of a tenant's transfer, newest first.
///
/// # Errors
/// From the database.
pub async fn latest(
    database: &Database,
    tenant: TenantId,
    transfer: TransferId,
    limit: i64,
) -> Result<Vec<Event>, sqlx::Error> {
    let mut scope = database.scope(tenant).await?;
    let rows = sqlx::query_as!(
        Row,
        "SELECT seq, id, kind, created_at, data FROM events
         WHERE tenant = $1 AND transfer = $2
         ORDER BY seq DESC LIMIT $3",
        tenant.0,
        transfer.0,
        limit,
    )
    .fetch_all(&mut *scope)
    .await?;

    Ok(rows.into_iter().map(Event::from).collect())
}

/// An event as it is stored.
struct Row {
    seq: i64,
    id: EventId,
    kind: RecordedKind,
    created_at: OffsetDateTime,
    data: Value,
}

impl From<Row> for Event {
    fn from(row: Row) -> Self {
        let summary = Summary {
            kind: &row.kind,
            data: &row.data,
        };
        Self {
            seq: row.seq,
            id: row.id,
            level: summary.level(),
            message: summary.message(),
            kind: row.kind,
            created_at: row.created_at,
            data: row.data,
        }
    }
}
