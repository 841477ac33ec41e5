//! What the computing thread, the heartbeat and the main task know of one attempt.
//!
//! The computing thread reports and asks; it never waits. Whether it may go on is decided here
//! against this machine's own monotonic clock, because a process that was stopped for a while must
//! notice before its next write, not at its next heartbeat.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use metrics::histogram;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    pipeline::{Phase, Progress, Stop},
    service::database::transfers::leases::Report,
    telemetry::traces,
};

/// Shared by the threads of one attempt.
#[derive(Debug)]
pub struct Watch {
    state: Mutex<State>,
    /// Notified when there is something to report at once.
    news: Notify,
    /// Nobody waits for the computing thread any longer.
    given_up: CancellationToken,
    trace: traces::Attempt,
}

#[derive(Debug)]
struct State {
    /// Until when the lease certainly holds: counted from before the beat was sent.
    lease_until: Instant,
    stop: Option<Stop>,
    phase: Option<Phase>,
    /// Of the phase, in the attempt's trace.
    span: Option<traces::Phase>,
    /// Since when it has been in its phase.
    since: Instant,
    /// Phases entered and not reported yet.
    entered: VecDeque<Phase>,
    pace: Option<Pace>,
    /// Something changed since the last report.
    changed: bool,
    /// The end is being recorded.
    ended: bool,
}

impl State {
    /// Tells how long the phase took that ends now, if any.
    fn time_phase(&mut self) {
        let took = mem::replace(&mut self.since, Instant::now()).elapsed();
        if let Some(phase) = self.phase {
            histogram!("retune_phase_seconds", "phase" => phase.name()).record(took.as_secs_f64());
        }
    }
}

/// No estimate is longer: the database could not hold it.
const LONGEST_ESTIMATE_SECONDS: f64 = 1e8;

/// How far the phase is, and how fast it gets on.
#[derive(Clone, Copy, Debug)]
struct Pace {
    done: u64,
    total: u64,
    unit: &'static str,
    first: (Instant, u64),
}

impl Pace {
    /// Whether these words go on with the same count.
    fn is_followed_by(&self, done: u64, total: u64, unit: &'static str) -> bool {
        (self.total, self.unit) == (total, unit) && self.done <= done
    }

    /// Seconds left at the pace since the phase's first word.
    fn seconds_left(&self, now: Instant) -> Option<f64> {
        let (since, at_first) = self.first;
        let done = self.done.checked_sub(at_first).filter(|done| *done > 0)?;
        let elapsed = now.duration_since(since).as_secs_f64();
        Some(
            (elapsed / done as f64 * self.total.saturating_sub(self.done) as f64)
                .min(LONGEST_ESTIMATE_SECONDS),
        )
    }
}

impl Watch {
    pub fn over(lease_until: Instant, trace: traces::Attempt) -> Self {
        Self {
            state: Mutex::new(State {
                lease_until,
                stop: None,
                phase: None,
                span: None,
                since: Instant::now(),
                entered: VecDeque::new(),
                pace: None,
                changed: false,
                ended: false,
            }),
            news: Notify::new(),
            given_up: CancellationToken::new(),
            trace,
        }
    }

    /// Ends the waiting for a computation that does not end. It may write nothing any more.
    pub fn give_up(&self) {
        self.stop(Stop::HandedBack);
        self.given_up.cancel();
    }

    pub async fn given_up(&self) {
        self.given_up.cancelled().await;
    }

    /// The lease holds until then.
    pub fn renew(&self, lease_until: Instant) {
        let mut state = self.lock();
        state.lease_until = state.lease_until.max(lease_until);
    }

    /// Call before the end is recorded: a heartbeat that finds no lease after that has lost nothing.
    pub fn end(&self) {
        let mut state = self.lock();
        state.time_phase();
        state.span = None;
        state.ended = true;
    }

    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Tells the computing thread to end. The first reason stands, but a lost lease outweighs a
    /// wish to cancel: nothing may be written then.
    pub fn stop(&self, reason: Stop) {
        let mut state = self.lock();
        if state.stop.is_none() || reason == Stop::HandedBack {
            state.stop = Some(reason);
        }
    }

    /// What to report next: the phases entered, one by one, then the latest progress. True when
    /// there is more.
    pub fn report(&self) -> (Report, bool) {
        let mut state = self.lock();
        if let Some(phase) = state.entered.pop_front()
            && !state.entered.is_empty()
        {
            return (
                Report {
                    phase: Some(phase),
                    ..Report::default()
                },
                true,
            );
        }

        state.changed = false;
        let report = Report {
            phase: state.phase,
            progress: state
                .pace
                .map(|pace| (signed(pace.done), signed(pace.total), pace.unit)),
            seconds_left: state
                .pace
                .and_then(|pace| pace.seconds_left(Instant::now())),
        };

        (report, false)
    }

