//! Files of the repository that say what the program says: tests compare them, or rewrite them when told to.

use std::{env, fs, path::Path};

/// The variable of the environment that tells tests to rewrite.
const REWRITE: &str = "RETUNE_REWRITE_GOLDEN";

/// Whether files are rewritten, not compared.
pub fn rewrites() -> bool {
    env::var_os(REWRITE).is_some()
}

/// Compares a text with a file, by its path in the repository, or rewrites that. `tests` are those that do so.
pub fn hold(path: &str, text: &str, tests: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if rewrites() {
        fs::create_dir_all(file.parent().expect("a folder")).expect("our own folder");
        fs::write(file, text).expect("our own file");
        return;
    }

    let kept = fs::read_to_string(&file).unwrap_or_default();
    let command = format!("`{REWRITE}=1 cargo test --test main {tests}` rewrites it");
    let mut pairs = kept.lines().zip(text.lines()).enumerate();
    if let Some((at, (kept, found))) = pairs.find(|(_, (kept, found))| kept != found) {
        panic!(
            "{path}, line {}: {found:?}, not {kept:?} ({command})",
            at + 1
        );
    }
    assert!(
        kept == text,
        "{path} is longer or shorter than it was ({command})"
    );
}
