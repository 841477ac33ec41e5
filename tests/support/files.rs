//! Storage on a folder of its own.

use std::{fs, path::Path};

use retune::storage::{S3Config, Storage, StorageConfig};
use tokio::runtime::Runtime;

/// A runtime and storage bound to one folder.
pub struct TestStorage {
    pub runtime: Runtime,
    pub storage: Storage,
    pub dir: tempfile::TempDir,
}

impl TestStorage {
    /// Storage whose only root is `objects/` of a new folder.
    pub fn on_files() -> Self {
        Self::with(&[], S3Config::default())
    }

    /// Storage with these roots instead.
    pub fn with(roots: &[&str], s3: S3Config) -> Self {
        Self::with_runtime(Runtime::new().unwrap(), roots, s3)
    }

    /// The same on a runtime that runs already.
    pub fn with_runtime(runtime: Runtime, roots: &[&str], s3: S3Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("objects")).unwrap();
        fs::create_dir(dir.path().join("scratch")).unwrap();
        let config = StorageConfig {
            roots: roots.iter().map(ToString::to_string).collect(),
            s3,
            state_dirs: vec![dir.path().to_owned()],
            data_objects: dir.path().join("objects"),
            ..StorageConfig::default()
        };
        let storage = Storage::new(config, runtime.handle().clone()).unwrap();
        Self {
            runtime,
            storage,
            dir,
        }
    }

    pub fn objects(&self) -> std::path::PathBuf {
        self.dir.path().join("objects")
    }

    pub fn scratch(&self) -> std::path::PathBuf {
        self.dir.path().join("scratch")
    }

    /// The URI of a path under `objects/`.
    pub fn uri(&self, path: &str) -> String {
        format!("file://{}", self.objects().join(path).display())
    }

    /// Puts a file under `objects/`.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.objects().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Bytes that no two parts of a file share.
pub fn noise(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}
