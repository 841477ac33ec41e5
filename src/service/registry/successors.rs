//! What the card of a base model's newest version names as the next one is proposed, or announced as a version.

use std::time::Duration;

use serde_json::json;

use crate::{
    contract::events::EventKind,
    service::{
        database::{
            Database,
            base_models::cards::{self, Claimed},
            events,
        },
        domain::registry::{arrivals::Announcement, cards::SuccessorPolicy},
    },
};

/// A repository that a card names.
#[derive(Clone, Debug)]
pub struct Successor {
    /// `organisation/name`
    pub repository: String,
    pub uri: String,
    /// Whether it lies under the tenant's roots.
    pub is_reachable: bool,
}

impl Successor {
    /// Under which name it would be a version: that of the repository.
    fn announcement(&self) -> Option<Announcement> {
        let (_, name) = self.repository.split_once('/')?;
        Announcement::of(&self.uri, name.to_owned())
    }

    /// What somebody has to do, where it is not followed.
    fn proposal(&self, card: &Claimed, named: &Announcement) -> String {
        let first = if self.is_reachable {
            ""
        } else {
            "add it to storage.roots, then "
        };
        format!(
            "the card of version {} names it as the next one: {first}retune base-models add-version {} {} {}",
            card.version, card.base_model, named.version, named.uri
        )
    }
}

/// Notes that a card was read, and what it names: once, as an event and an arrival. The arrival is looked at, and
/// becomes a version, where the base model follows its successors; otherwise it waits for somebody.
///
/// # Errors
/// From the database.
pub async fn record(
    database: &Database,
    card: &Claimed,
    found: Option<&Successor>,
    pause: Duration,
) -> Result<(), sqlx::Error> {
    let mut scope = database.scope(card.tenant).await?;
    cards::read(&mut scope, card, pause).await?;
    let named = found.and_then(|found| Some((found, found.announcement()?)));
    if let Some((successor, named)) = named {
        let follows = card.policy == SuccessorPolicy::Follow && named.fault().is_none();
        let proposal = (!follows).then(|| successor.proposal(card, &named));
        if cards::announce(&mut scope, card, &named, proposal.as_deref()).await? {
            let subject = format!("base_models/{}/arrivals", card.base_model);
            let data = json!({
                "base_model": card.base_model, "version": card.version,
                "successor": successor.repository, "uri": named.uri, "followed": follows,
            });
            let kind = EventKind::BaseModelSuccessorNamed;
            events::record(&mut scope, card.tenant, &subject, kind, data).await?;
        }
    }
    scope.commit().await
}
