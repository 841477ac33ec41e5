//! A body that was saved alone, beside the same below a head: one lacks the prefix that all names of the other
//! have. Where no family declares it, it is found by comparing the names.

use crate::tensors::Signature;

/// How the names of one model differ from another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Its names lack this, which ends with a dot.
    Lacking(String),
    /// Its names have this before the other's.
    More(String),
}

/// Names that are looked at: any of the body's tells the prefix.
const TRIED: usize = 16;

impl Prefix {
    /// What leads from the names of `own` to those of `other`; `None` where they share names as they are, or no
    /// prefix makes many more of them the same.
    pub fn find(own: &Signature, other: &Signature) -> Option<Self> {
        let shared = own.keys().filter(|name| other.contains_key(*name)).count();
        let lacking = before(own, other).map(Self::Lacking);
        let more = before(other, own).map(Self::More);
        let found = [lacking, more].into_iter().flatten().map(|prefix| {
            let matched = own
                .keys()
                .filter(|name| prefix.is_matched(name, other))
                .count();
            (matched, prefix)
        });
        let (matched, prefix) = found.max_by_key(|(matched, _)| *matched)?;
        (matched > 2 * shared).then_some(prefix)
    }

    /// A name of the one model as the other has it, or would have it.
    pub fn renamed(&self, name: &str, other: &Signature) -> String {
        match self {
            Self::Lacking(_) if other.contains_key(name) => name.to_owned(),
            Self::Lacking(prefix) => format!("{prefix}{name}"),
            Self::More(prefix) => name
                .strip_prefix(prefix.as_str())
                .unwrap_or(name)
                .to_owned(),
        }
    }

    fn is_matched(&self, name: &str, other: &Signature) -> bool {
        other.contains_key(&self.renamed(name, other))
    }
}

/// What stands before a name of `bare` in the names of `whole`, by the longest names, which are the least likely
/// to end others by chance.
fn before(bare: &Signature, whole: &Signature) -> Option<String> {
    let mut names: Vec<&String> = bare
        .keys()
        .filter(|name| !whole.contains_key(*name))
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));

    names.into_iter().take(TRIED).find_map(|name| {
        let ending = format!(".{name}");
        let found = whole.keys().find_map(|other| other.strip_suffix(&ending))?;
        Some(format!("{found}."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensors::testing::named as model;

    #[test]
    fn a_body_alone_lacks_the_prefix_that_it_has_below_a_head() {
        let whole = model(&[
            "model.embed.weight",
            "model.layers.0.a.weight",
            "score.weight",
        ]);
        let bare = model(&["embed.weight", "layers.0.a.weight"]);
        let found = Prefix::find(&bare, &whole).unwrap();
        assert_eq!(found, Prefix::Lacking("model.".into()));
        assert_eq!(found.renamed("embed.weight", &whole), "model.embed.weight");
        assert_eq!(found.renamed("score.weight", &whole), "score.weight");

        let found = Prefix::find(&whole, &bare).unwrap();
        assert_eq!(found, Prefix::More("model.".into()));
        assert_eq!(found.renamed("model.embed.weight", &bare), "embed.weight");
        assert_eq!(found.renamed("score.weight", &bare), "score.weight");
    }

    #[test]
    fn models_of_the_same_names_and_of_others_have_no_prefix() {
        let one = model(&["model.a.weight", "model.b.weight", "lm_head.weight"]);
        assert_eq!(Prefix::find(&one, &one), None);
        assert_eq!(Prefix::find(&one, &model(&["x.weight"])), None);
        // One name that ends another is no prefix of all.
        let other = model(&["model.a.weight", "model.b.weight", "deep.lm_head.weight"]);
        assert_eq!(Prefix::find(&one, &other), None);
    }
}
