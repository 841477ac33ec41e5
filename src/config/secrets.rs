//! Secrets from files, as orchestrators mount them: `NAME_FILE` names the file that has what `NAME` would say.

use std::fs;

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{0} and {0}_FILE are both set; set one of them")]
    Twice(String),
    #[error("{name}_FILE names {path}, which cannot be read: {source}")]
    File {
        name: String,
        path: String,
        source: std::io::Error,
    },
}

/// What a variable of this process says, or the file that its `_FILE` names.
///
/// # Errors
/// Both are set, or the file cannot be read.
pub fn variable(name: &str) -> Result<Option<String>, SecretError> {
    look_up(name, |name| std::env::var(name).ok())
}

/// The same in another environment. Of a file the line break at its end is no part of the secret.
///
/// # Errors
/// As [`variable`].
pub fn look_up(
    name: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<String>, SecretError> {
    let path = environment(&format!("{name}_FILE")).filter(|path| !path.is_empty());
    match (environment(name), path) {
        (Some(_), Some(_)) => Err(SecretError::Twice(name.to_owned())),
        (value, None) => Ok(value),
        (None, Some(path)) => match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned())),
            Err(source) => Err(SecretError::File {
                name: name.to_owned(),
                path,
                source,
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_the_variable_or_from_the_file_but_not_from_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "rt_x y\n").unwrap();
        let path = path.display().to_string();
        let of = |pairs: &[(&str, &str)]| {
            look_up("KEY", |name| {
                let found = pairs.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[("KEY", "a")]).unwrap().as_deref(), Some("a"));
        assert_eq!(
            of(&[("KEY_FILE", &path)]).unwrap().as_deref(),
            Some("rt_x y")
        );
        assert_eq!(
            of(&[("KEY", "a"), ("KEY_FILE", "")]).unwrap().as_deref(),
            Some("a")
        );
        let twice = of(&[("KEY", "a"), ("KEY_FILE", &path)])
            .unwrap_err()
            .to_string();
        assert_eq!(twice, "KEY and KEY_FILE are both set; set one of them");
        assert!(
            of(&[("KEY_FILE", "/nothing/here")])
                .unwrap_err()
                .to_string()
                .contains("/nothing/here")
        );
    }
}
