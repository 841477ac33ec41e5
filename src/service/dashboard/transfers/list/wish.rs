//! What one looks for in the list, and the address that says so. What does not parse is left out and told: an
//! old link still shows a page.

use serde::Deserialize;
use time::{Date, Duration, OffsetDateTime, macros::format_description};

use crate::{
    contract::ids::TransferId,
    service::{database::transfers::ListFilter, domain::transfers::Status},
};

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    pub status: Option<String>,
    pub after: Option<String>,
    pub search: String,
    pub verdict: String,
    pub from: String,
    pub to: String,
    pub base: String,
    pub label: String,
}

/// The fields of the form, as they stand in it.
pub struct Wish {
    pub status: Option<&'static str>,
    pub search: String,
    pub verdict: String,
    pub from: String,
    pub to: String,
    pub base: String,
    pub label: String,
    /// What was not understood.
    pub fault: String,
}

impl Asked {
    pub fn read(self) -> (Wish, ListFilter) {
        let status = Status::ALL
            .into_iter()
            .find(|one| self.status.as_deref() == Some(one.name()));
        let mut faults = Vec::new();
        let (from, to) = (day(&self.from, &mut faults), day(&self.to, &mut faults));
        let label = label(&self.label, &mut faults);

        let filter = ListFilter {
            statuses: status.into_iter().collect(),
            verdict: serde_json::from_value(self.verdict.as_str().into()).ok(),
            base: plain(&self.base),
            search: plain(&self.search),
            metadata: label.into_iter().collect(),
            created_after: from,
            // The day named is in.
            created_before: to.map(|to| to + Duration::DAY),
            ..ListFilter::default()
        };
        let wish = Wish {
            status: status.map(Status::name),
            search: self.search,
            verdict: self.verdict,
            from: self.from,
            to: self.to,
            base: self.base,
            label: self.label,
            fault: faults.join(" "),
        };

        (wish, filter)
    }
}

/// Without what no text in the database can hold; nothing where nothing is asked for.
fn plain(text: &str) -> Option<String> {
    Some(text.trim().replace('\0', "")).filter(|text| !text.is_empty())
}

fn day(text: &str, faults: &mut Vec<String>) -> Option<OffsetDateTime> {
    if text.is_empty() {
        return None;
    }
    let read = Date::parse(text, format_description!("[year]-[month]-[day]"));
    if read.is_err() {
        faults.push(format!("“{text}” is no date: write 2026-11-30."));
    }
    read.ok().map(|date| date.midnight().assume_utc())
}

fn label(text: &str, faults: &mut Vec<String>) -> Option<(String, String)> {
    if text.trim().is_empty() {
        return None;
    }
    let pair = text.trim().replace('\0', "");
    let pair = pair
        .split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    if pair.is_none() {
        faults.push(format!("“{text}” is no label: write team=search."));
    }
    pair
}

impl Wish {
    /// Something beside the status is looked for.
    pub fn narrows(&self) -> bool {
        self.fields().iter().any(|(_, value)| !value.is_empty())
    }

    /// More than a text is looked for.
    pub fn is_detailed(&self) -> bool {
        self.fields()
            .iter()
            .any(|(name, value)| *name != "search" && !value.is_empty())
    }

    fn fields(&self) -> [(&'static str, &str); 6] {
        [
            ("search", &self.search),
            ("verdict", &self.verdict),
            ("from", &self.from),
            ("to", &self.to),
            ("base", &self.base),
            ("label", &self.label),
        ]
    }

    /// The list with the same wish, of another status or from another transfer on.
    pub fn address(&self, status: Option<&str>, after: Option<TransferId>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(status.map(|status| ("status", status)));
        query.extend_pairs(
            self.fields()
                .into_iter()
                .filter(|(_, value)| !value.is_empty()),
        );
        query.extend_pairs(after.map(|after| ("after", after.to_string())));

        let query = query.finish();
        if query.is_empty() {
            "/transfers".into()
        } else {
            format!("/transfers?{query}")
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn addresses_keep_what_one_looks_for() {
        let asked = Asked {
            search: "a b&c".into(),
            status: Some("failed".into()),
            ..Asked::default()
        };
        let (wish, filter) = asked.read();
        assert_eq!(
            (filter.statuses, filter.search.as_deref()),
            (vec![Status::Failed], Some("a b&c"))
        );
        let address = wish.address(wish.status, Some(TransferId(Uuid::nil())));
        let id = "00000000-0000-0000-0000-000000000000";
        assert_eq!(
            address,
            format!("/transfers?status=failed&search=a+b%26c&after={id}")
        );
        assert_eq!(Asked::default().read().0.address(None, None), "/transfers");
    }

    #[test]
    fn the_last_day_is_in_and_what_is_not_understood_is_told() {
        let asked = Asked {
            from: "2026-01-01".into(),
            to: "2026-01-01".into(),
            ..Asked::default()
        };
        let (_, filter) = asked.read();
        let both = filter.created_after.zip(filter.created_before).unwrap();
        assert_eq!(both.1 - both.0, Duration::DAY);
        let asked = Asked {
            from: "soon".into(),
            label: "team".into(),
            ..Asked::default()
        };
        let (wish, filter) = asked.read();
        assert!(
            wish.fault.contains("soon") && wish.fault.contains("team=search"),
            "{}",
            wish.fault
        );
        assert!(filter.created_after.is_none() && filter.metadata.is_empty());
    }
}
