//! The codes of the API's refusals, each with the one status that it comes with.
//!
//! A refusal of a job's specification has the [`FailureCode`] that the job would end with.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};

use crate::contract::codes::FailureCode;

/// Declares the codes.
macro_rules! codes {
    ($($(#[$documentation:meta])* $value:ident = $text:literal, $status:ident;)+) => {
        /// What a program may decide by, where texts may change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemCode {
            $($(#[$documentation])* $value,)+
        }

        impl ProblemCode {
            /// Every code, by status.
            pub const ALL: &[Self] = &[$(Self::$value,)+];

            /// As it is in `code`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }

            /// The status of the answer.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$value => StatusCode::$status,)+
                }
            }
        }
    };
}

codes! {
    /// The body broke off.
    UnreadableBody = "unreadable_body", BAD_REQUEST;
    /// The body is no JSON.
    MalformedJson = "malformed_json", BAD_REQUEST;
    /// No key, or none that holds.
    Unauthenticated = "unauthenticated", UNAUTHORIZED;
    /// The key's role is too low.
    Forbidden = "forbidden", FORBIDDEN;
    /// Only an administrator's key moves the alias.
    AliasProtected = "alias_protected", FORBIDDEN;
    /// A service without keys was asked from elsewhere.
    ForeignOrigin = "foreign_origin", FORBIDDEN;
    /// There is no such thing, or it is another tenant's.
    NotFound = "not_found", NOT_FOUND;
    /// Nothing is served at this path.
    NoSuchRoute = "no_such_route", NOT_FOUND;
    /// The transfer has no result.
    NoResult = "no_result", NOT_FOUND;
    /// The result was removed from the store.
    ResultGone = "result_gone", NOT_FOUND;
    /// The path does not know this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The body did not come in time.
    BodyTooSlow = "body_too_slow", REQUEST_TIMEOUT;
    /// It was judged otherwise before.
    AlreadyEvaluated = "already_evaluated", CONFLICT;
    /// Another transfer carries the fine-tune onto this base, or has done so.
    CarriedAlready = "carried_already", CONFLICT;
    /// The webhook endpoint is switched off.
    EndpointDisabled = "endpoint_disabled", CONFLICT;
    /// Something else refers to it.
    InUse = "in_use", CONFLICT;
    /// Its state does not allow this.
    InvalidState = "invalid_state", CONFLICT;
    /// The version is not the one in use.
    NotCurrent = "not_current", CONFLICT;
    /// There is no version to go back to.
    NothingBefore = "nothing_before", CONFLICT;
    /// No fine-tune is to be carried.
    NothingToDo = "nothing_to_do", CONFLICT;
    /// The tenant has as many webhook endpoints as it may.
    TooManyEndpoints = "too_many_endpoints", CONFLICT;
    /// The version is registered with another model.
    VersionConflict = "version_conflict", CONFLICT;
    /// A rejected version is not promoted.
    VersionRejected = "version_rejected", CONFLICT;
    /// It is not what `If-Match` names.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED;
    /// The body is larger than the service accepts.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE;
    /// The body is compressed.
    UnsupportedContentEncoding = "unsupported_content_encoding", UNSUPPORTED_MEDIA_TYPE;
    /// The body is not announced as JSON.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    /// The file has no such bytes.
    RangeNotSatisfiable = "range_not_satisfiable", RANGE_NOT_SATISFIABLE;
    /// The service posts to no such address.
    AddressNotAllowed = "address_not_allowed", UNPROCESSABLE_ENTITY;
    /// The `Idempotency-Key` came with another body before.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY;
    /// A field of the body is at fault.
    InvalidBody = "invalid_body", UNPROCESSABLE_ENTITY;
    /// The `Idempotency-Key` is none.
    InvalidIdempotencyKey = "invalid_idempotency_key", UNPROCESSABLE_ENTITY;
    /// A query parameter is at fault.
    InvalidQuery = "invalid_query", UNPROCESSABLE_ENTITY;
    /// A text has a character that cannot be stored.
    InvalidText = "invalid_text", UNPROCESSABLE_ENTITY;
    /// There is no model at the location.
    NoModel = "no_model", UNPROCESSABLE_ENTITY;
    /// There is no such fine-tune.
    UnknownFineTune = "unknown_fine_tune", UNPROCESSABLE_ENTITY;
    /// There is no such version.
    UnknownVersion = "unknown_version", UNPROCESSABLE_ENTITY;
    /// The tenant has as many transfers as it may.
    QuotaExceeded = "quota_exceeded", TOO_MANY_REQUESTS;
    /// The key has made as many requests as it may in a second.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS;
    /// The key has as many streams open as it may.
    TooManyStreams = "too_many_streams", TOO_MANY_REQUESTS;
    /// A fault of this program.
    Internal = "internal", INTERNAL_SERVER_ERROR;
    /// The store does not answer.
    StorageUnavailable = "storage_unavailable", BAD_GATEWAY;
    /// As many of these are under way as there is room for.
    Busy = "busy", SERVICE_UNAVAILABLE;
    /// The database does not answer.
    DatabaseUnavailable = "database_unavailable", SERVICE_UNAVAILABLE;
    /// The service cannot do its work at the moment.
    NotReady = "not_ready", SERVICE_UNAVAILABLE;
    /// No answer was found in time.
    Timeout = "timeout", SERVICE_UNAVAILABLE;
}

/// Of a refusal: the API's own code, or that of the job that would fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    Own(ProblemCode),
    OfJob(FailureCode),
}

impl RefusalCode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Own(code) => code.name(),
            Self::OfJob(code) => code.name(),
        }
    }
}

impl Serialize for RefusalCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl From<ProblemCode> for RefusalCode {
    fn from(code: ProblemCode) -> Self {
        Self::Own(code)
    }
}

impl From<FailureCode> for RefusalCode {
    fn from(code: FailureCode) -> Self {
        Self::OfJob(code)
    }
}
