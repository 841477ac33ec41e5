//! A service over the folder of a job.

use super::{Served, TestDatabase, retune_serve};
use crate::pipeline::case::Case;

/// A service with a worker, whose only root is the folder of a case.
pub struct CaseService {
    pub case: Case,
    pub served: Served,
    pub test: TestDatabase,
}

impl CaseService {
    pub async fn start() -> Self {
        let case = tokio::task::spawn_blocking(Case::fresh)
            .await
            .expect("no panic");
        let test = TestDatabase::fresh().await;
        let mut command = retune_serve("1", case.folder.path().join("data"));
        command
            .env("DATABASE_URL", &test.url)
            .env("RETUNE_STORAGE_ROOTS", case.uri(""));
        Self {
            served: Served::start(&mut command).await,
            case,
            test,
        }
    }
}
