//! Who calls, with names.

use uuid::Uuid;

use super::Database;
use crate::{
    contract::ids::KeyId,
    service::domain::access::{Me, MyKey, Principal},
};

/// The tenant and the key of a caller.
///
/// # Errors
/// From the database.
pub async fn get(database: &Database, caller: Principal) -> Result<Option<Me>, sqlx::Error> {
    let mut scope = database.scope(caller.tenant).await?;
    let row = sqlx::query!(
        r#"SELECT t.name AS tenant_name, k.id AS "key_id?", k.name AS "key_name?",
                  k.prefix AS "prefix?", k.expires_at AS "expires_at?"
           FROM tenants t LEFT JOIN api_keys k ON k.tenant = t.id AND k.id = $2
           WHERE t.id = $1"#,
        caller.tenant.0,
        caller.key_id.map(Uuid::from),
    )
    .fetch_optional(&mut *scope)
    .await?;

    Ok(row.map(|row| Me {
        tenant: caller.tenant,
        tenant_name: row.tenant_name,
        role: caller.role,
        expires_at: row.expires_at,
        roots: Vec::new(),
        key: row
            .key_id
            .zip(row.key_name)
            .zip(row.prefix)
            .map(|((id, name), prefix)| MyKey {
                id: KeyId(id),
                name,
                prefix,
            }),
    }))
}
