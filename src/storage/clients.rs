//! One client a bucket, made when first needed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
    memory::InMemory,
    multipart::MultipartStore,
};

use super::{
    Credentials, HubConfig, S3Config, StorageError, StoreSecret, TenantStorage,
    hub::{Hub, HubServer},
    location::{HubRepository, Location, LocationError, Store},
    tls::install_provider,
};

#[derive(Debug)]
pub(super) struct Clients {
    s3: S3Config,
    /// In place of the service's own.
    credentials: Option<Credentials>,
    /// In place of the variables of their names.
    secrets: Arc<[StoreSecret]>,
    hub: HubConfig,
    /// Made when first needed: there is one for all repositories, whose revisions are many.
    hub_server: Mutex<Option<Arc<HubServer>>>,
    open: Mutex<HashMap<Store, Client>>,
}

/// A store's client, as both of its interfaces.
#[derive(Clone)]
struct Client {
    objects: Arc<dyn ObjectStore>,
    parts: Arc<dyn MultipartStore>,
}

impl Client {
    fn new(store: impl ObjectStore + MultipartStore) -> Self {
        let store = Arc::new(store);
        Self {
            objects: Arc::clone(&store) as Arc<dyn ObjectStore>,
            parts: store,
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.objects.fmt(f)
    }
}

impl Clients {
    pub(super) fn new(s3: S3Config, hub: HubConfig) -> Self {
        let (hub_server, open) = (Mutex::default(), Mutex::default());
        Self {
            s3,
            credentials: None,
            secrets: Arc::default(),
            hub,
            hub_server,
            open,
        }
    }

    /// The same servers with a tenant's own keys for them; `None` where it has none.
    pub(super) fn replaced(&self, own: &TenantStorage) -> Option<Self> {
        if own.credentials.is_none() && own.hub_token.is_none() {
            return None;
        }
        let token = own.hub_token.clone().or_else(|| self.hub.token.clone());
        let hub = HubConfig {
            token,
            ..self.hub.clone()
        };
        let credentials = own.credentials.clone().or_else(|| self.credentials.clone());

        Some(Self {
            credentials,
            secrets: Arc::clone(&self.secrets),
            ..Self::new(self.s3.clone(), hub)
        })
    }

    /// The same servers with these secrets in place of the variables of their names.
    pub(super) fn with_secrets(&self, secrets: Vec<StoreSecret>) -> Self {
        Self {
            credentials: self.credentials.clone(),
            secrets: secrets.into(),
            ..Self::new(self.s3.clone(), self.hub.clone())
        }
    }

    /// The repositories of a location that a hub has.
    ///
    /// # Errors
    /// When the hub's address cannot be used.
    pub(super) fn hub(&self, repository: &HubRepository) -> object_store::Result<Hub> {
        let mut kept = self
            .hub_server
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let server = if let Some(server) = &*kept {
            Arc::clone(server)
        } else {
            Arc::clone(kept.insert(Arc::new(HubServer::new(&self.hub)?)))
        };

        Ok(Hub {
            server,
            repository: repository.clone(),
        })
    }

    /// Refuses servers over plain http unless configured.
    pub(super) fn check(&self, location: &Location) -> Result<(), LocationError> {
        if let Store::Hub(_) = &location.store {
            let address = self.hub.address();
            return address
                .map(drop)
                .map_err(|detail| LocationError::not_allowed(&location.to_string(), detail));
        }
        let Store::S3 { bucket } = &location.store else {
            return Ok(());
        };

        let builder = self.s3_builder(bucket);
        let endpoint = builder
            .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
            .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
        let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        let allowed = builder.get_config_value(&allow_http);
        let plain = endpoint.is_some_and(|url| !url.starts_with("https://"));
        if plain && allowed.as_deref() != Some("true") {
            let detail = "the S3 endpoint is not https; set storage.s3.allow_http if that is meant";
            return Err(LocationError::not_allowed(&location.to_string(), detail));
        }

        Ok(())
    }

