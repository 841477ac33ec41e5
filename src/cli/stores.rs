//! The object stores that the settings and the environment name, with their keys, and the key that a command
//! signs with.

use std::collections::HashMap;

use anyhow::Context;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::{
    artifacts::signature::Signer,
    config::{Hub, S3, Settings, Signing, secrets},
    storage::{
        Credentials, HUB_TOKEN_VARIABLE, HubConfig, HubToken, S3Config, SECRET_VARIABLES, Storage,
        StorageConfig, StoreSecret, TenantStorage,
    },
};

/// The object stores of the settings. Call within a runtime.
///
/// # Errors
/// When a root is not a location.
pub fn open_storage(settings: &Settings) -> anyhow::Result<Storage> {
    let data_dir = settings.data_dir();
    let config = StorageConfig {
        roots: settings.storage.roots.clone(),
        s3: s3_config(&settings.storage.s3),
        hub: hub_config(&settings.storage.hub)?,
        data_objects: data_dir.join("objects"),
        state_dirs: std::iter::once(data_dir)
            .chain(settings.cache_dir())
            .collect(),
    };
    let storage = Storage::new(config, Handle::current()).context("storage.roots")?;
    let storage = storage
        .with_credentials(own_credentials()?)
        .with_secrets(store_secrets()?);
    storage
        .with_tenants(tenant_storages(settings)?)
        .context("storage.tenant_roots")
}

/// Stores without roots, for the commands that run on this machine.
///
/// # Errors
/// A secret that is set twice, or cannot be read.
pub fn open_local(settings: &Settings, handle: Handle) -> anyhow::Result<Storage> {
    let token = secrets::variable(HUB_TOKEN_VARIABLE)?.and_then(HubToken::new);
    Ok(Storage::local(s3_config(&settings.storage.s3), handle)
        .with_credentials(own_credentials()?)
        .with_hub_token(token)
        .with_secrets(store_secrets()?))
}

/// The key that results are signed with, if the settings name one.
///
/// # Errors
/// A file that cannot be read, or has no such key.
pub fn open_signer(signing: &Signing) -> anyhow::Result<Option<Signer>> {
    if signing.key_file.is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&signing.key_file);
    let signer = text
        .map_err(anyhow::Error::from)
        .and_then(|text| Ok(Signer::from_pem(&text)?));
    signer
        .map(Some)
        .with_context(|| format!("signing.key_file {}", signing.key_file))
}

/// What the settings say of S3; an empty text stands for "not set".
fn s3_config(s3: &S3) -> S3Config {
    S3Config {
        endpoint: Some(s3.endpoint.clone()).filter(|text| !text.is_empty()),
        region: Some(s3.region.clone()).filter(|text| !text.is_empty()),
        allow_http: s3.allow_http,
        path_style: s3.path_style,
        ..S3Config::default()
    }
}

fn hub_config(hub: &Hub) -> anyhow::Result<HubConfig> {
    Ok(HubConfig {
        endpoint: Some(hub.endpoint.clone()).filter(|text| !text.is_empty()),
        allow_http: hub.allow_http,
        token: secrets::variable(HUB_TOKEN_VARIABLE)?.and_then(HubToken::new),
    })
}

/// The service's own keys for S3, where files have them; otherwise the usual variables say.
fn own_credentials() -> anyhow::Result<Option<Credentials>> {
    if std::env::var_os("AWS_SECRET_ACCESS_KEY_FILE").is_none() {
        return Ok(None);
    }
    Ok(Some(Credentials {
        access_key_id: secret("AWS_ACCESS_KEY_ID")?,
        secret_access_key: secret("AWS_SECRET_ACCESS_KEY")?,
        session_token: secrets::variable("AWS_SESSION_TOKEN")?,
    }))
}

/// The secrets of the other stores that files have. What stands in the variables themselves is read by the stores.
fn store_secrets() -> anyhow::Result<Vec<StoreSecret>> {
    let mut found = Vec::new();
    for variable in SECRET_VARIABLES {
        if std::env::var_os(format!("{variable}_FILE")).is_some() {
            let value = secrets::variable(variable)?;
            found.extend(value.map(|value| StoreSecret { variable, value }));
        }
    }
    Ok(found)
}

fn secret(name: &str) -> anyhow::Result<String> {
    secrets::variable(name)?.with_context(|| format!("neither {name} nor {name}_FILE is set"))
}

/// What the settings give to tenants alone.
fn tenant_storages(settings: &Settings) -> anyhow::Result<HashMap<Uuid, TenantStorage>> {
    let mut tenants: HashMap<Uuid, TenantStorage> = HashMap::new();
    for (tenant, credentials) in credentials(settings)? {
        tenants.entry(tenant).or_default().credentials = Some(credentials);
    }

    for (tenant, name) in &settings.storage.hub_tokens {
        let token = variable("hub_tokens", tenant, name)?;
        tenants.entry(*tenant).or_default().hub_token = HubToken::new(token);
    }

    for (tenant, roots) in &settings.storage.tenant_roots {
        tenants.entry(*tenant).or_default().roots = Some(roots.clone());
    }
    Ok(tenants)
}

const CREDENTIALS: &str = "credentials";

/// The keys that the settings refer to.
fn credentials(settings: &Settings) -> anyhow::Result<HashMap<Uuid, Credentials>> {
    let named = settings.storage.credentials.iter().map(|(tenant, names)| {
        let token = names
            .session_token
            .as_deref()
            .map(|name| variable(CREDENTIALS, tenant, name));
        let credentials = Credentials {
            access_key_id: variable(CREDENTIALS, tenant, &names.access_key_id)?,
            secret_access_key: variable(CREDENTIALS, tenant, &names.secret_access_key)?,
            session_token: token.transpose()?,
        };
        Ok((*tenant, credentials))
    });
    named.collect()
}

/// What a variable holds that the settings name for a tenant.
fn variable(table: &str, tenant: &Uuid, name: &str) -> anyhow::Result<String> {
    secrets::variable(name)?.with_context(|| {
        format!(
            "storage.{table}.{tenant} names the variable {name}, which is not set, nor {name}_FILE"
        )
    })
}
