//! Whether who was let in may still be there: asked again and again by what goes on for long.

use std::time::{Duration, Instant};

use super::AppState;
use crate::service::domain::access::Principal;

/// How long an answer is taken for good by what only goes on.
const RECHECK_AFTER: Duration = Duration::from_secs(5);

/// What a caller was once let in by: a key, or a service that ran open.
pub struct Admission {
    state: AppState,
    caller: Principal,
    checked: Instant,
}

impl Admission {
    /// Of a caller who has been let in just now.
    pub fn of(state: AppState, caller: Principal) -> Self {
        Self {
            state,
            caller,
            checked: Instant::now(),
        }
    }

    /// Whether it holds at this moment; not where that cannot be learned.
    pub async fn holds(&mut self) -> bool {
        self.checked = Instant::now();
        self.state.still_holds(self.caller).await.unwrap_or(false)
    }

    /// Whether it held within the last seconds.
    pub async fn held_lately(&mut self) -> bool {
        self.checked.elapsed() < RECHECK_AFTER || self.holds().await
    }
}
