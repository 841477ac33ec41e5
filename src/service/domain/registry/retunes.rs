//! Retunes: all transfers of one occasion.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    config::{self, Settings},
    contract::ids::RetuneId,
};

/// `queued → running → succeeded | partially_succeeded | failed | cancelled`, with `paused` between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "retune_status", rename_all = "snake_case")]
pub enum RetuneStatus {
    Queued,
    Running,
    Paused,
    Succeeded,
    PartiallySucceeded,
    Failed,
    Cancelled,
}

impl RetuneStatus {
    /// Nothing happens any more, but for a transfer that is retried by hand.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Paused)
    }

    /// As it is written in JSON, in the database and on pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::PartiallySucceeded => "partially_succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "retune_reason", rename_all = "snake_case")]
pub enum Reason {
    NewVersion,
    AliasMoved,
    ByHand,
}

/// How much of the workers a retune may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Transfers at work at once; any number when absent.
    #[schema(minimum = 1)]
    pub max_concurrent: Option<i32>,
    /// Seconds of computing, all transfers together, after which none begins any more: what then
    /// still waits is cancelled. What runs goes on.
    #[schema(minimum = 1)]
    pub max_compute_seconds: Option<i64>,
}

/// Under what terms a retune begins by itself.
#[derive(Clone, Copy, Debug)]
pub struct Automatic {
    pub limits: Limits,
    /// Of each transfer.
    pub max_attempts: i32,
}

impl Settings {
    /// What they say of retunes that begin by themselves.
    pub fn automatic(&self) -> Automatic {
        let config::Retunes {
            max_concurrent,
            max_compute_seconds,
        } = self.retunes;
        let limits = Limits {
            max_concurrent: Some(max_concurrent.into()).filter(|limit| *limit > 0),
            max_compute_seconds: Some(max_compute_seconds.into()).filter(|limit| *limit > 0),
        };
        Automatic {
            limits,
            max_attempts: self.worker.max_attempts,
        }
    }
}

/// How many of a retune's transfers are of each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Counts {
    pub queued: i64,
    pub running: i64,
    /// Staged, and to be judged by another program.
    pub awaiting_evaluation: i64,
    pub cancelling: i64,
    pub succeeded: i64,
    pub failed: i64,
    pub cancelled: i64,
}

impl Counts {
    pub fn total(&self) -> i64 {
        self.queued + self.unfinished_at_work() + self.succeeded + self.failed + self.cancelled
    }

    fn unfinished_at_work(&self) -> i64 {
        self.running + self.awaiting_evaluation + self.cancelling
    }

    /// What the transfers make of their retune.
    pub fn status(&self, paused: bool) -> RetuneStatus {
        if self.queued + self.unfinished_at_work() > 0 {
            return match (paused, self.queued == self.total()) {
                (true, _) => RetuneStatus::Paused,
                (false, true) => RetuneStatus::Queued,
                (false, false) => RetuneStatus::Running,
            };
        }
        match (self.succeeded, self.failed, self.cancelled) {
            (_, 0, 0) => RetuneStatus::Succeeded,
            (0, 0, _) => RetuneStatus::Cancelled,
            (0, _, _) => RetuneStatus::Failed,
            _ => RetuneStatus::PartiallySucceeded,
        }
    }
}

/// All transfers of one new base version, of an alias that moved, or of a wish.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Retune {
    #[schema(value_type = Uuid)]
    pub id: RetuneId,
    pub status: RetuneStatus,
    pub reason: Reason,
    /// Absent where the targets were given by location.
    pub base_model: Option<String>,
    pub base_version: Option<String>,
    pub counts: Counts,
    pub limits: Limits,
    /// What its transfers' ended attempts took.
    pub compute_seconds: f64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_from_the_transfers() {
        let none = Counts::default();
        let status = |counts: Counts| counts.status(false);
        assert_eq!(status(Counts { queued: 2, ..none }), RetuneStatus::Queued);
        assert_eq!(
            status(Counts {
                queued: 1,
                succeeded: 1,
                ..none
            }),
            RetuneStatus::Running
        );
        assert_eq!(
            status(Counts {
                cancelling: 1,
                ..none
            }),
            RetuneStatus::Running
        );
        assert_eq!(
            status(Counts {
                awaiting_evaluation: 1,
                ..none
            }),
            RetuneStatus::Running
        );
        assert_eq!(
            status(Counts {
                succeeded: 2,
                ..none
            }),
            RetuneStatus::Succeeded
        );
        assert_eq!(
            status(Counts {
                failed: 1,
                cancelled: 1,
                ..none
            }),
            RetuneStatus::Failed
        );
        assert_eq!(
            status(Counts {
                cancelled: 2,
                ..none
            }),
            RetuneStatus::Cancelled
        );
        for other in [
            Counts { failed: 1, ..none },
            Counts {
                cancelled: 1,
                ..none
            },
        ] {
            let counts = Counts {
                succeeded: 1,
                ..other
            };
            assert_eq!(status(counts), RetuneStatus::PartiallySucceeded);
        }
    }

    #[test]
    fn a_pause_ends_with_the_last_transfer() {
        let counts = Counts {
            queued: 1,
            succeeded: 1,
            ..Counts::default()
        };
        assert_eq!(counts.status(true), RetuneStatus::Paused);
        let ended = Counts {
            succeeded: 2,
            ..Counts::default()
        };
        assert_eq!(ended.status(true), RetuneStatus::Succeeded);
    }
}
