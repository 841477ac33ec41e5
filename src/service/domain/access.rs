//! API keys and roles: what a key is made of and what it allows. The rows: `database::api_keys`.
//!
//! A key reads `rt_<12 characters>_<64 characters>`: a public prefix to look it up and list it by,
//! and 256 random bits. Only the SHA-256 of the whole is stored; it is compared in constant time.

use rand::{TryRngCore, rngs::OsRng};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::contract::{
    events::AuditAction,
    ids::{AuditEventId, KeyId, TenantId},
};

/// The tenant that every installation has.
pub const DEFAULT_TENANT: TenantId = TenantId(Uuid::nil());

/// What a key allows; each role includes those before it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
    sqlx::Type,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "api_key_role", rename_all = "snake_case")]
pub enum Role {
    /// See transfers and results.
    Read,
    /// Submit, cancel and retry.
    Submit,
    /// Keys and settings.
    Admin,
}

/// Who makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    pub tenant: TenantId,
    /// Absent when the service runs open.
    pub key_id: Option<KeyId>,
    pub role: Role,
}

impl Principal {
    /// Anyone at all, where the service runs open on loopback.
    pub const OPEN: Self = Self {
        tenant: DEFAULT_TENANT,
        key_id: None,
        role: Role::Admin,
    };
}

/// Who calls, as the caller sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Me {
    #[schema(value_type = Uuid)]
    pub tenant: TenantId,
    pub tenant_name: String,
    pub role: Role,
    /// From when on the key is refused; null: never.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// Null where the service runs open.
    pub key: Option<MyKey>,
    /// The folders and buckets under which everything that the tenant names must lie.
    pub roots: Vec<String>,
}

/// The key that a request came with.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MyKey {
    #[schema(value_type = Uuid)]
    pub id: KeyId,
    pub name: String,
    /// The public beginning of the key.
    pub prefix: String,
}

/// For whom something is done, and by which key where a request brought one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub tenant: TenantId,
    pub key: Option<KeyId>,
}

impl From<Principal> for Caller {
    fn from(principal: Principal) -> Self {
        Self {
            tenant: principal.tenant,
            key: principal.key_id,
        }
    }
}

/// The service itself, or its command line, for a tenant.
impl From<TenantId> for Caller {
    fn from(tenant: TenantId) -> Self {
        Self { tenant, key: None }
    }
}

/// Whether something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "audit_outcome", rename_all = "snake_case")]
pub enum AuditOutcome {
    Done,
    Refused,
}

/// What an entry of the audit log says was done, or asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedAction {
    Done(AuditAction),
    /// Method and route of a request that was refused.
    Refused(String),
    /// Done by another version of this program.
    Unknown(String),
}

impl RecordedAction {
    /// Of the columns of a row.
    pub fn of(outcome: AuditOutcome, text: String) -> Self {
        match outcome {
            AuditOutcome::Refused => Self::Refused(text),
            AuditOutcome::Done => AuditAction::of(&text).map_or(Self::Unknown(text), Self::Done),
        }
    }

    /// As it is written in JSON and in the database.
    pub fn text(&self) -> &str {
        match self {
            Self::Done(action) => action.name(),
            Self::Refused(text) | Self::Unknown(text) => text,
        }
    }
}

impl Serialize for RecordedAction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// One thing that somebody did, or was refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEvent {
    #[schema(value_type = Uuid)]
    pub id: AuditEventId,
    /// By which key; null where the service runs open, for the command line, and for what the service
    /// does by itself.
    #[schema(value_type = Option<Uuid>)]
    pub key: Option<KeyId>,
    /// `transfer.submit`, `api_key.revoke` …; of a refusal the method and route.
    #[schema(value_type = String)]
    pub action: RecordedAction,
    /// What it was done to, as the API names it below `/v1`.
    pub subject: String,
    pub outcome: AuditOutcome,
    /// Of a refusal, the problem's code.
    pub code: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Who owns keys, transfers and all the rest.
