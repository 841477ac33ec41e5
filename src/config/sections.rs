//! The sections of the settings.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use serde::Deserialize;
use uuid::Uuid;

use crate::contract::device::DeviceChoice;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Empty: a private server under the data dir.
    pub url: String,
    /// Folder of `initdb` and `postgres`; empty: the usual places.
    pub pg_bin: String,
    pub connections: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub listen: SocketAddr,
    /// Bytes.
    pub body_limit: usize,
    #[serde(rename = "request_timeout_seconds", deserialize_with = "seconds")]
    pub request_timeout: Duration,
    #[serde(rename = "shutdown_timeout_seconds", deserialize_with = "seconds")]
    pub shutdown_timeout: Duration,
    /// Requests a second and key; 0: no limit.
    pub rate_limit: u32,
    #[serde(rename = "header_timeout_seconds", deserialize_with = "seconds")]
    pub header_timeout: Duration,
    #[serde(rename = "write_timeout_seconds", deserialize_with = "seconds")]
    pub write_timeout: Duration,
    /// 0: no limit.
    pub max_connections: usize,
    /// 0: no limit.
    pub connections_per_address: usize,
    /// Event streams and long polls of one key; 0: no limit.
    pub streams_per_key: usize,
    /// Whose `X-Forwarded-For` is believed, and who connect for many.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// Empty: `<data dir>/objects/` alone; see [`Settings::storage_roots`](crate::config::Settings::storage_roots).
    pub roots: Vec<String>,
    pub s3: S3,
    pub hub: Hub,
    /// By the tenant's id: the environment variable that has its token for the hub.
    pub hub_tokens: BTreeMap<Uuid, String>,
    /// By the tenant's id.
    pub credentials: BTreeMap<Uuid, CredentialVariables>,
    /// By the tenant's id, in place of `roots`.
    pub tenant_roots: BTreeMap<Uuid, Vec<String>>,
}

/// The environment variables that have a tenant's keys for S3.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialVariables {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Only temporary keys have one.
    pub session_token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    pub endpoint: String,
    pub region: String,
    pub allow_http: bool,
    pub path_style: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    pub endpoint: String,
    pub allow_http: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Worker processes started by `serve`.
    pub processes: usize,
    #[serde(rename = "lease_seconds", deserialize_with = "seconds")]
    pub lease: Duration,
    #[serde(rename = "beat_seconds", deserialize_with = "seconds")]
    pub beat: Duration,
    #[serde(rename = "poll_seconds", deserialize_with = "seconds")]
    pub poll: Duration,
    #[serde(rename = "sweep_seconds", deserialize_with = "seconds")]
    pub sweep: Duration,
    #[serde(rename = "backoff_seconds", deserialize_with = "seconds")]
    pub backoff: Duration,
    pub max_attempts: i32,
    /// What a job's plan may hold, in bytes; 0: what the machine or its control group has.
    pub memory_bytes: u64,
    #[serde(deserialize_with = "device")]
    pub device: DeviceChoice,
    /// What a job may hold in a GPU's memory, in bytes; 0: 4 GiB.
    pub device_memory_bytes: u64,
    /// For a worker that can read a specification.
    #[serde(rename = "unreadable_seconds", deserialize_with = "seconds")]
    pub unreadable: Duration,
    /// Empty: `<data dir>/scratch`.
    pub scratch_dir: String,
    /// Empty: `<data dir>/cache`; `none`: no cache.
    pub cache_dir: String,
}

/// How results are signed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// Empty: results are not signed.
    pub key_file: String,
}

/// What a tenant may use where its own row does not say; 0: no limit.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    pub queued_transfers: u32,
    pub compute_seconds_per_day: u32,
    pub result_bytes_per_day: u64,
}

/// How what was announced is looked at.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    #[serde(rename = "lease_seconds", deserialize_with = "seconds")]
    pub lease: Duration,
    #[serde(rename = "poll_seconds", deserialize_with = "seconds")]
    pub poll: Duration,
    #[serde(rename = "backoff_seconds", deserialize_with = "seconds")]
    pub backoff: Duration,
    #[serde(rename = "give_up_seconds", deserialize_with = "seconds")]
    pub give_up: Duration,
    #[serde(rename = "card_seconds", deserialize_with = "seconds")]
    pub card: Duration,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    #[serde(rename = "timeout_seconds", deserialize_with = "seconds")]
    pub timeout: Duration,
    #[serde(rename = "backoff_seconds", deserialize_with = "seconds")]
    pub backoff: Duration,
    #[serde(rename = "give_up_seconds", deserialize_with = "seconds")]
    pub give_up: Duration,
    #[serde(rename = "poll_seconds", deserialize_with = "seconds")]
    pub poll: Duration,
    /// Posts that one process has open at once.
    pub open_posts: usize,
    /// Of them, those of one tenant, whichever process sends them.
    pub open_posts_per_tenant: u32,
    /// Endpoints of one tenant; 0: no limit.
    pub endpoints_per_tenant: u32,
    /// Addresses of any kind, and plain http.
    pub allow_private: bool,
    #[serde(deserialize_with = "networks")]
    pub allowed_networks: Vec<IpNet>,
}

/// How much of the workers a retune may take that nobody began by hand; 0: any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retunes {
    pub max_concurrent: u16,
    pub max_compute_seconds: u32,
}

/// For how many days something is kept after its end; 0: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub deliveries_days: u32,
    pub arrivals_days: u32,
    pub audit_days: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A level, or directives as `info,sqlx=warn`.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

fn seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let value = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| serde::de::Error::custom("must be a number of seconds above zero"))
}

fn device<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<DeviceChoice, D::Error> {
    let word = String::deserialize(deserializer)?;
    word.parse()
        .map_err(|error| serde::de::Error::custom(format!("{word:?} {error}")))
}

fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let networks = texts.iter().map(|text| {
        text.parse().map_err(|_| {
            serde::de::Error::custom(format!("{text:?} is not a network; write 10.1.0.0/16"))
        })
    });
    networks.collect()
}
