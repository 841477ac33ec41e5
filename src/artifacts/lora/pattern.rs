//! Names of modules as `rank_pattern` and `alpha_pattern` give them.

use super::refusal::{Refusal, not_implemented};

/// A name of modules as peft matches it, as a regular expression: of these only plain characters, `.`,
/// `\.`, `.*` and a leading `^` are read.
pub(super) struct Pattern {
    from_the_start: bool,
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Plain(char),
    AnyOne,
    AnyNumber,
}

impl Pattern {
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let (from_the_start, text) = match text.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let text = text.strip_suffix('$').unwrap_or(text);
        let mut parts = Vec::new();
        let mut characters = text.chars().peekable();

        while let Some(c) = characters.next() {
            parts.push(match c {
                '.' if characters.next_if_eq(&'*').is_some() => Part::AnyNumber,
                '.' => Part::AnyOne,
                '\\' if characters.next_if_eq(&'.').is_some() => Part::Plain('.'),
                c if c.is_alphanumeric() || matches!(c, '_' | '-') => Part::Plain(c),
                _ => {
                    let what = format!(
                        "rank_pattern or alpha_pattern: of regular expressions like {text:?} only \
                         plain names, \".\", \"\\.\", \".*\" and \"^\" are read"
                    );
                    return Err(not_implemented(&what));
                }
            });
        }

        Ok(Self {
            from_the_start,
            parts,
        })
    }

    /// Whether the name is that of the pattern, or ends with a dot and it.
    pub fn fits_the_end_of(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let starts = (0..name.len()).filter(|&at| at == 0 || name[at - 1] == '.');
        let mut starts = starts.filter(|&at| at == 0 || !self.from_the_start);
        starts.any(|at| fits(&self.parts, &name[at..]))
    }
}

fn fits(parts: &[Part], name: &[char]) -> bool {
    match parts.split_first() {
        None => name.is_empty(),
        Some((Part::AnyNumber, rest)) => (0..=name.len()).any(|at| fits(rest, &name[at..])),
        Some((part, rest)) => name.split_first().is_some_and(|(c, after)| {
            (*part == Part::AnyOne || *part == Part::Plain(*c)) && fits(rest, after)
        }),
    }
}
