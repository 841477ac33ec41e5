//! Whether each root of storage can be listed, and written to.

use bytes::Bytes;
use uuid::Uuid;

use super::finding::Finding;
use crate::{
    cli::open_storage,
    config::Settings,
    contract::codes::FailureCode,
    storage::{Location, Storage, StorageError},
};

pub async fn look(settings: &Settings) -> Vec<Finding> {
    let storage = match open_storage(settings) {
        Ok(storage) => storage,
        Err(error) => {
            let mend =
                "write each root as s3://bucket/prefix/, gs://, az:// or file:///absolute/path/";
            return vec![Finding::trouble(
                "storage roots",
                format!("{error:#}"),
                mend,
            )];
        }
    };

    let mut findings = Vec::new();
    for root in settings.storage_roots() {
        findings.push(of_root(&storage, &root).await);
    }

    for (tenant, roots) in &settings.storage.tenant_roots {
        for root in roots {
            findings.push(of_root(&storage.of(*tenant), root).await);
        }
    }
    findings
}

async fn of_root(storage: &Storage, root: &str) -> Finding {
    let subject = format!("root {root}");
    let folder = match storage.check_location(root) {
        Ok(folder) => folder,
        Err(error) => {
            return Finding::trouble(
                subject,
                error.to_string(),
                "mend storage.roots in the settings",
            );
        }
    };

    match probe(storage, &folder).await {
        Ok(()) => Finding::ok(subject, "can be listed and written"),
        Err(error) => {
            let mend = way_out(root, &error);
            Finding::trouble(subject, error.to_string(), mend)
        }
    }
}

/// Lists the root, writes an object of a name that nobody has, and removes it.
async fn probe(storage: &Storage, folder: &Location) -> Result<(), StorageError> {
    storage.list(folder).await?;
    let probe = folder.child(&format!("retune-doctor-{}", Uuid::new_v4()))?;
    storage.publish_bytes(&probe, Bytes::new()).await?;
    storage.delete_object(&probe).await
}

fn way_out(root: &str, error: &StorageError) -> String {
    let keys = "give the process credentials for the bucket (AWS_*, GOOGLE_*, AZURE_*) that may list, \
                read, write and delete below the root";
    match error.code() {
        _ if root.starts_with("file://") => {
            "make the folder, and let this user write in it".to_owned()
        }
        FailureCode::StorageDenied => keys.to_owned(),
        FailureCode::NotFound => "make the bucket, or mend its name in storage.roots".to_owned(),
        _ => format!("look at storage.s3.endpoint and the network; {keys}"),
    }
}