    /// The store of a location that is no file.
    pub(super) fn of(&self, location: &Location) -> Result<Arc<dyn ObjectStore>, StorageError> {
        self.client(location).map(|client| client.objects)
    }

    /// The same, for uploads whose parts and end are told one by one.
    pub(super) fn parts(
        &self,
        location: &Location,
    ) -> Result<Arc<dyn MultipartStore>, StorageError> {
        self.client(location).map(|client| client.parts)
    }

    fn client(&self, location: &Location) -> Result<Client, StorageError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = open.get(&location.store) {
            return Ok(client.clone());
        }

        let client = self
            .connect(&location.store)
            .map_err(|error| StorageError::unavailable(location, &error))?;
        // A hub's are as many as there are revisions, and hold no connection of their own.
        if !matches!(location.store, Store::Hub(_)) {
            open.insert(location.store.clone(), client.clone());
        }
        Ok(client)
    }

    fn connect(&self, store: &Store) -> object_store::Result<Client> {
        install_provider();
        Ok(match store {
            Store::File => {
                let source = "files are opened, and not asked of a server".into();
                return Err(object_store::Error::NotSupported { source });
            }
            Store::Memory => Client::new(InMemory::new()),
            Store::Hub(repository) => Client::new(self.hub(repository)?),
            Store::S3 { bucket } => {
                Client::new(self.s3_builder(bucket).with_retry(retry()).build()?)
            }
            Store::Gs { bucket } => Client::new(
                self.google_builder()?
                    .with_bucket_name(bucket)
                    .with_client_options(patience(ClientOptions::new()))
                    .with_retry(retry())
                    .build()?,
            ),
            Store::Az { container } => Client::new(
                self.azure_builder()?
                    .with_container_name(container)
                    .with_client_options(patience(ClientOptions::new()))
                    .with_retry(retry())
                    .build()?,
            ),
        })
    }

    /// What the usual variables say, and the secrets that came otherwise.
    fn google_builder(&self) -> object_store::Result<GoogleCloudStorageBuilder> {
        let mut builder = GoogleCloudStorageBuilder::from_env();
        for secret in &*self.secrets {
            if let Some(setting) = secret.setting("google_") {
                builder = builder.with_config(setting.parse()?, &secret.value);
            }
        }
        Ok(builder)
    }

    fn azure_builder(&self) -> object_store::Result<MicrosoftAzureBuilder> {
        let mut builder = MicrosoftAzureBuilder::from_env();
        for secret in &*self.secrets {
            if let Some(setting) = secret.setting("azure_") {
                builder = builder.with_config(setting.parse()?, &secret.value);
            }
        }
        Ok(builder)
    }

    /// What the usual variables say. With credentials of a tenant's, no key, token or role of the
    /// service's own is taken from them.
    fn environment(&self) -> AmazonS3Builder {
        let Some(own) = &self.credentials else {
            return AmazonS3Builder::from_env();
        };
        let mut builder = AmazonS3Builder::new()
            .with_access_key_id(&own.access_key_id)
            .with_secret_access_key(&own.secret_access_key);
        if let Some(token) = &own.session_token {
            builder = builder.with_token(token);
        }

        for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            let key = name.to_ascii_lowercase().parse();
            if let Ok(key) = key
                && is_of_the_server(key)
            {
                builder = builder.with_config(key, value);
            }
        }

        builder
    }

    fn s3_builder(&self, bucket: &str) -> AmazonS3Builder {
        let environment = self.environment();
        let http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        let allow_http =
            self.s3.allow_http || environment.get_config_value(&http).as_deref() == Some("true");
        let mut builder = environment
            .with_bucket_name(bucket)
            .with_client_options(patience(ClientOptions::new().with_allow_http(allow_http)));
        if self.s3.anonymous && self.credentials.is_none() {
            builder = builder.with_skip_signature(true);
        }

        if let Some(region) = &self.s3.region {
            builder = builder.with_region(region);
        }

        match &self.s3.endpoint {
            Some(endpoint) if self.s3.path_style || names_an_address(endpoint) => {
                builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
            }
            Some(endpoint) => {
                let with_bucket = endpoint.replacen("://", &format!("://{bucket}."), 1);
                builder = builder
                    .with_config(AmazonS3ConfigKey::S3Endpoint, with_bucket)
                    .with_virtual_hosted_style_request(true);
            }
            None => {}
        }

        builder
    }
}

