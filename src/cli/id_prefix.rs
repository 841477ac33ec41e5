//! Ids on the command line: whole, or so much of the beginning as nobody else has.

use std::{fmt, str::FromStr};

use anyhow::bail;
use uuid::Uuid;

use super::client::Client;

/// The fewest digits of an id that may stand for it.
const FEWEST_DIGITS: usize = 8;

/// Digits of an id.
const DIGITS: usize = 32;

/// An id, or the beginning of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPrefix {
    /// Hexadecimal and in lower case, without hyphens.
    digits: String,
}

impl FromStr for IdPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let digits = digits.to_ascii_lowercase();
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) || digits.len() > DIGITS {
            return Err("is no id: 32 hexadecimal digits, or the first of them".into());
        }
        if digits.len() < FEWEST_DIGITS {
            return Err(format!(
                "give at least the first {FEWEST_DIGITS} digits of the id"
            ));
        }
        Ok(Self { digits })
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits)
    }
}

impl IdPrefix {
    /// The id, where all of it is given.
    pub fn whole(&self) -> Option<Uuid> {
        if self.digits.len() == DIGITS {
            self.digits.parse().ok()
        } else {
            None
        }
    }

    /// Of a list that goes from newer ids to older ones, the cursor after which what begins so comes first.
    fn cursor(&self) -> String {
        format!("{:f<DIGITS$}", self.digits)
    }

    fn begins(&self, id: Uuid) -> bool {
        id.simple().to_string().starts_with(&self.digits)
    }

    /// The one of these that begins so.
    ///
    /// # Errors
    /// None, or more than one.
    pub fn only_one_of(
        &self,
        ids: impl IntoIterator<Item = Uuid>,
        what: &str,
    ) -> anyhow::Result<Uuid> {
        let found: Vec<Uuid> = ids.into_iter().filter(|id| self.begins(*id)).collect();
        match found.as_slice() {
            [id] => Ok(*id),
            [] => bail!("no {what} has an id that begins with {self}"),
            [first, second, ..] => {
                bail!("more than one {what} begins with {self}: {first}, {second}; give more of it")
            }
        }
    }

    /// The id of the one thing of a collection that begins so. What was submitted within a minute shares
    /// the first eight digits.
    ///
    /// # Errors
    /// None, or more than one; no service.
    pub async fn resolve(&self, client: &Client, collection: &str) -> anyhow::Result<Uuid> {
        if let Some(id) = self.whole() {
            return Ok(id);
        }

        let query = [("after", self.cursor()), ("limit", "2".to_owned())];
        let page = client.read(&[collection], &query).await?;
        let rows = page["data"].as_array().into_iter().flatten();
        let ids = rows.filter_map(|row| row["id"].as_str().and_then(|id| id.parse().ok()));
        self.only_one_of(ids, singular(collection))
    }
}

/// `transfer` of `transfers`.
fn singular(collection: &str) -> &str {
    collection.strip_suffix('s').unwrap_or(collection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> IdPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn so_much_of_an_id_as_nobody_else_has_stands_for_it() {
        let ids: [Uuid; 2] = [
            "0190f000-0000-7000-8000-000000000000".parse().unwrap(),
            "0190f000-0001-7000-8000-000000000000".parse().unwrap(),
        ];
        assert_eq!(
            prefix("0190F000-0001")
                .only_one_of(ids, "transfer")
                .unwrap(),
            ids[1]
        );
        let many = prefix("0190f000")
            .only_one_of(ids, "transfer")
            .unwrap_err()
            .to_string();
        assert!(many.contains("more than one transfer") && many.contains("give more of it"));
        let none = prefix("0190f001")
            .only_one_of(ids, "transfer")
            .unwrap_err()
            .to_string();
        assert_eq!(none, "no transfer has an id that begins with 0190f001");
        assert_eq!(prefix(&ids[0].to_string()).whole(), Some(ids[0]));
    }

    #[test]
    fn what_is_too_short_or_no_id_is_refused() {
        assert!(
            "0190f00"
                .parse::<IdPrefix>()
                .unwrap_err()
                .contains("first 8")
        );
        for bad in ["", "mail-model", &"0".repeat(33), "0190f000é"] {
            assert!(bad.parse::<IdPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_cursor_is_behind_everything_that_begins_so() {
        assert_eq!(
            prefix("0190f000").cursor(),
            "0190f000ffffffffffffffffffffffff"
        );
    }
}
