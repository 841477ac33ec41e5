//! A folder that is the only root.

use std::{fs, path::PathBuf, sync::LazyLock};

use retune::storage::{Location, Storage, StorageConfig};

pub static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

pub struct Folder {
    pub storage: Storage,
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        // Both live as long as the process.
        let runtime = Box::leak(Box::new(runtime.expect("a runtime")));
        let path = tempfile::tempdir().expect("a folder").keep();
        let roots = vec![format!("file://{}/", path.display())];
        let config = StorageConfig { roots, ..StorageConfig::default() };
        let storage = Storage::new(config, runtime.handle().clone()).expect("a root");
        Self { storage, path }
    }

    #[allow(dead_code)] // some targets only name files
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("our own folder");
        fs::write(path, bytes).expect("our own file");
    }

    pub fn location(&self, name: &str) -> Location {
        let uri = format!("file://{}", self.path.join(name).display());
        self.storage.check_location(&uri).expect("below the root")
    }
}
