//! Sleeps, ticks and time limits on a clock.
//!
//! On the machine's clock they are tokio's timers; this is the one place of the pipeline that knows them.
//! On a manual clock they end when it is moved far enough.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::Clock;
use super::manual::{Manual, Sleeper};

/// A sleep; made by [`Clock::sleep`].
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep(Kind);

enum Kind {
    System(Pin<Box<tokio::time::Sleep>>),
    Manual(Arc<Manual>, Sleeper),
}

impl Sleep {
    pub(super) fn system(time: Duration) -> Self {
        Self(Kind::System(Box::pin(tokio::time::sleep(time))))
    }

    pub(super) fn manual(clock: Arc<Manual>, time: Duration) -> Self {
        let sleeper = clock.sleeper(time);
        Self(Kind::Manual(clock, sleeper))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Kind::System(sleep) => sleep.as_mut().poll(context),
            Kind::Manual(clock, sleeper) => clock.poll(sleeper, context),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Kind::Manual(clock, sleeper) = &self.0 {
            clock.forget(sleeper);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Sleep")
    }
}

/// What `work` comes to, unless `limit` is over before.
pub(super) async fn timeout<T>(mut limit: Sleep, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        Pin::new(&mut limit).poll(context).map(|()| None)
    })
    .await
}

/// Ticks after each period; made by [`Clock::ticker`].
#[derive(Debug)]
pub struct Ticker {
    clock: Clock,
    period: Duration,
    /// When the next tick is due.
    next: Instant,
}

impl Ticker {
    pub(super) fn new(clock: Clock, period: Duration) -> Self {
        Self {
            next: clock.instant(),
            period,
            clock,
        }
    }

    /// Resolves at the next tick. Ticks that were missed are not made up for.
    pub async fn tick(&mut self) {
        let now = self.clock.instant();
        if self.next > now {
            self.clock.sleep(self.next - now).await;
        }
        self.next = self.next.max(now) + self.period;
    }
}

/// A sleep that is set again and again; made by [`Clock::alarm`].
///
/// Setting it later costs nothing: it may then ring too early, and whoever is woken looks again.
#[derive(Debug)]
pub struct Alarm {
    clock: Clock,
    /// When it rings.
    set: Option<(Instant, Sleep)>,
}

impl Alarm {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, set: None }
    }

    /// Lets it ring after `time`, or before.
    pub fn set(&mut self, time: Duration) {
        let at = self.clock.instant() + time;
        if self.set.as_ref().is_none_or(|(known, _)| at < *known) {
            self.set = Some((at, self.clock.sleep(time)));
        }
    }

    /// Ready when it rings; it is to be set again then.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((_, sleep)) = &mut self.set else {
            return Poll::Pending;
        };
        let rings = Pin::new(sleep).poll(context);
        if rings.is_ready() {
            self.set = None;
        }
        rings
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use edgebus_model::Timestamp;

    fn polled(future: impl Future<Output = ()>) -> impl FnMut() -> bool {
        let mut future = Box::pin(future);
        move || {
            let mut context = Context::from_waker(Waker::noop());
            future.as_mut().poll(&mut context).is_ready()
        }
    }

    #[test]
    fn a_manual_clock_wakes_whoever_has_slept_enough() {
        let clock = Clock::manual(Timestamp(5), 0);
        let mut long = polled(clock.sleep(Duration::from_micros(1_500)));
        let mut short = polled(clock.sleep(Duration::from_millis(1)));
        assert!(!long() && !short());
        assert_eq!(clock.next_sleeper(), Some(Duration::from_millis(1)));
        clock.advance_ms(1);
        assert!(short() && !long());
        assert_eq!(clock.now(), Timestamp(6));
        assert_eq!(clock.next_sleeper(), Some(Duration::from_micros(500)));
        drop(long);
        assert_eq!(clock.next_sleeper(), None, "who is gone sleeps no more");
        assert!(polled(clock.sleep(Duration::ZERO))());
    }

    #[test]
    fn a_ticker_ticks_at_once_and_makes_up_for_nothing() {
        let clock = Clock::manual(Timestamp(0), 0);
        let mut ticker = clock.ticker(Duration::from_secs(1));
        assert!(polled(ticker.tick())());
        assert!(!polled(ticker.tick())());
        clock.advance_ms(3_500);
        assert!(polled(ticker.tick())());
        assert!(!polled(ticker.tick())());
        clock.advance_ms(1_000);
        assert!(polled(ticker.tick())());
    }

    #[test]
    fn an_alarm_rings_when_it_was_set_to_or_before() {
        let clock = Clock::manual(Timestamp(0), 0);
        let mut alarm = clock.alarm();
        let mut rings = |ms: Option<u64>| {
            if let Some(ms) = ms {
                alarm.set(Duration::from_millis(ms));
            }
            let mut context = Context::from_waker(Waker::noop());
            alarm.poll(&mut context).is_ready()
        };
        assert!(!rings(None) && !rings(Some(10)) && !rings(Some(20)));
        clock.advance_ms(10);
        assert!(rings(Some(20)), "it keeps the earlier time");
        assert!(!rings(Some(20)) && !rings(Some(5)));
        clock.advance_ms(5);
        assert!(rings(None) && !rings(None));
    }

    #[tokio::test]
    async fn the_machine_s_clock_sleeps() {
        let clock = Clock::system(Timestamp(0));
        clock.sleep(Duration::from_millis(2)).await;
        let never = std::future::pending::<()>();
        assert_eq!(clock.timeout(Duration::from_millis(1), never).await, None);
        let at_once = async { 7 };
        assert_eq!(clock.timeout(Duration::MAX, at_once).await, Some(7));
    }
}
