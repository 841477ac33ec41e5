//! Another try where a store was busy or broke off, after a pause that grows.

use std::time::Duration;

/// Failures in a row after which a request is given up.
const LIMIT: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// However long a store asks to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The failures of one request so far.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: u32,
}

impl Tries {
    /// Waits before the next try, as long as the store asks or by the count of failures; `false` at once when there is
    /// none left.
    pub(super) async fn wait(&mut self, asked: Option<Duration>) -> bool {
        let Some(pause) = self.pause(asked) else {
            return false;
        };
        tokio::time::sleep(pause).await;
        true
    }

    fn pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let usual = FIRST_PAUSE * 3_u32.pow(self.failed);
        self.failed += 1;
        (self.failed < LIMIT).then(|| asked.unwrap_or(usual).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let mut tries = Tries::default();
        let pauses: Vec<_> = (0..LIMIT).map(|_| tries.pause(None)).collect();
        let milliseconds = [200, 600, 1800, 5400].map(|pause| Some(Duration::from_millis(pause)));
        assert_eq!(pauses[..4], milliseconds);
        assert_eq!(pauses[4], None);
    }

    #[test]
    fn a_store_is_waited_for_as_it_asks_but_not_for_ever() {
        let mut tries = Tries::default();
        let asked = Duration::from_secs(7);
        assert_eq!(tries.pause(Some(asked)), Some(asked));
        assert_eq!(
            tries.pause(Some(Duration::from_hours(1))),
            Some(LONGEST_PAUSE)
        );
    }
}
