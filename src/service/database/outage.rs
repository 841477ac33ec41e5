//! Which errors say that the database is away for a moment.

/// Whether the same may go well in a moment: no connection to be had, or PostgreSQL says so itself.
pub fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => true,
        sqlx::Error::Database(said) => said.code().is_some_and(|code| passes(&code)),
        _ => false,
    }
}

/// Of PostgreSQL's codes: a broken connection, too many of them, a full disk, a lost race for a lock, a server
/// that ends, crashed or starts.
fn passes(sqlstate: &str) -> bool {
    let class = sqlstate.get(..2).unwrap_or_default();
    matches!(class, "08" | "53" | "40")
        || matches!(sqlstate, "57P01" | "57P02" | "57P03" | "55P03" | "25P03")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_of_the_database_passes_and_a_broken_rule_does_not() {
        // Terminated by an administrator, crashed, starting, too many connections, deadlock.
        for code in ["57P01", "57P02", "57P03", "53300", "40P01", "08006"] {
            assert!(passes(code), "{code}");
        }
        // Unique violation, undefined column, a statement cancelled, nothing at all.
        for code in ["23505", "42703", "57014", ""] {
            assert!(!passes(code), "{code}");
        }
    }
}
