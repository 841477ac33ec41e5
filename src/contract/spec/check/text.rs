//! Texts: locations, names, metadata.

use super::{Fault, NAME_LIMIT};
use crate::contract::spec::Spec;

/// Longest accepted location, metadata key or value.
pub const MAX_TEXT_BYTES: usize = 2048;
const METADATA_LIMIT: usize = 64;

impl Spec {
    /// NUL cannot be stored in jsonb, and nothing here has a use for control characters.
    pub(super) fn check_text(&self, faults: &mut Vec<Fault>) {
        let data = self.data.as_ref();
        let mut texts: Vec<(String, &str)> = vec![
            ("/source/base".into(), &self.source.base),
            ("/source/trajectory".into(), &self.source.trajectory),
            ("/target/base".into(), &self.target.base),
            ("/output".into(), &self.output),
        ];

        for (name, uri) in [
            ("train", data.and_then(|d| d.train.as_deref())),
            ("validation", data.and_then(|d| d.validation.as_deref())),
            ("test", data.and_then(|d| d.test.as_deref())),
        ] {
            texts.extend(uri.map(|uri| (format!("/data/{name}"), uri)));
        }

        texts.extend(self.name.iter().map(|name| ("/name".into(), name.as_str())));
        if self
            .name
            .as_ref()
            .is_some_and(|name| name.chars().count() > NAME_LIMIT)
        {
            faults.push(Fault::new(
                "/name",
                format!("at most {NAME_LIMIT} characters"),
            ));
        }

        texts.extend(
            self.callback
                .iter()
                .map(|to| ("/callback/url".into(), to.url.as_str())),
        );
        for (key, value) in self.metadata.iter().take(METADATA_LIMIT) {
            let pointer = format!("/metadata/{}", key.replace('~', "~0").replace('/', "~1"));
            texts.push((pointer.clone(), key));
            texts.push((pointer, value));
        }

        if self.metadata.len() > METADATA_LIMIT {
            faults.push(Fault::new(
                "/metadata",
                format!("at most {METADATA_LIMIT} entries"),
            ));
        }

        for (pointer, text) in texts {
            if text.len() > MAX_TEXT_BYTES {
                faults.push(Fault::new(
                    pointer,
                    format!("longer than {MAX_TEXT_BYTES} bytes"),
                ));
            } else if text.chars().any(char::is_control) {
                faults.push(Fault::new(pointer, "contains a control character"));
            } else if text.is_empty() && !pointer.starts_with("/metadata") {
                faults.push(Fault::new(pointer, "must not be empty"));
            }
        }
    }
}
