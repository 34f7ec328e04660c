//! Limits long work, and runs it off the threads that serve requests.
//!
//! Work on the processor, such as JSONPath queries on a large event, would hold up whatever else its thread
//! serves. Here it gets a thread of the blocking pool, as many at once as leave the others their share of the
//! machine; a bounded number waits for a turn, in order, and more is turned away. Nothing here interrupts the
//! work, so callers must bound it. Never here: what the work is.

use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for one kind of work. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkLimiter {
    /// Who is in: waiting or running.
    admitted: Arc<Semaphore>,
    /// Who runs.
    running: Arc<Semaphore>,
}

/// Why work was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// As many are in as may be.
    Full,
    /// The process stops, or the work panicked.
    Stopped,
}

/// Leave to do one piece of work. It is given back when the work is done, or nobody waits for its turn
/// any more.
#[derive(Debug)]
pub struct Admission {
    admitted: OwnedSemaphorePermit,
    running: Arc<Semaphore>,
}

impl WorkLimiter {
    /// Places for `admitted` at once, of which as many run as half of the processors, and at least one.
    #[must_use]
    pub fn new(admitted: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            admitted: Arc::new(Semaphore::new(admitted)),
            running: Arc::new(Semaphore::new((processors / 2).max(1))),
        }
    }

    /// A place among those that are in.
    ///
    /// # Errors
    /// [`Denied::Full`].
    pub fn enter(&self) -> Result<Admission, Denied> {
        let admitted = self.admitted.clone().try_acquire_owned();
        Ok(Admission {
            admitted: admitted.map_err(|_| Denied::Full)?,
            running: self.running.clone(),
        })
    }

    /// Does the work once there is room.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Denied> {
        self.enter()?.run(work).await
    }
}

impl Admission {
    /// Does the work when its turn comes. Dropped before, it isn't done; once begun it comes to its end,
    /// whoever waits for it.
    ///
    /// # Errors
    /// [`Denied::Stopped`].
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Denied> {
        let Self { admitted, running } = self;
        let turn = running.acquire_owned().await;
        let turn = turn.map_err(|_| Denied::Stopped)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((turn, admitted));
            done
        });
        done.await.map_err(|_| Denied::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let places = WorkLimiter {
            running: Arc::new(Semaphore::new(1)),
            ..WorkLimiter::new(2)
        };
        let (release, held) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let places = places.clone();
            async move { places.run(move || held.recv().is_ok()).await }
        });
        let second = loop {
            match places.enter() {
                Ok(second) if places.running.available_permits() == 0 => break second,
                _ => tokio::task::yield_now().await,
            }
        };
        assert_eq!(places.run(|| ()).await, Err(Denied::Full));
        // Who goes away before its turn leaves nothing behind.
        let mut waiting = Box::pin(second.run(|| ()));
        tokio::select! {
            biased;
            _ = &mut waiting => unreachable!("the first one has the only turn"),
            () = tokio::task::yield_now() => drop(waiting),
        }
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(true));
        assert_eq!(places.run(|| 1).await, Ok(1));
        assert_eq!(places.admitted.available_permits(), 2, "a place was lost");
    }

    #[tokio::test]
    async fn a_panic_gives_its_place_back() {
        let places = WorkLimiter::new(1);
        let panicked = places.run(|| assert!(std::hint::black_box(false))).await;
        assert_eq!(panicked, Err(Denied::Stopped));
        assert_eq!(places.run(|| 1).await, Ok(1));
    }
}