    pub fn has_changed(&self) -> bool {
        self.lock().changed
    }

    /// Until a phase begins.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// A panic elsewhere leaves every field valid.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Progress for Watch {
    fn phase(&self, phase: Phase) {
        let mut state = self.lock();
        state.time_phase();
        // The span of the phase before ends first.
        state.span = None;
        state.span = Some(self.trace.phase(phase.name()));
        state.phase = Some(phase);
        state.entered.push_back(phase);
        state.pace = None;
        state.changed = true;
        drop(state);
        self.news.notify_one();
    }

    fn advance(&self, done: u64, total: u64, unit: &'static str) {
        let mut state = self.lock();
        // Another unit or total is another count, with a pace of its own, and so is one that begins anew.
        let pace = state
            .pace
            .filter(|pace| pace.is_followed_by(done, total, unit));
        let first = pace.map_or_else(|| (Instant::now(), done), |pace| pace.first);
        state.pace = Some(Pace {
            done,
            total,
            unit,
            first,
        });
        state.changed = true;
    }

    fn go_on(&self) -> Result<(), Stop> {
        let state = self.lock();
        if Instant::now() >= state.lease_until {
            return Err(Stop::HandedBack);
        }
        state.stop.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn over(lease_until: Instant) -> Watch {
        Watch::over(lease_until, traces::Attempt::begin(Uuid::nil(), 1))
    }

    fn fresh() -> Watch {
        over(Instant::now() + Duration::from_mins(1))
    }

    #[test]
    fn a_lease_that_ran_out_stops_the_work_whatever_was_heard() {
        let watch = over(Instant::now());
        assert_eq!(watch.go_on(), Err(Stop::HandedBack));
        watch.renew(Instant::now() + Duration::from_mins(1));
        assert_eq!(watch.go_on(), Ok(()));
    }

    #[test]
    fn a_lost_lease_outweighs_a_wish_to_cancel() {
        let watch = fresh();
        watch.stop(Stop::Cancelled);
        assert_eq!(watch.go_on(), Err(Stop::Cancelled));
        watch.stop(Stop::HandedBack);
        assert_eq!(watch.go_on(), Err(Stop::HandedBack));
        watch.stop(Stop::Cancelled);
        assert_eq!(watch.go_on(), Err(Stop::HandedBack));
    }

    #[test]
    fn who_was_given_up_may_not_write() {
        let watch = fresh();
        watch.stop(Stop::Cancelled);
        watch.give_up();
        assert_eq!(watch.go_on(), Err(Stop::HandedBack));
    }

    #[test]
    fn every_phase_is_reported_and_then_the_progress_of_the_last() {
        let watch = fresh();
        watch.phase(Phase::Fetching);
        watch.phase(Phase::Diagnosing);
        watch.phase(Phase::Transferring);
        watch.advance(2, 10, "timesteps");
        let (first, more) = watch.report();
        assert_eq!(
            (first.phase, first.progress, more),
            (Some(Phase::Fetching), None, true)
        );
        assert_eq!(watch.report().0.phase, Some(Phase::Diagnosing));
        let (last, more) = watch.report();
        assert_eq!(last.phase, Some(Phase::Transferring));
        assert_eq!(last.progress, Some((2, 10, "timesteps")));
        assert!(!more && !watch.has_changed());
    }

    #[test]
    fn the_rest_is_estimated_from_the_pace_of_the_phase() {
        let begun = Instant::now();
        let pace = |done| Pace {
            done,
            total: 10,
            unit: "timesteps",
            first: (begun, 2),
        };
        let later = begun + Duration::from_secs(6);
        assert_eq!(pace(2).seconds_left(later), None);
        // 3 of them took 6 s; 5 are left.
        assert_eq!(pace(5).seconds_left(later), Some(10.0));
        assert_eq!(pace(10).seconds_left(later), Some(0.0));
    }

    /// As `bico`, which has the order of weight matching made first.
    #[test]
    fn a_count_that_begins_anew_has_a_pace_of_its_own() {
        let begun = Instant::now();
        let pace = Pace {
            done: 1,
            total: 1,
            unit: "timesteps",
            first: (begun, 0),
        };
        assert!(!pace.is_followed_by(1, 400, "timesteps"), "another total");
        assert!(!pace.is_followed_by(0, 1, "timesteps"), "from the start");
        assert!(!pace.is_followed_by(1, 1, "steps"), "another unit");
        assert!(pace.is_followed_by(1, 1, "timesteps"));

        let watch = fresh();
        watch.phase(Phase::Aligning);
        watch.advance(0, 1, "timesteps");
        watch.advance(1, 1, "timesteps");
        watch.advance(1, 400, "timesteps");
        let (report, _) = watch.report();
        assert_eq!(
            (report.progress, report.seconds_left),
            (Some((1, 400, "timesteps")), None)
        );
    }
}
