//! What can be done to the service: kinds of faults, and what a fault comes to.

mod deck;
mod inject;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use time::OffsetDateTime;
use uuid::Uuid;

use super::store::{Held, Mishap};

pub use deck::Deck;
pub use inject::inject;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL of a worker.
    WorkerKill,
    /// SIGKILL of `retune serve`.
    ServeKill,
    /// SIGSTOP of a worker, until after its lease.
    WorkerStop,
    PostgresRestart,
    /// `pg_terminate_backend` of one of the service's connections.
    PgBackendKill,
    /// No new connection to PostgreSQL.
    ConnectionExhaustion,
    /// Every connection of every pool waits for the queue's table.
    PoolExhaustion,
    StorageError,
    StorageSlow,
    StorageTruncated,
    StorageReset,
    StorageFull,
    /// A worker's files cannot grow.
    DiskFull,
    /// A request that writes a result is held back; its worker is killed, and another finishes before it
    /// is let through.
    StorageLate,
    /// The same of the completion of an upload in parts.
    CompletionLate,
    /// The same of a deletion.
    DeletionLate,
    /// An input has the name of a file and is a pipe.
    InputPipe,
    /// An input is replaced by a link to a file outside the roots, and back, again and again.
    InputLink,
    /// An input becomes another while it is read.
    InputChanged,
}

/// Every kind, and how often it is chosen.
const KINDS: [(Kind, u32); 19] = [
    (Kind::WorkerKill, 22),
    (Kind::ServeKill, 5),
    (Kind::WorkerStop, 5),
    (Kind::PostgresRestart, 6),
    (Kind::PgBackendKill, 22),
    (Kind::ConnectionExhaustion, 3),
    (Kind::PoolExhaustion, 4),
    (Kind::StorageError, 8),
    (Kind::StorageSlow, 6),
    (Kind::StorageTruncated, 8),
    (Kind::StorageReset, 8),
    (Kind::StorageFull, 5),
    (Kind::DiskFull, 6),
    (Kind::StorageLate, 8),
    (Kind::CompletionLate, 3),
    (Kind::DeletionLate, 3),
    (Kind::InputPipe, 2),
    (Kind::InputLink, 3),
    (Kind::InputChanged, 4),
];

impl Kind {
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.into_iter().map(|(kind, _)| kind)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::WorkerKill => "worker_kill",
            Self::ServeKill => "serve_kill",
            Self::WorkerStop => "worker_stop",
            Self::PostgresRestart => "postgres_restart",
            Self::PgBackendKill => "pg_backend_kill",
            Self::ConnectionExhaustion => "connection_exhaustion",
            Self::PoolExhaustion => "pool_exhaustion",
            Self::StorageError => "storage_5xx",
            Self::StorageSlow => "storage_slow",
            Self::StorageTruncated => "storage_truncated",
            Self::StorageReset => "storage_reset",
            Self::StorageFull => "storage_full",
            Self::DiskFull => "disk_full",
            Self::StorageLate => "storage_late",
            Self::CompletionLate => "completion_late",
            Self::DeletionLate => "deletion_late",
            Self::InputPipe => "input_pipe",
            Self::InputLink => "input_link",
            Self::InputChanged => "input_changed",
        }
    }

    fn mishap(self) -> Option<Mishap> {
        match self {
            Self::StorageError => Some(Mishap::Unavailable),
            Self::StorageSlow => Some(Mishap::Slow),
            Self::StorageTruncated => Some(Mishap::Truncated),
            Self::StorageReset => Some(Mishap::Reset),
            Self::StorageFull => Some(Mishap::Full),
            _ => None,
        }
    }

    /// The request that it holds back.
    fn held(self) -> Option<Held> {
        match self {
            Self::StorageLate => Some(Held::Any),
            Self::CompletionLate => Some(Held::Completion),
            Self::DeletionLate => Some(Held::Deletion),
            _ => None,
        }
    }

    /// Whether it brings a job of its own.
    fn is_a_guest(self) -> bool {
        matches!(
            self,
            Self::CompletionLate | Self::InputPipe | Self::InputLink | Self::InputChanged
        )
    }

    /// Whether it strikes requests of the storage, whose server counts them.
    pub fn strikes_requests(self) -> bool {
        self.mishap().is_some() || self.held().is_some()
    }

    /// Whether it takes leases away from whoever holds them.
    pub fn takes_workers(self) -> bool {
        matches!(self, Self::WorkerKill | Self::ServeKill | Self::WorkerStop)
            || self.held().is_some()
    }
}

/// A fault to come, drawn beforehand so that the seed alone decides.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub kind: Kind,
    /// In [0, 1): which one.
    pub aim: f64,
    /// In [0, 1): how long, within what the kind allows.
    pub length: f64,
}

impl Draw {
    pub fn new(kind: Kind, rng: &mut ChaCha8Rng) -> Self {
        Self {
            kind,
            aim: rng.random(),
            length: rng.random(),
        }
    }

    fn one_of<T: Copy>(&self, all: &[T]) -> Option<T> {
        all.get((self.aim * all.len() as f64) as usize).copied()
    }
}

/// A fault that was really there.
#[derive(Clone, Debug)]
pub struct Injected {
    pub kind: Kind,
    pub at: OffsetDateTime,
    /// The transfers that were running under it.
    pub touched: Vec<Uuid>,
    /// Requests of the storage that went wrong by it.
    pub requests: u64,
}

/// Whom a fault hits, and when.
pub struct Hit {
    pub at: OffsetDateTime,
    pub touched: Vec<Uuid>,
    /// Requests of the storage that went wrong, as its server has seen.
    pub requests: u64,
}

impl Hit {
    /// One that hits these transfers now.
    pub fn now(touched: Vec<Uuid>) -> Self {
        Self {
            at: OffsetDateTime::now_utc(),
            touched,
            requests: 0,
        }
    }

    fn by(self, kind: Kind) -> Injected {
        let Self {
            at,
            touched,
            requests,
        } = self;
        Injected {
            kind,
            at,
            touched,
            requests,
        }
    }
}
