//! What the aliases of a base model mean for `production` of the fine-tunes that follow them. Not which
//! version is newer counts for these, but where an alias that they follow stands now; and bytes count,
//! not names of versions. What waits in vain when an alias moves: `retunes::supersede`.

use sqlx::PgConnection;

use super::aliases::{self, Step};
use crate::{
    contract::ids::{BaseVersionId, FineTuneId, TenantId},
    service::{
        database::retunes::begin::Target,
        domain::registry::{PRODUCTION, fine_tunes::Mode},
    },
};

/// Moves `production` of these fine-tunes to the published results that they have on the target,
/// where their policy is to promote.
pub(in crate::service::database) async fn promote_what_is_there(
    connection: &mut PgConnection,
    tenant: TenantId,
    target: &Target,
    fine_tunes: &[FineTuneId],
) -> Result<(), sqlx::Error> {
    // Locked before results are looked for: one that arrives at this moment either is seen here, or
    // sees the alias where it stands after this.
    let followers = sqlx::query!(
        r#"SELECT id, name, trajectory, policy_mode AS "policy_mode: Mode" FROM fine_tunes
           WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE"#,
        fine_tunes as &[FineTuneId],
    )
    .fetch_all(&mut *connection)
    .await?;
    for one in followers.iter().filter(|one| one.policy_mode == Mode::Promote) {
        // What was made of a trajectory since replaced waits for a person.
        let there = sqlx::query!(
            "SELECT v.id, v.number FROM fine_tune_versions v
             JOIN base_model_versions b ON b.id = v.base_version
             WHERE v.fine_tune = $1 AND v.state = 'published' AND v.trajectory = $2
               AND b.base_model = $3 AND b.digest = $4
             ORDER BY v.number DESC LIMIT 1",
            one.id,
            one.trajectory,
            target.base_model.0,
            target.digest,
        )
        .fetch_optional(&mut *connection)
        .await?;
        let Some(there) = there else { continue };
        let step = Step {
            tenant,
            fine_tune: (one.id.into(), &one.name),
            alias: PRODUCTION,
            to: (there.id.into(), there.number),
        };
        aliases::promote(connection, &step).await?;
    }
    Ok(())
}

/// Whether an alias that the fine-tune follows stands on this version of its base model.
pub(super) async fn stands_on(
    connection: &mut PgConnection,
    fine_tune: FineTuneId,
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
        fine_tune.0,
        base_version.0,
    )
    .fetch_one(connection)
    .await
}
