//! Looks at what has been announced, and registers what is a whole model and new.
//!
//! Order of events: a notification writes a row and is answered at once. `serve` runs a [`Looker`],
//! which claims rows under a lease and reads the models with no transaction open, while it keeps the
//! lease. The version and what became of the announcement are written in one transaction. A looker
//! that dies leaves a lease that runs out, and another looks again. What is no whole model yet, and what
//! storage does not give, is looked at later, for a bounded time.
//!
//! Folders are listed in the same manner where a sender cannot say what is new, and where an address
//! asks for it from time to time.

mod listing;
mod look;

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use super::database::{
    Database, arrivals,
    bell::Bell,
    inbound_tokens::{self, listings},
    terms::Terms,
};
use crate::{
    config::{self, Settings},
    storage::Storage,
};

/// Models and folders looked at at once, by one process: each keeps a disk or a connection busy. A tenant has few of
/// them (`arrivals::claim`, `listings::claim`), so that one whose storage hangs keeps no other waiting.
const MOST_OPEN: usize = 16;

/// How long the record of a look, or a listing, may go on after the end.
const GRACE: Duration = Duration::from_secs(3);

/// The longest wait between two looks.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

impl config::Arrivals {
    /// What the settings say of claims and retries.
    pub fn terms(&self) -> Terms {
        Terms {
            lease: self.lease,
            backoff: self.backoff,
            longest_wait: LONGEST_WAIT,
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
enum Errand {
    Look(arrivals::Claimed),
    List(listings::Claimed),
}

impl Looker {
    pub fn new(database: Database, storage: Storage, settings: Arc<Settings>) -> Self {
        Self { database, storage, settings }
    }

    /// Looks until `shutdown`; what is under way then is given back. Errors of the database are
    /// waited out.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut bell = Bell::on("arrivals");
        let mut open = JoinSet::new();
        while !shutdown.is_cancelled() {
            // Before the claim: what is written between claim and waiting rings already.
            bell.listen(&self.database).await;
            while open.try_join_next().is_some() {}
            let claimed = self.claim(MOST_OPEN.saturating_sub(open.len())).await;
            if claimed.is_empty() {
                // The end of a look may make room for another.
                let end = async {
                    tokio::select! {
                        Some(_) = open.join_next() => {}
                        () = shutdown.cancelled() => {}
                    }
                };
                bell.wait(self.settings.arrivals.poll, end).await;
            }
            for errand in claimed {
                let (looker, shutdown) = (self.clone(), shutdown.clone());
                open.spawn(async move {
                    match errand {
                        Errand::Look(claimed) => looker.look(claimed, &shutdown).await,
                        Errand::List(claimed) => looker.list(claimed).await,
                    }
                });
            }
        }
        // What is aborted when the set is dropped keeps its lease until that runs out.
        let _ = time::timeout(GRACE, async { while open.join_next().await.is_some() {} }).await;
    }

    async fn claim(&self, room: usize) -> Vec<Errand> {
        if room == 0 {
            return Vec::new();
        }
        let most = i64::try_from(room).unwrap_or(i64::MAX);
        self.try_claim(most).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for arrivals; trying again");
            Vec::new()
        })
    }

    /// Listings come first: they are short.
    async fn try_claim(&self, most: i64) -> Result<Vec<Errand>, sqlx::Error> {
        let terms = self.settings.arrivals.terms();
        let lists = inbound_tokens::listings::claim(&self.database, most, terms).await?;
        let rest = most - i64::try_from(lists.len()).unwrap_or(most);
        let mut errands: Vec<_> = lists.into_iter().map(Errand::List).collect();
        if rest > 0 {
            // What is claimed already is not dropped for an error here; it will show again.
            let looks = arrivals::claim(&self.database, rest, terms).await;
            match looks {
                Ok(looks) => errands.extend(looks.into_iter().map(Errand::Look)),
                Err(error) if errands.is_empty() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot look for announcements; trying again");
                }
            }
        }
        Ok(errands)
    }
}
