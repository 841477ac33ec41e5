//! One look at the card of a model on a hub: what it names as the next one is proposed, or announced.

use super::Looker;
use crate::{
    service::{
        database::base_models::cards::Claimed,
        domain::registry::cards::{repository, successor},
        registry::successors::{self, Successor},
    },
    storage::{Storage, StorageError},
};

/// Longest card that is read, in bytes.
const CARD_LIMIT: u64 = 1 << 20;

/// Cards read one after another: from each next one to its own next one.
const MAX_CHAIN: usize = 8;

impl Looker {
    /// Reads and records. What could not be read is due again later.
    pub(super) async fn read_card(&self, card: Claimed) {
        // The roots may have been narrowed since.
        let storage = self.storage.of(card.tenant.0);
        let named = match last_named(&storage, &card.uri).await {
            Ok(named) => named,
            Err(error) => {
                tracing::debug!(%error, base_model = card.base_model, "a card was not read");
                return;
            }
        };

        let is_reachable = named
            .as_ref()
            .is_some_and(|named| storage.check_location(&folder(named)).is_ok());
        let found = named.map(|repository| Successor {
            uri: folder(&repository),
            repository,
            is_reachable,
        });
        let pause = self.settings.arrivals.card;
        let recorded = successors::record(&self.database, &card, found.as_ref(), pause).await;
        if let Err(error) = recorded {
            tracing::warn!(%error, base_model = card.base_model, "what a card names was not recorded");
        }
    }
}

/// The end of the chain of repositories that begins with the card of a version's.
async fn last_named(storage: &Storage, uri: &str) -> Result<Option<String>, StorageError> {
    let Some(own) = repository(uri) else {
        return Ok(None);
    };
    let mut chain = vec![own];
    while chain.len() <= MAX_CHAIN {
        let last = &chain[chain.len() - 1];
        match named_by(storage, last).await? {
            Some(next) if !chain.contains(&next) => chain.push(next),
            _ => break,
        }
    }
    Ok(chain.pop().filter(|_| !chain.is_empty()))
}

/// What the card of a repository names, where there is a card and it may be read.
async fn named_by(storage: &Storage, repository: &str) -> Result<Option<String>, StorageError> {
    let Ok(place) = storage.check_location(&format!("hf://{repository}/README.md")) else {
        return Ok(None);
    };
    match storage.read_small(&place, CARD_LIMIT).await {
        Ok(card) => Ok(successor(&String::from_utf8_lossy(&card))),
        Err(StorageError::NotFound { .. } | StorageError::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn folder(repository: &str) -> String {
    format!("hf://{repository}/")
}
