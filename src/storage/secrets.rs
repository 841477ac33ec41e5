//! Secrets of Google Cloud Storage and of Azure, by the variables that these stores' libraries read.

/// The variables that hold a secret. Others name files, or are no secret.
pub const SECRET_VARIABLES: [&str; 12] = [
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_BEARER_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_ENCRYPTION_KEY",
    "AZURE_FABRIC_SESSION_TOKEN",
];

/// What such a variable would hold. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSecret {
    /// Of [`SECRET_VARIABLES`].
    pub variable: &'static str,
    pub value: String,
}

impl StoreSecret {
    /// The name of the setting, where it is one of this store's.
    pub(super) fn setting(&self, store: &str) -> Option<String> {
        let setting = self.variable.to_ascii_lowercase();
        setting.starts_with(store).then_some(setting)
    }
}

impl std::fmt::Debug for StoreSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreSecret({} …)", self.variable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_and_belongs_to_one_store() {
        let secret = StoreSecret {
            variable: "GOOGLE_BEARER_TOKEN",
            value: "hunter1".into(),
        };
        assert!(!format!("{secret:?}").contains("hunter1"));
        assert_eq!(
            secret.setting("google_").as_deref(),
            Some("google_bearer_token")
        );
        assert_eq!(secret.setting("azure_"), None);
    }
}