/// Says where and how, not who.
fn is_of_the_server(key: AmazonS3ConfigKey) -> bool {
    matches!(
        key,
        AmazonS3ConfigKey::Region
            | AmazonS3ConfigKey::DefaultRegion
            | AmazonS3ConfigKey::Endpoint
            | AmazonS3ConfigKey::S3Endpoint
            | AmazonS3ConfigKey::VirtualHostedStyleRequest
            | AmazonS3ConfigKey::Client(_)
    )
}

/// No bucket can stand in front of an IP address.
fn names_an_address(endpoint: &str) -> bool {
    let host = url::Url::parse(endpoint)
        .ok()
        .and_then(|url| url.host().map(|h| h.to_owned()));
    matches!(host, Some(url::Host::Ipv4(_) | url::Host::Ipv6(_)))
}

/// Large bodies may take long as long as they keep coming.
fn patience(options: ClientOptions) -> ClientOptions {
    options
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(10))
        .with_read_timeout(Duration::from_mins(1))
}

/// An outage of some twenty seconds is waited out within a request; what lasts longer costs a transfer
/// an attempt.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 4.0,
        },
        max_retries: 10,
        retry_timeout: Duration::from_mins(1),
    }
}

#[cfg(test)]
mod tests {
    use object_store::{azure::AzureConfigKey, gcp::GoogleConfigKey};

    use super::*;
    use crate::storage::SECRET_VARIABLES;

    #[test]
    fn every_secret_that_may_lie_in_a_file_is_a_setting_of_its_store() {
        let secrets = SECRET_VARIABLES.map(|variable| StoreSecret {
            variable,
            value: format!("of {variable}"),
        });
        let clients = Clients::new(S3Config::default(), HubConfig::default());
        let clients = clients.with_secrets(secrets.to_vec());
        let google = clients.google_builder().unwrap();
        let azure = clients.azure_builder().unwrap();
        let key = google.get_config_value(&GoogleConfigKey::ServiceAccountKey);
        assert_eq!(key.as_deref(), Some("of GOOGLE_SERVICE_ACCOUNT_KEY"));
        for (setting, last) in [
            (AzureConfigKey::AccessKey, "AZURE_STORAGE_MASTER_KEY"),
            (AzureConfigKey::SasKey, "AZURE_STORAGE_SAS_TOKEN"),
            (AzureConfigKey::Token, "AZURE_STORAGE_TOKEN"),
            (AzureConfigKey::ClientSecret, "AZURE_CLIENT_SECRET"),
        ] {
            let value = azure.get_config_value(&setting);
            assert_eq!(value, Some(format!("of {last}")));
        }
    }

    #[test]
    fn of_the_variables_a_tenant_takes_the_server_and_not_the_keys() {
        let taken = |name: &str| is_of_the_server(name.parse().unwrap());
        for name in [
            "aws_endpoint_url",
            "aws_region",
            "aws_default_region",
            "aws_allow_http",
        ] {
            assert!(taken(name), "{name}");
        }
        for name in [
            "aws_access_key_id",
            "aws_secret_access_key",
            "aws_session_token",
            "aws_role_arn",
            "aws_web_identity_token_file",
            "aws_skip_signature",
        ] {
            assert!(!taken(name), "{name}");
        }
    }

    #[test]
    fn an_address_takes_no_bucket_in_front() {
        assert!(names_an_address("http://127.0.0.1:9000"));
        assert!(names_an_address("https://[::1]"));
        assert!(!names_an_address("https://s3.example.org"));
        assert!(!names_an_address("not an address"));
    }
}
