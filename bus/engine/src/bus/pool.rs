//! A pool for blocking work of requests: bounded in number and time, and cancelled when the client disconnects.
//!
//! The work runs on tokio's blocking threads, which the pipeline's own reads need too: the places of all pools
//! together stay far below their number (512), so that no client can take the pipeline's threads. A thread
//! can't be stopped from outside, so each unbounded loop checks its [`Cancel`]. Never here: what the work is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use edgebus_model::error::{Error, Kind};

/// Places for blocking work; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    places: Arc<Semaphore>,
    /// How long work waits for a place.
    wait_max: Duration,
    /// How long it may run.
    run_max: Duration,
}

/// So long before its end work is told that it is late.
const LATE: Duration = Duration::from_secs(3);

/// Tells running work whether it is still wanted.
#[derive(Debug)]
pub(crate) struct Cancel {
    gone: Arc<AtomicBool>,
    deadline: Instant,
}

/// The work's time is over, or nobody waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cancelled;

/// Why there is no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// No place came free in time.
    Full,
    /// The work did not end in time.
    TimedOut {
        /// The time that it had.
        run_max: Duration,
    },
    /// The work panicked, or the process stops.
    Failed,
}

impl Pool {
    /// A pool of `work_limiter`, each for at most `run_max`; work waits for one at most `wait_max`.
    pub(crate) fn new(places: usize, wait_max: Duration, run_max: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            wait_max,
            run_max,
        }
    }

    /// Runs `work` on a blocking thread. Dropping the future cancels it; its place is given back when
    /// it has ended.
    ///
    /// # Errors
    /// No place, or no end in time.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cancel) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let place = timeout(self.wait_max, self.places.clone().acquire_owned());
        let place = match place.await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(Refused::Failed),
            Err(_) => return Err(Refused::Full),
        };
        let guard = Guard(Arc::default());
        let cancel = Cancel {
            gone: guard.0.clone(),
            deadline: Instant::now() + self.run_max,
        };
        let running = tokio::task::spawn_blocking(move || {
            let done = cancel.check().map(|()| work(&cancel));
            drop(place);
            done
        });
        let timed_out = self.timed_out();
        match timeout(self.run_max, running).await {
            Ok(Ok(done)) => done.map_err(|Cancelled| timed_out),
            Ok(Err(_)) => Err(Refused::Failed),
            Err(_) => Err(timed_out),
        }
    }
}

impl Pool {
    /// What work is refused with that does not end in time.
    pub(crate) fn timed_out(&self) -> Refused {
        Refused::TimedOut {
            run_max: self.run_max,
        }
    }
}

impl Cancel {
    /// Whether the work may go on; cheap enough for every row.
    ///
    /// # Errors
    /// It may not: what it has done so far is not wanted.
    pub(crate) fn check(&self) -> Result<(), Cancelled> {
        // The flag orders nothing: work that sees it late ends a row later.
        if self.gone.load(Relaxed) || Instant::now() >= self.deadline {
            return Err(Cancelled);
        }
        Ok(())
    }

    /// True if there is little time left: whoever can say something by now says it.
    pub(crate) fn is_late(&self) -> bool {
        Instant::now() + LATE >= self.deadline
    }
}

/// Cancels when it is dropped.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let busy = Kind::Busy {
            retry_after_ms: 1_000,
        };
        match refused {
            Refused::Full => Self::new(busy, "too many requests read the store at once"),
            Refused::TimedOut { run_max } => Self::new(
                busy,
                format!(
                    "reading did not end within {} s: ask for less at once",
                    run_max.as_secs()
                ),
            ),
            Refused::Failed => Self::new(Kind::Unavailable, "the bus is stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn work_has_a_place_or_is_refused() {
        let pool = Pool::new(1, Duration::ZERO, LONG);
        assert_eq!(pool.run(|_| 7).await, Ok(7));
        let (release, held) = mpsc::channel::<()>();
        let (entered, is_running) = tokio::sync::oneshot::channel();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.run(move |_| {
                    let _ = entered.send(());
                    held.recv().is_err()
                })
                .await
            }
        });
        is_running.await.unwrap();
        assert_eq!(pool.run(|_| 7).await, Err(Refused::Full));
        drop(release);
        assert_eq!(first.await.unwrap(), Ok(true));
        assert_eq!(pool.run(|_| 8).await, Ok(8));
    }

    #[tokio::test]
    async fn work_that_takes_too_long_ends_and_gives_its_place_back() {
        let pool = Pool::new(1, LONG, Duration::from_millis(5));
        let endless = pool.run(|cancel| while cancel.check().is_ok() {}).await;
        assert!(matches!(endless, Err(Refused::TimedOut { .. }) | Ok(())));
        // The only place is free again once the thread has seen it.
        assert_eq!(
            Pool {
                run_max: LONG,
                ..pool
            }
            .run(|_| 7)
            .await,
            Ok(7)
        );
    }

    #[tokio::test]
    async fn work_ends_with_the_one_who_asked() {
        let pool = Pool::new(1, LONG, LONG);
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let (entered, is_running) = tokio::sync::oneshot::channel();
        let asked = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.run(move |cancel| {
                    let _ = entered.send(());
                    while cancel.check().is_ok() {}
                    let _ = ended.send(());
                })
                .await
            }
        });
        is_running.await.unwrap();
        asked.abort();
        has_ended.await.unwrap();
        assert_eq!(pool.run(|_| 7).await, Ok(7));
    }
}
