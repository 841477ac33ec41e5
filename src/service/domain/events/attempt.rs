//! What came of one attempt to post a delivery.

use std::time::Duration;

/// What an attempt came to.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// HTTP status, where there was an answer.
    status: Option<u16>,
    error: Option<String>,
    /// After which time the receiver wants to be asked again.
    retry_after: Option<Duration>,
}

impl Attempt {
    pub fn answered(status: u16, error: Option<String>) -> Self {
        Self {
            status: Some(status),
            error,
            retry_after: None,
        }
    }

    /// The same with what the answer's `Retry-After` says.
    pub fn retry_after(self, wait: Option<Duration>) -> Self {
        Self {
            retry_after: wait,
            ..self
        }
    }

    pub fn unanswered(error: String) -> Self {
        Self {
            status: None,
            error: Some(error),
            retry_after: None,
        }
    }

    pub fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }

    /// The receiver wants no more of these.
    pub fn is_gone(&self) -> bool {
        self.status == Some(410)
    }

    /// As the database keeps it.
    pub fn status(&self) -> Option<i32> {
        self.status.map(i32::from)
    }

    /// Why it failed.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// How long nothing is to be posted, and never longer than `longest`.
    pub fn pause(&self, longest: Duration) -> Duration {
        self.retry_after
            .map_or(Duration::ZERO, |wait| wait.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_2xx_and_410_is_gone() {
        let answered = |status| Attempt::answered(status, None);
        assert!(answered(200).is_success() && answered(299).is_success());
        assert!(!answered(199).is_success() && !answered(302).is_success());
        assert!(answered(410).is_gone() && !answered(404).is_gone());
        let cut = Attempt::unanswered("cut".into());
        assert!(!cut.is_success() && !cut.is_gone());
    }

    #[test]
    fn a_receiver_may_ask_for_a_pause_within_bounds() {
        let busy = Attempt::answered(503, None);
        let hour = Duration::from_hours(1);
        assert_eq!(busy.pause(hour), Duration::ZERO);

        let minute = Duration::from_mins(1);
        assert_eq!(busy.clone().retry_after(Some(minute)).pause(hour), minute);
        assert_eq!(busy.retry_after(Some(hour * 2)).pause(hour), hour);
    }
}
