//! Where the hub has what is asked for.

use url::Url;

use super::request::Hub;

impl Hub {
    /// The address of a file.
    pub(super) fn file(&self, repository: &str, path: &str) -> Url {
        let before: &[&str] = if self.repository.is_dataset {
            &["datasets"]
        } else {
            &[]
        };
        self.url(before, repository, "resolve", path)
    }

    /// The address of what the API says of a repository.
    pub(super) fn api(&self, repository: &str, what: &str, path: &str) -> Url {
        let kind = if self.repository.is_dataset {
            "datasets"
        } else {
            "models"
        };
        self.url(&["api", kind], repository, what, path)
    }

    /// The address of the objects of a repository that git keeps elsewhere.
    pub(super) fn large_objects(&self, repository: &str) -> Url {
        let mut url = self.server.address.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty();
            if self.repository.is_dataset {
                parts.push("datasets");
            }
            parts.extend(format!("{repository}.git").split('/'));
            parts.extend(["info", "lfs", "objects", "batch"]);
        }
        url
    }

    fn url(&self, before: &[&str], repository: &str, what: &str, path: &str) -> Url {
        let mut url = self.server.address.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts
                .pop_if_empty()
                .extend(before)
                .extend(repository.split('/'));
            // A revision is one part, whatever slashes it has.
            parts.push(what).push(self.repository.revision());
            parts.extend(path.split('/').filter(|part| !part.is_empty()));
        }

        url
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::{
        hub::{config::HubConfig, request::HubServer},
        location::HubRepository,
    };

    fn hub(is_dataset: bool, revision: &str) -> Hub {
        let config = HubConfig {
            endpoint: Some("https://hub.example/at".into()),
            ..HubConfig::default()
        };
        let repository = HubRepository {
            is_dataset,
            revision: Some(revision.into()),
        };

        Hub {
            server: Arc::new(HubServer::new(&config).unwrap()),
            repository,
        }
    }

    #[test]
    fn addresses_are_those_of_the_hub() {
        let (model, data) = (hub(false, "main"), hub(true, "refs/convert/parquet"));
        assert_eq!(
            model.file("org/name", "a b/c.json").as_str(),
            "https://hub.example/at/org/name/resolve/main/a%20b/c.json"
        );
        assert_eq!(
            model.api("org/name", "tree", "").as_str(),
            "https://hub.example/at/api/models/org/name/tree/main"
        );

        assert_eq!(
            data.file("org/name", "x").as_str(),
            "https://hub.example/at/datasets/org/name/resolve/refs%2Fconvert%2Fparquet/x"
        );
    }
}
