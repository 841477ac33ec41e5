//! One look at an announced folder, and its record.

use metrics::counter;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::Looker;
use crate::service::{
    database::{
        arrivals::{self, Claimed},
        base_models::versions,
    },
    domain::{
        leases::Lease,
        registry::{arrivals::ArrivalStatus, base_models::NewVersion},
    },
    model_files::{self, ModelFiles, ModelFilesError},
    registry::{
        arrivals::{self as outcome, AfterRegister},
        new_version::RegisterError,
    },
};

/// Longest reason that is kept, in bytes.
const REASON_LIMIT: usize = 500;

/// What a look found.
enum Finding {
    /// The version is there, from this very folder.
    Known,
    Model(ModelFiles),
    /// No whole model yet, or storage that does not answer.
    NotYet(String),
    /// Nothing that waiting could help.
    Never(String),
}

impl Looker {
    /// Looks and records. Where that cannot be written, the lease runs out and another looks.
    pub(super) async fn look(&self, lease: Lease<Claimed>, shutdown: &CancellationToken) {
        let found = tokio::select! {
            found = self.find(&lease) => found,
            () = self.hold(&lease) => return count("lost"),
            () = shutdown.cancelled() => {
                if let Err(error) = arrivals::release(&self.database, &lease).await {
                    tracing::debug!(%error, arrival = %lease.id, "the lease must run out");
                }
                return;
            }
        };

        let recorded = match found {
            Ok(finding) => self.record(&lease, finding).await,
            Err(error) => Err(error),
        };

        count(recorded.unwrap_or_else(|error| {
            tracing::warn!(%error, arrival = %lease.id, "what an arrival is was not recorded");
            "unrecorded"
        }));
    }

    /// Keeps the lease; ends when it is lost.
    async fn hold(&self, held: &Lease<Claimed>) {
        let lease = self.settings.arrivals.lease;
        loop {
            time::sleep(lease / 3).await;
            match arrivals::renew(&self.database, held, lease).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "cannot renew a lease; trying again"),
            }
        }
    }

    async fn find(&self, claimed: &Claimed) -> Result<Finding, sqlx::Error> {
        let (tenant, model, version) = (claimed.tenant, &claimed.base_model, &claimed.version);
        // Not read again for each of its files.
        let known = versions::get(&self.database, tenant, model, version).await?;
        if known.is_some_and(|known| folder(&known.uri) == folder(&claimed.uri)) {
            return Ok(Finding::Known);
        }

        // The roots may have been narrowed since.
        let storage = self.storage.of(tenant.0);
        let location = match storage.check_location(&claimed.uri) {
            Ok(location) => location,
            Err(error) => return Ok(Finding::Never(error.to_string())),
        };

        Ok(match model_files::look(&storage, &location).await {
            Ok(files) => Finding::Model(files),
            Err(ModelFilesError::NoModel(_, fault)) => {
                Finding::NotYet(format!("not a whole model yet: {fault}"))
            }
            Err(error @ ModelFilesError::Storage(_)) => Finding::NotYet(error.to_string()),
        })
    }

    /// Records what was found; its name for the figures.
    async fn record(
        &self,
        lease: &Lease<Claimed>,
        finding: Finding,
    ) -> Result<&'static str, sqlx::Error> {
        let database = &self.database;
        match finding {
            Finding::Known => Ok(unless_lost(outcome::know(database, lease).await?, "known")),
            Finding::Model(files) => self.register(lease, files).await,
            Finding::NotYet(reason) => {
                let policy = self.settings.arrivals.retry_policy();
                let status = outcome::put_off(database, lease, &cut(reason), policy).await?;
                Ok(match status {
                    Some(ArrivalStatus::Failed) => "failed",
                    Some(_) => "put_off",
                    None => "lost",
                })
            }
            Finding::Never(reason) => Ok(unless_lost(
                outcome::fail(database, lease, &cut(reason)).await?,
                "failed",
            )),
        }
    }

    async fn register(
        &self,
        lease: &Lease<Claimed>,
        files: ModelFiles,
    ) -> Result<&'static str, sqlx::Error> {
        let new = NewVersion {
            version: lease.version.clone(),
            uri: files.pinned.unwrap_or_else(|| lease.uri.clone()),
            digest: files.digest,
            size: i64::try_from(files.size).unwrap_or(i64::MAX),
            parent: None,
            licence: None,
            retires_at: None,
        };

        let how = self.settings.automatic();
        match outcome::register(&self.database, lease, &new, how).await {
            Ok(AfterRegister::Registered) => Ok("registered"),
            Ok(AfterRegister::Known) => Ok("known"),
            Ok(AfterRegister::Lost) => Ok("lost"),
            Err(RegisterError::Database(error)) => Err(error),
            Err(error) => {
                let held = outcome::fail(&self.database, lease, &cut(error.to_string())).await?;
                Ok(unless_lost(held, "failed"))
            }
        }
    }
}

/// A folder's location without slashes at its end.
fn folder(uri: &str) -> &str {
    uri.trim_end_matches('/')
}

/// What is counted: the outcome, unless the lease is lost.
fn unless_lost(held: bool, outcome: &'static str) -> &'static str {
    if held { outcome } else { "lost" }
}

fn count(outcome: &'static str) {
    counter!("retune_arrival_looks_total", "outcome" => outcome).increment(1);
}

/// NUL, which a file's name from elsewhere may hold, cannot be stored.
pub(super) fn cut(reason: String) -> String {
    let mut text = reason.replace('\0', "");
    text.truncate(text.floor_char_boundary(REASON_LIMIT));
    text
}
