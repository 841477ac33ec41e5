//! The shape of every list, and the cursor that leads to its next page.
//!
//! A cursor is the id of the last row shown. Ids are `UUIDv7`, so "older than this id" is "created
//! before it", and new rows never shift a page.

use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;

/// One page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T: ToSchema> {
    pub data: Vec<T>,
    /// Give it as `after` for the next page; null on the last.
    #[schema(required)]
    pub next: Option<String>,
}

impl<T: ToSchema> Page<T> {
    /// A list that fits one page.
    pub fn whole(data: Vec<T>) -> Self {
        Self { data, next: None }
    }

    /// From up to `limit + 1` rows: the surplus row says that there is a next page.
    pub fn cut(mut rows: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(cursor) } else { None };
        Self { data: rows, next }
    }
}

/// Rows a page when `limit` is not given.
pub const DEFAULT_LIMIT: usize = 50;

/// The most that `limit` may ask for.
pub const MOST: usize = 200;

/// Reads `limit`.
///
/// # Errors
/// 422 outside `1..=200`.
pub fn limit(text: &str) -> Result<usize, Problem> {
    match text.parse() {
        Ok(limit) if (1..=MOST).contains(&limit) => Ok(limit),
        _ => Err(Problem::invalid_query("limit", format!("a number from 1 to {MOST}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surplus_row_is_not_shown_but_makes_a_cursor_to_the_last_shown() {
        let page = Page::cut(vec![9, 8, 7], 2, i32::to_string);
        assert_eq!((page.data, page.next.as_deref()), (vec![9, 8], Some("8")));
        let page = Page::cut(vec![9, 8], 2, i32::to_string);
        assert_eq!((page.data.len(), page.next), (2, None));
        let page = Page::cut(Vec::new(), 2, i32::to_string);
        assert_eq!((page.data.len(), page.next), (0, None));
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(limit("200").unwrap(), 200);
        for bad in ["0", "201", "-1", "ten", ""] {
            assert_eq!(limit(bad).unwrap_err().code(), "invalid_query", "{bad}");
        }
    }
}
