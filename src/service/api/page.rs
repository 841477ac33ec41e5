//! The shape of every list, and the cursor that leads to its next page.
//!
//! A cursor is the id of the last row shown. Ids are `UUIDv7`, so "older than this id" is "created
//! before it", and new rows never shift a page.

use axum::Json;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::problem::Problem;
use crate::service::domain::{
    access::{ApiKey, AuditEvent},
    events::{Delivery, Endpoint},
    registry::{
        arrivals::Arrival,
        base_models::{BaseAliasMove, BaseModel, BaseVersion},
        fine_tunes::{FineTune, FineTuneAliasMove, FineTuneVersion},
        inbound::InboundToken,
        retunes::Retune,
    },
    transfers::Transfer,
};

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

/// A row of a list, which a cursor can name.
pub trait Listed: ToSchema {
    fn cursor(&self) -> String;
}

/// Rows whose cursor is their id.
macro_rules! listed_by_id {
    ($($row:ty),+ $(,)?) => {$(
        impl Listed for $row {
            fn cursor(&self) -> String {
                self.id.to_string()
            }
        }
    )+};
}

listed_by_id!(
    ApiKey,
    Arrival,
    AuditEvent,
    BaseAliasMove,
    BaseModel,
    BaseVersion,
    Delivery,
    Endpoint,
    FineTune,
    FineTuneAliasMove,
    FineTuneVersion,
    InboundToken,
    Retune,
    Transfer,
);

/// What [`Cut::read`] reads, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "documents the query, which is read as pairs")]
pub struct PageQuery {
    /// Rows a page, 50 by default
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u64>,
    /// The `next` of the page before
    after: Option<Uuid>,
}

/// Rows per page when `limit` is not given.
pub const DEFAULT_LIMIT: usize = 50;

/// The most that `limit` may ask for.
pub const MAX_PAGE_SIZE: usize = 200;

/// Reads `limit`.
///
/// # Errors
/// 422 outside `1..=200`.
pub fn limit(text: &str) -> Result<usize, Problem> {
    match text.parse() {
        Ok(limit) if (1..=MAX_PAGE_SIZE).contains(&limit) => Ok(limit),
        _ => Err(Problem::invalid_query(
            "limit",
            format!("a number from 1 to {MAX_PAGE_SIZE}"),
        )),
    }
}

/// Where a page begins and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    after: Option<Uuid>,
    pub limit: usize,
}

impl Cut {
    /// Reads `after` and `limit`; gives what else the query says to `other`, which refuses what it
    /// does not know by returning false.
    ///
    /// # Errors
    /// 422 for a value out of range, or a parameter that nobody knows.
    pub fn read(
        query: Vec<(String, String)>,
        mut other: impl FnMut(&str, String) -> Result<bool, Problem>,
    ) -> Result<Self, Problem> {
        let mut cut = Self {
            after: None,
            limit: DEFAULT_LIMIT,
        };
        for (name, value) in query {
            match name.as_str() {
                "limit" => cut.limit = limit(&value)?,
                "after" => {
                    let detail = "must be the `next` of a page";
                    let after = value.parse();
                    cut.after = Some(after.map_err(|_| Problem::invalid_query("after", detail))?);
                }
                _ => {
                    if !other(&name, value)? {
                        return Err(Problem::invalid_query(&name, "no such parameter"));
                    }
                }
            }
        }

        Ok(cut)
    }

    /// The same, where nothing else may be given.
    ///
    /// # Errors
    /// As [`Cut::read`].
    pub fn alone(query: Vec<(String, String)>) -> Result<Self, Problem> {
        Self::read(query, |_, _| Ok(false))
    }

    /// The last row of the page before, as an id of its kind.
    pub fn after<T: From<Uuid>>(&self) -> Option<T> {
        self.after.map(T::from)
    }

    /// One row more than the page has: see [`Page::cut`].
    pub fn rows(&self) -> i64 {
        i64::try_from(self.limit + 1).unwrap_or(i64::MAX)
    }

    /// The answer of every list: the page of the rows that were asked for.
    pub fn page<T: Listed>(&self, rows: Vec<T>) -> Json<Page<T>> {
        Json(Page::cut(rows, self.limit, T::cursor))
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
    fn a_cut_is_read_and_the_rest_is_given_away_or_refused() {
        let query = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let mut seen = None;
        let read = Cut::read(
            query(&[("limit", "2"), ("base_model", "m")]),
            |name, value| {
                seen = Some(value);
                Ok(name == "base_model")
            },
        );
        assert_eq!(read.unwrap().rows(), 3);
        assert_eq!(seen.as_deref(), Some("m"));
        for (name, value) in [("after", "x"), ("limit", "0"), ("sort", "id")] {
            let problem = Cut::alone(query(&[(name, value)])).unwrap_err();
            assert_eq!(problem.code(), "invalid_query", "{name}");
        }
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(limit("200").unwrap(), 200);
        for bad in ["0", "201", "-1", "ten", ""] {
            assert_eq!(limit(bad).unwrap_err().code(), "invalid_query", "{bad}");
        }
    }
}
