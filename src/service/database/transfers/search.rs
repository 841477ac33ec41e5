//! Which transfers may have a text: by the index of runs of three characters (`migrations/*_search.sql`).
//!
//! The index proposes; the list compares. Where it proposes too many, or nothing that can be looked up, reading from
//! the newest finds a page soon enough, for the text is then in many of them.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::contract::ids::TenantId;

/// Characters of the shortest text that is in the index.
const RUN: usize = 3;

/// Transfers that are looked at one by one.
const MAX_PROPOSED: i64 = 5000;

/// The ids of the tenant's transfers that may have the text, and perhaps others; none where the index does not help.
pub(super) async fn proposed(
    connection: &mut PgConnection,
    tenant: TenantId,
    text: Option<&str>,
) -> Result<Option<Vec<Uuid>>, sqlx::Error> {
    let Some(text) = text.filter(|text| text.chars().count() >= RUN) else {
        return Ok(None);
    };
    let found = sqlx::query_scalar!(
        "SELECT transfer FROM transfer_grams
         WHERE grams @> search_grams($1, $2) OR grams @> search_mark($1) LIMIT $3",
        tenant.0,
        text,
        MAX_PROPOSED + 1,
    )
    .fetch_all(connection)
    .await?;

    let is_all = i64::try_from(found.len()).is_ok_and(|count| count <= MAX_PROPOSED);
    Ok(is_all.then_some(found))
}
