//! What an occasion makes superfluous: transfers that wait to be carried where nobody needs them any
//! more.

use sqlx::PgConnection;

use super::cancel::cancel_queued;
use crate::{
    contract::{
        events::CancelReason,
        ids::{FineTuneId, RetuneId},
    },
    service::{
        database::transfers::members::{self, Waiting},
        domain::registry::{Release, is_newer, occasions::Target},
    },
};

/// Cancels what waits in vain; the retunes concerned, which the caller settles.
///
/// Of those `carried` onto the target that is what waits for an older version. Transfers that an alias
/// made are no question of age: of all `concerned` that follow aliases, they end when no alias that is
/// followed stands any more on the bytes that they wait for.
///
/// # Errors
/// From the database.
pub(super) async fn supersede(
    connection: &mut PgConnection,
    target: &Target,
    carried: &[FineTuneId],
    concerned: &[FineTuneId],
) -> Result<Vec<RetuneId>, sqlx::Error> {
    let waiting = members::lock_waiting_for(connection, target.base_model, concerned).await?;

    let mut retunes = Vec::new();
    for transfer in waiting
        .iter()
        .filter(|one| is_in_vain(one, target, carried))
    {
        cancel_queued(connection, transfer.id, CancelReason::Superseded).await?;
        retunes.push(transfer.retune);
    }

    Ok(retunes)
}

fn is_in_vain(waiting: &Waiting, target: &Target, carried: &[FineTuneId]) -> bool {
    if waiting.follows {
        return !waiting.stands;
    }

    let own = Release {
        version: &waiting.version,
        id: waiting.version_id,
    };
    carried.contains(&waiting.fine_tune) && is_newer(target.release(), own)
}
