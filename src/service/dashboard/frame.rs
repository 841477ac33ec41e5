//! What surrounds every page.

/// The part of the service that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Overview,
    Transfers,
    Retunes,
    FineTunes,
    BaseModels,
    Workers,
    Webhooks,
    Keys,
    Audit,
    /// None of these.
    Elsewhere,
}

/// An entry of the navigation.
pub struct Entry {
    pub name: &'static str,
    pub href: &'static str,
    pub current: bool,
}

pub struct Frame {
    pub title: String,
    pub section: Section,
    /// Seconds between two looks; 0 for a page that will not change.
    pub refresh: u32,
    /// Whether there is a session to leave.
    pub session: bool,
    /// Whether pages for administrators are offered.
    pub administers: bool,
    /// Of the forms; empty where there are none.
    pub token: String,
    pub version: &'static str,
}

impl Frame {
    /// For whoever has not shown a key.
    pub fn bare(title: &str) -> Self {
        Self {
            title: format!("{title} · retune"),
            section: Section::Elsewhere,
            refresh: 0,
            session: false,
            administers: false,
            token: String::new(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// The same, looked at again every so many seconds.
    pub fn every(self, seconds: u32) -> Self {
        Self {
            refresh: seconds,
            ..self
        }
    }

    /// The pages, in the order of the navigation.
    pub fn navigation(&self) -> Vec<Entry> {
        let all = [
            (Section::Overview, "Overview", "/"),
            (Section::Transfers, "Transfers", "/transfers"),
            (Section::Retunes, "Retunes", "/retunes"),
            (Section::FineTunes, "Fine-tunes", "/fine-tunes"),
            (Section::BaseModels, "Base models", "/base-models"),
            (Section::Workers, "Workers", "/workers"),
            (Section::Webhooks, "Webhooks", "/webhooks"),
            (Section::Keys, "Keys", "/keys"),
            (Section::Audit, "Audit", "/audit"),
        ];
        let for_administrators = [Section::Webhooks, Section::Keys, Section::Audit];

        all.into_iter()
            .filter(|(section, ..)| self.administers || !for_administrators.contains(section))
            .map(|(section, name, href)| Entry {
                name,
                href,
                current: section == self.section,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_administrators_are_offered_their_pages() {
        let names = |administers| {
            let frame = Frame {
                administers,
                section: Section::Retunes,
                ..Frame::bare("x")
            };
            let navigation = frame.navigation();
            assert_eq!(navigation.iter().filter(|entry| entry.current).count(), 1);
            navigation.len()
        };
        assert_eq!((names(true), names(false)), (9, 6));
    }
}
