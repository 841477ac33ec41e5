//! Small files of our own in the cache: a text behind its digest, in place at once, so that what a
//! killed process left is whole or known not to be.

use std::{fs, io, path::Path};

use crate::storage::sha256_of;

/// Writes the file, with the folder that it is in.
pub fn write(path: &Path, body: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let incoming = path.with_extension(format!("{}.incoming", std::process::id()));
    fs::write(&incoming, format!("{}\n{body}", sha256_of(body.as_bytes())))?;
    fs::rename(&incoming, path)
}

/// The text; `None` where there is no file.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let (digest, body) = text.split_once('\n').ok_or_else(|| broken("is cut off"))?;
    if sha256_of(body.as_bytes()) != digest {
        return Err(broken("does not agree with its digest"));
    }
    Ok(Some(body.to_owned()))
}

/// What is wrong with a file.
pub fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_written_or_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/text.json");
        assert_eq!(read(&path).expect("nothing is no fault"), None);
        for body in ["{\"a\": 1}\n", ""] {
            write(&path, body).expect("writable");
            assert_eq!(read(&path).expect("readable").as_deref(), Some(body));
        }
        write(&path, "[1,2,0]").expect("writable");
        let whole = fs::read_to_string(&path).expect("readable");
        for wrong in [
            &whole[..whole.len() - 1],
            &whole.replacen("1,2", "2,1", 1),
            "",
        ] {
            fs::write(&path, wrong).expect("writable");
            assert!(read(&path).is_err(), "{wrong}");
        }
    }
}
