//! Settings: `config/default.toml` < a file < the environment < the command line.
//!
//! The default file names every key and is compiled in; it is also the documentation. A file given
//! by `--config` may name some of them; an unknown key is refused. Each key `section.key` can be
//! set by the environment as `RETUNE_SECTION_KEY` (lists comma-separated), some also by the shorter
//! or customary names; with `_FILE` behind it, a variable names the file that has the value ([`secrets`]). The command line then sets fields of [`Settings`] directly.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

mod layers;
pub mod secrets;
mod sections;

use layers::SettingsFile;
pub use sections::{
    Arrivals, CredentialVariables, Database, Http, Hub, Log, LogFormat, Quotas, Retention, Retunes,
    S3, Signing, Storage, Webhooks, Worker,
};

/// Every key with its default and what it means.
pub const DEFAULT: &str = include_str!("../config/default.toml");

/// How this process runs. An empty text stands for "not set".
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Empty: see [`Settings::data_dir`].
    pub data_dir: String,
    pub database: Database,
    pub http: Http,
    pub storage: Storage,
    pub worker: Worker,
    pub signing: Signing,
    pub quotas: Quotas,
    pub arrivals: Arrivals,
    pub webhooks: Webhooks,
    pub retunes: Retunes,
    pub retention: Retention,
    pub log: Log,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the settings file {path} cannot be read: {source}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{origin} is not valid: {detail}; config/default.toml shows every key")]
    Invalid { origin: String, detail: String },
    #[error(transparent)]
    Secret(#[from] secrets::SecretError),
}

impl ConfigError {
    fn invalid(origin: &str, detail: &str) -> Self {
        Self::Invalid {
            origin: origin.into(),
            detail: detail.into(),
        }
    }
}

impl Settings {
    /// The settings of this process: defaults, then `file`, then the environment.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file or variable at fault.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = file
            .map(|path| {
                fs::read_to_string(path).map_err(|source| ConfigError::File {
                    path: path.to_owned(),
                    source,
                })
            })
            .transpose()?;
        let file = file
            .zip(text.as_deref())
            .map(|(path, text)| SettingsFile { path, text });
        Self::combine(file, &std::env::vars().collect())
    }

    /// As [`Settings::load`] from given contents.
    fn combine(
        file: Option<SettingsFile<'_>>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let settings: Self = layers::combine(file, environment)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.worker.beat * 2 > self.worker.lease {
            return Err(ConfigError::invalid(
                "worker",
                "lease_seconds must be at least twice beat_seconds",
            ));
        }

        if self.worker.max_attempts < 1 {
            return Err(ConfigError::invalid(
                "worker",
                "max_attempts must be at least 1",
            ));
        }
        if self.webhooks.open_posts < 1 || self.webhooks.open_posts_per_tenant < 1 {
            return Err(ConfigError::invalid(
                "webhooks",
                "open_posts and open_posts_per_tenant must be at least 1",
            ));
        }

        // Elsewhere an empty list is the default, which is no tenant's own.
        if let Some((tenant, _)) = self
            .storage
            .tenant_roots
            .iter()
            .find(|(_, own)| own.is_empty())
        {
            return Err(ConfigError::invalid(
                &format!("storage.tenant_roots.{tenant}"),
                "must name a root",
            ));
        }

        Ok(())
    }

    /// Where state is kept: `data_dir`, else `/var/lib/retune` as root, else the user's data folder.
    pub fn data_dir(&self) -> PathBuf {
        if !self.data_dir.is_empty() {
            let path = PathBuf::from(&self.data_dir);
            return std::path::absolute(&path).unwrap_or(path);
        }
        if nix::unistd::geteuid().is_root() {
            return PathBuf::from("/var/lib/retune");
        }
        std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))
            .map_or_else(|| PathBuf::from("retune-data"), |path| path.join("retune"))
    }

    /// The allowed roots; by default `<data dir>/objects/`.
    pub fn storage_roots(&self) -> Vec<String> {
        if self.storage.roots.is_empty() {
            return vec![format!(
                "file://{}/",
                self.data_dir().join("objects").display()
            )];
        }
        self.storage.roots.clone()
    }

    /// Where a worker puts what it needs while it computes.
    pub fn scratch_dir(&self) -> PathBuf {
        if self.worker.scratch_dir.is_empty() {
            return self.data_dir().join("scratch");
        }
        PathBuf::from(&self.worker.scratch_dir)
    }

    /// Where workers keep what other jobs and attempts can use; none where nothing is kept.
    pub fn cache_dir(&self) -> Option<PathBuf> {
        match self.worker.cache_dir.as_str() {
            "none" => None,
            "" => Some(self.data_dir().join("cache")),
            set => Some(PathBuf::from(set)),
        }
    }
}

