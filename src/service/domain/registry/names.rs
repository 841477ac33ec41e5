//! What names and texts of the registry may be.

use std::collections::BTreeMap;

use crate::contract::spec::Fault;

/// Longest name of a model, version or alias, in bytes.
const NAME_LIMIT: usize = 128;
/// Longest description, licence, metadata key or value, in bytes.
const TEXT_LIMIT: usize = 2048;
const METADATA_LIMIT: usize = 64;

/// Whether a text can name something in a path of the API: letters, digits, `.`, `_`, `+`, `-`,
/// beginning with a letter or digit.
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    text.len() <= NAME_LIMIT
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
}

/// Notes a text that is no name.
pub fn check_name(pointer: &str, text: &str, faults: &mut Vec<Fault>) {
    if !is_name(text) {
        let detail = format!(
            "a name has 1 to {NAME_LIMIT} letters, digits or . _ + -, and begins with a letter or digit"
        );
        faults.push(Fault::new(pointer, detail));
    }
}

/// Notes a text that is too long or has control characters.
pub fn check_text(pointer: &str, text: Option<&str>, faults: &mut Vec<Fault>) {
    let Some(text) = text else { return };
    if text.len() > TEXT_LIMIT {
        faults.push(Fault::new(
            pointer,
            format!("longer than {TEXT_LIMIT} bytes"),
        ));
    } else if text.chars().any(|c| c.is_control() && c != '\n') {
        faults.push(Fault::new(pointer, "contains a control character"));
    }
}

/// Notes labels that are too many, too long or unprintable.
pub fn check_metadata(metadata: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    if metadata.len() > METADATA_LIMIT {
        faults.push(Fault::new(
            "/metadata",
            format!("at most {METADATA_LIMIT} entries"),
        ));
    }
    for (key, value) in metadata {
        let pointer = format!("/metadata/{}", key.replace('~', "~0").replace('/', "~1"));
        check_text(&pointer, Some(key), faults);
        check_text(&pointer, Some(value), faults);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_a_path_and_a_subject() {
        for name in ["llama", "2", "v1.2+build", "2026-11-03", "a_b"] {
            assert!(is_name(name), "{name}");
        }
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "é",
            "-x",
            "a\0",
            &"x".repeat(129),
        ] {
            assert!(!is_name(text), "{text:?}");
        }
    }

    #[test]
    fn each_text_at_fault_is_pointed_at() {
        let mut faults = Vec::new();
        check_metadata(
            &BTreeMap::from([("a/b".into(), "x\u{1}".into())]),
            &mut faults,
        );
        check_text("/licence", Some(&"x".repeat(3000)), &mut faults);
        check_text("/description", Some("two\nlines"), &mut faults);
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/metadata/a~1b", "/licence"]);
    }
}
