//! How long a command waits for a service that is away for a moment: restarted, behind a proxy that
//! finds nobody, or busy.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Refused;

/// For how long a service may be away.
const RETRY_LIMIT: Duration = Duration::from_secs(30);

/// Before the next try, where the service names no time.
const RETRY_INTERVAL: Duration = Duration::from_millis(400);

/// Tries again until a service has stayed away for [`RETRY_LIMIT`].
#[derive(Debug, Default)]
pub struct RetryUntil {
    away_since: Option<Instant>,
}

impl RetryUntil {
    /// The service answered: it is there.
    pub fn renew(&mut self) {
        self.away_since = None;
    }

    /// Waits as long as the service asks for.
    ///
    /// # Errors
    /// The same error, where trying again would not help or would take too long.
    pub async fn wait_out(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        match self.pause(error.downcast_ref(), Instant::now()) {
            Some(pause) => {
                sleep(pause).await;
                Ok(())
            }
            None => Err(error),
        }
    }

    /// How long to wait from `now` after a refusal, or after no answer at all.
    fn pause(&mut self, refused: Option<&Refused>, now: Instant) -> Option<Duration> {
        let asked = refused.and_then(|refused| refused.retry_after);
        let pause = asked.unwrap_or(RETRY_INTERVAL).max(RETRY_INTERVAL);
        let away = now - *self.away_since.get_or_insert(now);
        let may_pass = refused.is_none_or(Refused::is_passing);
        (may_pass && away + pause <= RETRY_LIMIT).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::cli::client::Problem;

    fn refused(status: u16, seconds: Option<u64>) -> Refused {
        let status = StatusCode::from_u16(status).unwrap();
        let retry_after = seconds.map(Duration::from_secs);
        Refused {
            status,
            problem: Problem::default(),
            retry_after,
        }
    }

    #[test]
    fn what_passes_is_waited_out_and_nothing_else() {
        let (mut retry, now) = (RetryUntil::default(), Instant::now());
        for status in [429, 502, 503, 504] {
            assert_eq!(
                retry.pause(Some(&refused(status, None)), now),
                Some(RETRY_INTERVAL),
                "{status}"
            );
            let asked = refused(status, Some(7));
            assert_eq!(retry.pause(Some(&asked), now), Some(Duration::from_secs(7)));
        }
        assert_eq!(retry.pause(None, now), Some(RETRY_INTERVAL));
        for status in [400, 401, 404, 409, 422, 500] {
            assert_eq!(
                retry.pause(Some(&refused(status, Some(1))), now),
                None,
                "{status}"
            );
        }
        assert_eq!(
            retry.pause(Some(&refused(503, Some(0))), now),
            Some(RETRY_INTERVAL),
            "no storm"
        );
    }

    #[test]
    fn retrying_ends_and_begins_again_with_an_answer() {
        let (mut retry, now) = (RetryUntil::default(), Instant::now());
        assert_eq!(
            retry.pause(Some(&refused(429, Some(60))), now),
            None,
            "longer than we wait"
        );
        let later = now + RETRY_LIMIT - RETRY_INTERVAL;
        assert_eq!(retry.pause(None, later), Some(RETRY_INTERVAL));
        assert_eq!(retry.pause(None, now + RETRY_LIMIT), None);
        retry.renew();
        assert_eq!(retry.pause(None, now + RETRY_LIMIT), Some(RETRY_INTERVAL));
    }
}
