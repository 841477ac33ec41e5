//! Looks at what has been announced, and registers what is a whole model and new.
//!
//! Order of events: a notification writes a row and is answered at once. `serve` runs a [`Looker`],
//! which claims rows under a lease and reads the models with no transaction open, while it keeps the
//! lease. The version and what became of the announcement are written in one transaction. A looker
//! that dies leaves a lease that runs out, and another looks again. What is no whole model yet, and what
//! storage does not give, is looked at later, for a bounded time.
//!
//! The card of a model on a hub is read from time to time: what it names as the next one is proposed, or announced.
//!
//! Folders are listed in the same manner where a sender cannot say what is new, and where an address
//! asks for it from time to time.

mod card;
mod listing;
mod look;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    database::{
        Database, arrivals,
        base_models::cards,
        inbound_tokens::{self, listings},
    },
    domain::leases::{Lease, RetryPolicy},
    queue::Queue,
};
use crate::{
    config::{self, Settings},
    contract::ids::LeaseToken,
    storage::Storage,
};

/// Models and folders looked at at once, by one process: each keeps a disk or a connection busy. A tenant has few of
/// them (`arrivals::claim`, `listings::claim`), so that one whose storage hangs keeps no other waiting.
const MAX_OPEN: usize = 16;

/// How long the record of a look, or a listing, may go on after the end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// The longest wait between two looks.
const MAX_WAIT: Duration = Duration::from_mins(10);

impl config::Arrivals {
    /// What the settings say of claims and retries.
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            lease: self.lease,
            backoff: self.backoff,
            max_wait: MAX_WAIT,
            give_up: self.give_up,
        }
    }
}

/// Runs in `serve`; cheap to clone.
#[derive(Clone)]
pub struct Looker {
    database: Database,
    storage: Storage,
    settings: Arc<Settings>,
}

/// What was claimed.
pub enum Task {
    Look(arrivals::Claimed),
    List(listings::Claimed),
    /// Not under a lease of the database: a card that is read twice says the same.
    Card(cards::Claimed),
}

impl Queue for Looker {
    type Entry = Task;

    const CHANNEL: &'static str = "arrivals";

    const NAME: &'static str = "arrivals";

    fn database(&self) -> &Database {
        &self.database
    }

    fn limit(&self) -> usize {
        MAX_OPEN
    }

    fn poll(&self) -> Duration {
        self.settings.arrivals.poll
    }

    fn shutdown_grace(&self) -> Option<Duration> {
        Some(SHUTDOWN_GRACE)
    }

    async fn claim(&self, limit: usize) -> Result<Vec<Lease<Task>>, sqlx::Error> {
        self.claim_tasks(i64::try_from(limit).unwrap_or(i64::MAX))
            .await
    }

    async fn work(self, lease: Lease<Task>, shutdown: CancellationToken) {
        let Lease {
            entry,
            token,
            until,
        } = lease;
        match entry {
            Task::Look(entry) => {
                self.look(
                    Lease {
                        entry,
                        token,
                        until,
                    },
                    &shutdown,
                )
                .await;
            }
            Task::Card(card) => self.read_card(card).await,
            Task::List(entry) => {
                self.list(Lease {
                    entry,
                    token,
                    until,
                })
                .await;
            }
        }
    }
}

impl Looker {
    pub fn new(database: Database, storage: Storage, settings: Arc<Settings>) -> Self {
        Self {
            database,
            storage,
            settings,
        }
    }

    /// Listings come first: they are short.
    async fn claim_tasks(&self, limit: i64) -> Result<Vec<Lease<Task>>, sqlx::Error> {
        let policy = self.settings.arrivals.retry_policy();
        let lists = inbound_tokens::listings::claim(&self.database, limit, policy).await?;
        let rest = limit - i64::try_from(lists.len()).unwrap_or(limit);
        let mut tasks: Vec<_> = lists
            .into_iter()
            .map(|lease| lease.map(Task::List))
            .collect();
        if rest > 0 {
            // What is claimed already is not dropped for an error here; it will show again.
            let looks = arrivals::claim(&self.database, rest, policy).await;
            match looks {
                Ok(looks) => {
                    tasks.extend(looks.into_iter().map(|lease| lease.map(Task::Look)));
                }
                Err(error) if tasks.is_empty() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot look for announcements; trying again");
                }
            }
        }

        let rest = limit - i64::try_from(tasks.len()).unwrap_or(limit);
        if rest > 0 {
            tasks.extend(self.claim_cards(rest, policy.lease).await);
        }

        Ok(tasks)
    }

    /// None where the database does not answer. A card that could not be read is left alone for a while.
    async fn claim_cards(&self, limit: i64, lease: Duration) -> Vec<Lease<Task>> {
        let until = Instant::now() + lease;
        let claimed = cards::claim(&self.database, limit, MAX_WAIT).await;
        let cards = claimed.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for cards; trying again");
            Vec::new()
        });
        let leases = cards.into_iter().map(|card| Lease {
            entry: Task::Card(card),
            token: LeaseToken::generate(),
            until,
        });
        leases.collect()
    }
}