impl Default for Settings {
    /// `config/default.toml` alone.
    fn default() -> Self {
        // A test parses the embedded file, so this cannot fail at run time.
        Self::combine(None, &BTreeMap::new()).expect("config/default.toml is valid")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with(file: &str, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let environment = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let path = Path::new("retune.toml");
        Settings::combine(Some(SettingsFile { path, text: file }), &environment)
    }

    /// No field has a default in code, so this fails when a key is missing from the file.
    #[test]
    fn the_default_file_names_every_key() {
        let settings = Settings::default();
        assert_eq!(settings.worker.lease, Duration::from_secs(30));
        assert_eq!(settings.worker.beat, Duration::from_secs(10));
        assert_eq!(settings.http.listen.port(), 8080);
    }

    #[test]
    fn every_key_of_the_default_file_is_commented() {
        let lines: Vec<_> = DEFAULT.lines().collect();
        for (i, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.contains(" = ") && !line.starts_with('#'))
        {
            assert!(lines[i - 1].starts_with('#'), "{line}");
        }
    }

    #[test]
    fn the_environment_comes_after_the_file() {
        let file =
            "[worker]\nlease_seconds = 4\nbeat_seconds = 0.5\n[storage]\nroots = ['file:///a/']";
        let settings = with(file, &[]).unwrap();
        assert_eq!(settings.worker.lease, Duration::from_secs(4));
        assert_eq!(settings.worker.beat, Duration::from_millis(500));
        assert_eq!(settings.storage_roots(), ["file:///a/"]);
        let environment = [
            ("RETUNE_WORKER_LEASE_SECONDS", "2.5"),
            ("RETUNE_STORAGE_ROOTS", "s3://models/, file:///b/"),
            ("RETUNE_STORAGE_S3_ALLOW_HTTP", "true"),
            ("DATABASE_URL", "postgres://db/x"),
            ("RETUNE_LISTEN", "127.0.0.1:0"),
        ];
        let mounted = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(mounted.path(), "postgres://db/mounted\n").unwrap();
        let by_file = [("DATABASE_URL_FILE", mounted.path().to_str().unwrap())];
        assert_eq!(
            with("", &by_file).unwrap().database.url,
            "postgres://db/mounted"
        );
        assert!(with("", &[("RETUNE_DATABASE_URL_FILE", "/nothing/here")]).is_err());
        let settings = with(file, &environment).unwrap();
        assert_eq!(settings.worker.lease, Duration::from_millis(2500));
        assert_eq!(settings.storage_roots(), ["s3://models/", "file:///b/"]);
        assert!(settings.storage.s3.allow_http);
        assert_eq!(settings.database.url, "postgres://db/x");
        assert_eq!(settings.http.listen.port(), 0);
    }

    #[test]
    fn tenants_may_have_credentials_of_their_own() {
        let table = "[storage.credentials.01890000-0000-7000-8000-000000000000]\n";
        let keys = "access_key_id = 'A'\nsecret_access_key = 'B'\n";
        let settings = with(&format!("{table}{keys}"), &[]).unwrap();
        let (tenant, names) = settings.storage.credentials.first_key_value().unwrap();
        assert_eq!(tenant.to_string(), "01890000-0000-7000-8000-000000000000");
        assert_eq!(
            (&*names.secret_access_key, &names.session_token),
            ("B", &None)
        );
        assert!(with(&format!("{table}{keys}role = 'C'"), &[]).is_err());
        assert!(with(&format!("[storage.credentials.vision]\n{keys}"), &[]).is_err());
    }

    #[test]
    fn tenants_may_have_roots_of_their_own() {
        let table = "[storage.tenant_roots]\n01890000-0000-7000-8000-000000000000 =";
        let settings = with(&format!("{table} ['s3://a/', 'file:///b/']"), &[]).unwrap();
        let (tenant, roots) = settings.storage.tenant_roots.first_key_value().unwrap();
        assert_eq!(tenant.to_string(), "01890000-0000-7000-8000-000000000000");
        assert_eq!(roots, &["s3://a/", "file:///b/"]);
        assert!(
            with(&format!("{table} []"), &[])
                .unwrap_err()
                .to_string()
                .contains("a root")
        );
        assert!(with(&format!("{table} 's3://a/'"), &[]).is_err());
        assert!(with("[storage.tenant_roots]\nvision = ['s3://a/']", &[]).is_err());
    }

    #[test]
    fn faults_name_where_they_are() {
        let message = |result: Result<Settings, ConfigError>| result.unwrap_err().to_string();
        assert!(
            message(with("[worker]\nleese = 3", &[]))
                .contains("retune.toml is not valid: unknown key worker.leese")
        );
        assert!(
            message(with("", &[("RETUNE_WORKER_PROCESSES", "two")]))
                .contains("RETUNE_WORKER_PROCESSES")
        );
        assert!(message(with("[worker]\nlease_seconds = 15", &[])).contains("twice"));
        assert!(message(with("[worker]\npoll_seconds = 0", &[])).contains("above zero"));
        assert!(message(with("[http]\nlisten = 'here'", &[])).contains("socket address"));
        let network = with(
            "",
            &[("RETUNE_WEBHOOKS_ALLOWED_NETWORKS", "10.0.0.0/8,home")],
        );
        assert!(message(network).contains("\"home\" is not a network"));
    }
}
