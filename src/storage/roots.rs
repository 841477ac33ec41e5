//! Which locations this process may use.

use std::{
    ffi::OsString,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{
    StorageConfig,
    location::{Location, LocationError, Store},
};

/// How to mend a refusal.
const ADVICE: &str = "set RETUNE_STORAGE_ROOTS (or storage.roots) to include it";
/// The same where the tenant has roots of its own.
const ADVICE_OF_TENANT: &str = "storage.tenant_roots has to include it";

#[derive(Debug)]
pub(super) enum Roots {
    /// Local commands: the user's own permissions decide.
    Any,
    Bound {
        roots: Vec<Location>,
        /// The service's own folders, and the part of them that holds objects.
        state: Vec<PathBuf>,
        objects: PathBuf,
        advice: &'static str,
    },
}

impl Roots {
    pub(super) fn bound(config: &StorageConfig) -> Result<Self, LocationError> {
        let mut roots = read(&config.roots)?;
        if roots.is_empty() {
            roots.push(Location::from_path(&config.data_objects)?);
        }

        let (state, objects) = (config.state_dirs.clone(), config.data_objects.clone());
        Ok(Self::Bound {
            roots,
            state,
            objects,
            advice: ADVICE,
        })
    }

    /// Other roots in place of these, of one tenant; of none nothing is allowed. The state folders are
    /// the same.
    pub(super) fn replaced(&self, roots: &[String]) -> Result<Self, LocationError> {
        let roots = read(roots)?;
        let (state, objects) = match self {
            Self::Any => Default::default(),
            Self::Bound { state, objects, .. } => (state.clone(), objects.clone()),
        };

        Ok(Self::Bound {
            roots,
            state,
            objects,
            advice: ADVICE_OF_TENANT,
        })
    }

    /// Refuses what lies outside the roots, by name or through symlinks, and the state folder.
    /// Returns the path of a file location (of others: an empty one).
    pub(super) fn check(&self, location: &Location) -> Result<PathBuf, LocationError> {
        let path = location.path().unwrap_or_default();
        let Self::Bound { roots, advice, .. } = self else {
            return Ok(path);
        };

        if !roots.iter().any(|root| location.is_under(root)) {
            let shown: Vec<String> = roots.iter().map(ToString::to_string).collect();
            let detail = format!(
                "lies outside the allowed roots ({}); {advice}",
                shown.join(", ")
            );
            return Err(refused(location, detail));
        }

        if location.store == Store::File {
            self.judge(
                location,
                &resolve(&path).map_err(|detail| refused(location, detail))?,
            )?;
        }
        Ok(path)
    }

    /// Refuses what really lies outside the roots, or in a state folder: `real` holds no symlink.
    pub(super) fn judge(&self, location: &Location, real: &Path) -> Result<(), LocationError> {
        let Self::Bound {
            roots,
            state,
            objects,
            advice,
        } = self
        else {
            return Ok(());
        };

        let mut inside = false;
        for root in roots.iter().filter_map(Location::path) {
            inside |= real.starts_with(resolve(&root).map_err(|detail| refused(location, detail))?);
        }

        if !inside {
            let detail = format!("a symlink leads out of the allowed roots; {advice}");
            return Err(refused(location, detail));
        }

        for folder in state {
            if real.starts_with(resolve(folder).map_err(|detail| refused(location, detail))?)
                && !real.starts_with(resolve(objects).map_err(|detail| refused(location, detail))?)
            {
                let detail = "is a state folder of this service; use another folder";
                return Err(refused(location, detail));
            }
        }

        Ok(())
    }
}

fn refused(location: &Location, detail: impl Into<String>) -> LocationError {
    LocationError::not_allowed(&location.to_string(), detail)
}

fn read(roots: &[String]) -> Result<Vec<Location>, LocationError> {
    let read = roots.iter().map(|text| {
        let root = Location::from_uri_or_path(text)?;
        if root.names_a_branch() {
            // What lies there is read at the commit that the branch is, which is no such place.
            let detail = "names a branch or a tag, which moves; write the root without a revision, or \
                          with a commit";
            return Err(LocationError::malformed(text, detail));
        }
        Ok(root)
    });
    read.collect()
}

/// The path with every symlink of its existing part followed.
fn resolve(path: &Path) -> Result<PathBuf, String> {
    let mut existing = path;
    let mut missing: Vec<OsString> = Vec::new();
    loop {
        match existing.canonicalize() {
            Ok(real) => {
                return Ok(missing
                    .into_iter()
                    .rev()
                    .fold(real, |path, part| path.join(part)));
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                // Writing through a dangling link would create its target, wherever that is.
                if fs::symlink_metadata(existing).is_ok_and(|found| found.is_symlink()) {
                    return Err(format!("{} is a symlink to nothing", existing.display()));
                }
            }
            Err(error) => return Err(format!("cannot examine {}: {error}", existing.display())),
        }
        let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
            return Err("cannot be resolved".into());
        };
        missing.push(name.to_owned());
        existing = parent;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::contract::codes::FailureCode;

    fn bound(config: &StorageConfig) -> impl Fn(&Path) -> Result<PathBuf, LocationError> + use<> {
        let roots = Roots::bound(config).unwrap();
        move |path| roots.check(&Location::from_uri(&format!("file://{}", path.display())).unwrap())
    }

    #[test]
    fn a_name_that_begins_like_a_root_is_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::create_dir(dir.path().join("root2")).unwrap();
        let check = bound(&StorageConfig {
            roots: vec![format!("file://{}", root.display())],
            ..StorageConfig::default()
        });
        assert!(check(&root.join("model/x")).is_ok());
        let error = check(&dir.path().join("root2/x")).unwrap_err();
        assert_eq!(error.code, FailureCode::LocationNotAllowed);
        assert!(error.detail.contains("RETUNE_STORAGE_ROOTS"), "{error}");
    }

    #[test]
    fn symlinks_may_move_about_inside_the_roots_only() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir_all(root.join("real")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink("real", root.join("inner")).unwrap();
        symlink(&outside, root.join("escape")).unwrap();
        symlink(dir.path().join("nothing"), root.join("dangling")).unwrap();
        let check = bound(&StorageConfig {
            roots: vec![root.to_str().unwrap().into()],
            ..StorageConfig::default()
        });
        assert!(check(&root.join("inner/new/file")).is_ok());
        assert_eq!(
            check(&root.join("escape/x")).unwrap_err().code,
            FailureCode::LocationNotAllowed
        );
        assert_eq!(
            check(&root.join("dangling")).unwrap_err().code,
            FailureCode::LocationNotAllowed
        );
        assert_eq!(
            check(&root.join("dangling/x")).unwrap_err().code,
            FailureCode::LocationNotAllowed
        );
    }

    #[test]
    fn a_tenants_roots_stand_in_place_of_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str| dir.path().join(name);
        let text = |name: &str| folder(name).to_str().unwrap().to_owned();
        for name in ["shared/state", "own"] {
            fs::create_dir_all(folder(name)).unwrap();
        }
        symlink(folder("shared"), folder("own/link")).unwrap();
        let shared = Roots::bound(&StorageConfig {
            roots: vec![text("shared"), text("own")],
            state_dirs: vec![folder("shared/state")],
            data_objects: folder("objects"),
            ..StorageConfig::default()
        });
        let shared = shared.unwrap();
        let check = |roots: &Roots, name: &str| {
            let checked = roots.check(&Location::from_path(&folder(name)).unwrap());
            checked.map(|_| ()).map_err(|error| error.detail)
        };
        let own = shared.replaced(&[text("own")]).unwrap();
        assert_eq!(check(&own, "own/x"), Ok(()));
        let error = check(&own, "shared/x").unwrap_err();
        assert!(
            error.contains("tenant_roots") && !error.contains("/shared"),
            "{error}"
        );
        let linked = Location::from_uri(&format!("file://{}", text("own/link/x"))).unwrap();
        assert_eq!(
            own.check(&linked).unwrap_err().code,
            FailureCode::LocationNotAllowed
        );
        // A tenant's root does not open the service's own folders.
        let state = shared.replaced(&[text("shared/state")]).unwrap();
        assert!(
            check(&state, "shared/state/x")
                .unwrap_err()
                .contains("state folder")
        );
        let none = shared.replaced(&[]).unwrap();
        assert!(check(&none, "objects/x").is_err());
    }

    #[test]
    fn the_state_folder_is_no_location_even_inside_a_root() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let cache = dir.path().join("cache");
        fs::create_dir_all(state.join("postgres")).unwrap();
        symlink(state.join("postgres"), dir.path().join("link")).unwrap();
        let check = bound(&StorageConfig {
            roots: vec![dir.path().to_str().unwrap().into()],
            state_dirs: vec![state.clone(), cache.clone()],
            data_objects: state.join("objects"),
            ..StorageConfig::default()
        });
        assert!(check(&dir.path().join("models")).is_ok());
        assert!(check(&state.join("objects/model")).is_ok());
        for refused in [
            state.clone(),
            state.join("postgres"),
            dir.path().join("link/base"),
            cache.join("x"),
        ] {
            assert_eq!(
                check(&refused).unwrap_err().code,
                FailureCode::LocationNotAllowed,
                "{refused:?}"
            );
        }
    }

    #[test]
    fn without_roots_the_objects_folder_is_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let check = bound(&StorageConfig {
            data_objects: dir.path().join("objects"),
            ..StorageConfig::default()
        });
        assert!(check(&dir.path().join("objects/x")).is_ok());
        assert!(check(&dir.path().join("else")).is_err());
    }
}