#[derive(Clone, Debug, Serialize)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Quotas of its own; `None`: as the settings say.
    pub queued_transfers: Option<i32>,
    pub compute_seconds_per_day: Option<i64>,
    pub result_bytes_per_day: Option<i64>,
}

/// A key as it is listed; the secret is not in it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiKey {
    #[schema(value_type = Uuid)]
    pub id: KeyId,
    #[schema(value_type = Uuid)]
    pub tenant: TenantId,
    pub name: String,
    pub role: Role,
    /// The public beginning of the key.
    pub prefix: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
}

const MARK: &str = "rt_";
const PREFIX_LENGTH: usize = MARK.len() + 12;
const SECRET_LENGTH: usize = PREFIX_LENGTH + 1 + 64;

/// A key as its owner holds it. `Debug` shows the prefix alone; there is no `==`, which would take
/// longer the more is guessed right.
#[derive(Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct Secret(String);

impl Secret {
    /// Draws a key from the operating system's randomness.
    ///
    /// # Errors
    /// When the operating system has none.
    pub fn draw() -> Result<Self, std::io::Error> {
        let mut bytes = [0_u8; 6 + 32];
        OsRng
            .try_fill_bytes(&mut bytes)
            .map_err(std::io::Error::other)?;
        let (public, secret) = bytes.split_at(6);
        Ok(Self(format!(
            "{MARK}{}_{}",
            hex::encode(public),
            hex::encode(secret)
        )))
    }

    /// Reads a key; nothing is said about whether it is known.
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed = text.len() == SECRET_LENGTH
            && text.is_ascii()
            && text.starts_with(MARK)
            && text.as_bytes()[PREFIX_LENGTH] == b'_';
        well_formed.then(|| Self(text.to_owned()))
    }

    /// What may be shown and stored.
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX_LENGTH]
    }

    /// What is stored to recognise the key.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// Whether `stored` is this key's digest, in constant time.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.sha256().ct_eq(stored).into()
    }

    /// The key itself, to be handed to its owner once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({}_…)", self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognised_by_its_digest_and_by_nothing_else() {
        let (one, other) = (Secret::draw().unwrap(), Secret::draw().unwrap());
        assert_eq!(Secret::parse(one.reveal()), Some(one.clone()));
        assert!(one.matches(&one.sha256()));
        assert!(!one.matches(&other.sha256()));
        assert!(!one.matches(&one.sha256()[..31]));
        assert!(one.reveal().starts_with(one.prefix()));
        assert!(!format!("{one:?}").contains(&one.reveal()[PREFIX_LENGTH + 1..]));
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        let key = Secret::draw().unwrap().reveal().to_owned();
        for text in [
            "",
            "rt_",
            &key[..key.len() - 1],
            &key.replace("rt_", "xx_"),
            &key.replace('_', "-"),
        ] {
            assert_eq!(Secret::parse(text), None, "{text}");
        }
        assert_eq!(Secret::parse(&"é".repeat(SECRET_LENGTH / 2)), None);
    }

    #[test]
    fn an_entry_says_what_was_done_whichever_version_wrote_it() {
        let (done, refused) = (AuditOutcome::Done, AuditOutcome::Refused);
        for (outcome, text, read) in [
            (
                done,
                "transfer.submit",
                RecordedAction::Done(AuditAction::TransferSubmit),
            ),
            (
                done,
                "transfer.pause",
                RecordedAction::Unknown("transfer.pause".into()),
            ),
            (
                refused,
                "POST /v1/transfers",
                RecordedAction::Refused("POST /v1/transfers".into()),
            ),
        ] {
            assert_eq!(RecordedAction::of(outcome, text.into()), read);
            assert_eq!(serde_json::to_value(&read).unwrap(), text);
        }
    }

    #[test]
    fn roles_rise() {
        assert!(Role::Read < Role::Submit && Role::Submit < Role::Admin);
    }
}
