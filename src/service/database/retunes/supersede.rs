//! What an occasion makes superfluous: transfers that wait to be carried where nobody needs them any
//! more.

use sqlx::PgConnection;

use super::begin::Target;
use crate::{
    contract::ids::{FineTuneId, RetuneId},
    service::{
        database::transfers,
        domain::registry::{Release, is_newer},
    },
};

/// Cancels what waits in vain; the retunes concerned, which the caller settles.
///
/// Of those `carried` onto the target that is what waits for an older version. Transfers that an alias
/// made are no question of age: of all `concerned` that follow aliases, they end when no alias that is
/// followed stands any more on the bytes that they wait for.
pub(super) async fn supersede(
    connection: &mut PgConnection,
    target: &Target,
    carried: &[FineTuneId],
    concerned: &[FineTuneId],
) -> Result<Vec<RetuneId>, sqlx::Error> {
    let waiting = sqlx::query!(
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
           ORDER BY t.id FOR UPDATE OF t"#,
        concerned as &[FineTuneId],
        target.base_model.0,
    )
    .fetch_all(&mut *connection)
    .await?;
    let newest = Release { version: &target.version, id: target.id };
    let mut retunes = Vec::new();
    for row in waiting {
        let own = Release { version: &row.version, id: row.version_id.into() };
        let in_vain = if row.follows {
            !row.stands
        } else {
            carried.contains(&row.fine_tune.into()) && is_newer(newest, own)
        };
        if in_vain {
            transfers::cancel_queued(connection, row.id.into(), "superseded").await?;
            retunes.push(row.retune.into());
        }
    }
    Ok(retunes)
}
