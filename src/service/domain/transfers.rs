//! Types and transitions of a transfer; no I/O.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::contract::{
    evaluation::EvaluationRecord,
    ids::{RetuneId, TransferId},
};

/// `queued → running → succeeded | failed`, with `cancelling → cancelled` on the way out; with an external gate
/// `running → awaiting_evaluation → queued → running` before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "transfer_status", rename_all = "snake_case")]
pub enum Status {
    Queued,
    Running,
    /// The result is staged and another program is to judge it.
    AwaitingEvaluation,
    Cancelling,
    Succeeded,
    Failed,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::AwaitingEvaluation,
        Self::Cancelling,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Nothing happens to the transfer any more, but for a retry by hand.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// As it is written in JSON, in the database and on pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::AwaitingEvaluation => "awaiting_evaluation",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    Succeeded,
    Failed,
    Cancelled,
    HandedBack,
    /// Its lease ran out.
    Lost,
}

impl AttemptOutcome {
    pub const ALL: [Self; 5] = [
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::HandedBack,
        Self::Lost,
    ];

    /// As it is written in the database and in figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::HandedBack => "handed_back",
            Self::Lost => "lost",
        }
    }

    /// The outcome of a name; `None` where it is of another version of this program.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// What stands before a transfer in the queue.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = QueuePosition)]
pub struct Position {
    pub status: Status,
    /// How many of the tenant's transfers begin before it; null where it does not wait.
    pub ahead: Option<i64>,
    /// It waits for its retune, which is paused or has as many at work as it may.
    pub held: bool,
    /// It waits at least until then, after an attempt that failed; null: it may begin at once.
    #[serde(with = "time::serde::rfc3339::option")]
    pub not_before: Option<OffsetDateTime>,
    /// How many of the tenant's transfers are at work.
    pub at_work: i64,
    /// How many workers of the service have been seen within a minute.
    pub workers: i64,
}

/// How far the current phase is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    pub done: i64,
    pub total: i64,
    pub unit: String,
    #[serde(with = "time::serde::rfc3339::option")]
    pub estimated_finish: Option<OffsetDateTime>,
}

/// Where the result lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResultLocation {
    pub uri: String,
    pub manifest_sha256: String,
}

/// Why a transfer failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    pub code: String,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

/// The wait for an external gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TransferEvaluation)]
pub struct ExternalEvaluation {
    /// The folder of the result that is to be judged; null once it has its place, or its rejection.
    pub staged_uri: Option<String>,
    /// Without an answer by then the result is rejected.
    #[serde(with = "time::serde::rfc3339")]
    pub deadline: OffsetDateTime,
    /// What was answered, or that nobody did; null while it is waited for.
    pub answer: Option<EvaluationRecord>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub evaluated_at: Option<OffsetDateTime>,
}

/// A transfer as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Transfer {
    #[schema(value_type = Uuid)]
    pub id: TransferId,
    /// As the specification has it.
    #[serde(default)]
    pub name: Option<String>,
    pub status: Status,
    pub phase: Option<crate::pipeline::Phase>,
    pub progress: Option<Progress>,
    pub attempt: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    #[schema(value_type = crate::contract::spec::Spec)]
    pub spec: serde_json::Value,
    pub result: Option<ResultLocation>,
    pub verdict: Option<crate::pipeline::Verdict>,
    pub recommendation: Option<crate::pipeline::Recommendation>,
    pub metrics: Option<serde_json::Value>,
    pub error: Option<JobError>,
    pub metadata: serde_json::Value,
    /// The wait for the external gate. Absent where there is none, and until the result is staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<ExternalEvaluation>,
    /// The retune that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub retune: Option<RetuneId>,
    /// The fine-tune that it carries over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tune: Option<String>,
    /// Counts changes of the row; the weak `ETag`.
    #[serde(skip)]
    pub revision: i64,
}
