//! Components that were uploaded before the manifest that names them. They are kept in memory, few at a time,
//! for a short time.
//!
//! A manifest and its new components become active in one transaction, but would not fit in one request. So
//! each component is uploaded alone and waits here. Applying the manifest takes those that it names. Unused
//! ones expire. Never here: the store, and a clock of its own.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use edgebus_model::error::{Error, Kind};
use edgebus_model::{Digest, Timestamp};

/// How long a component waits, in milliseconds.
pub(super) const STAGED_MS_MAX: u64 = 10 * 60_000;
/// All components that wait, in bytes.
pub(super) const STAGED_BYTES_MAX: usize = 64 << 20;

/// The components that wait.
#[derive(Default)]
pub(super) struct Staging {
    /// A plain mutex around a small map; nothing awaits under it.
    waiting: Mutex<BTreeMap<Digest, Waiting>>,
}

struct Waiting {
    component: Bytes,
    until: Timestamp,
}

impl Staging {
    fn waiting(&self, now: Timestamp) -> MutexGuard<'_, BTreeMap<Digest, Waiting>> {
        // A map is whole after each of its calls, so that a panic elsewhere leaves it true.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, component| component.until > now);
        waiting
    }

    /// Keeps `component` until [`STAGED_MS_MAX`] from now; one that waits already waits anew.
    ///
    /// # Errors
    /// [`Kind::Busy`] until enough of what waits is dropped.
    pub(super) fn put(
        &self,
        digest: Digest,
        component: Bytes,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut waiting = self.waiting(now);
        waiting.remove(&digest);
        let held: usize = waiting.values().map(|other| other.component.len()).sum();
        if held + component.len() > STAGED_BYTES_MAX {
            let soonest = waiting.values().map(|other| other.until).min();
            let retry_after_ms = soonest.map_or(STAGED_MS_MAX, |until| until.0 - now.0);
            return Err(Error::new(
                Kind::Busy { retry_after_ms },
                format!(
                    "{held} bytes of components wait for their manifest already, and {STAGED_BYTES_MAX} may: apply it, deploy some with PUT /v1/functions/NAME, or come back later"
                ),
            ));
        }
        let until = now.plus_ms(STAGED_MS_MAX);
        waiting.insert(digest, Waiting { component, until });
        Ok(())
    }

    /// The component of this digest, if it waits.
    pub(super) fn get(&self, digest: Digest, now: Timestamp) -> Option<Bytes> {
        let waiting = self.waiting(now);
        waiting.get(&digest).map(|found| found.component.clone())
    }

    /// Drops components that are active now.
    pub(super) fn drop_all(&self, digests: impl IntoIterator<Item = Digest>, now: Timestamp) {
        let mut waiting = self.waiting(now);
        for digest in digests {
            waiting.remove(&digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_in_bytes_and_in_time() {
        let staging = Staging::default();
        let component = |fill: u8| Bytes::from(vec![fill; STAGED_BYTES_MAX / 2]);
        let (first, second, third) = (component(1), component(2), component(3));
        let digest = |bytes: &Bytes| Digest::of(bytes);
        let put = |bytes: &Bytes, now| staging.put(digest(bytes), bytes.clone(), Timestamp(now));
        put(&first, 0).expect("there is room");
        put(&second, 5).expect("there is room");
        put(&second, 6).expect("the same one again takes no more room");
        let full = put(&third, 10).expect_err("it is full");
        let retry_after_ms = STAGED_MS_MAX - 10;
        assert_eq!(full.kind, Kind::Busy { retry_after_ms });
        assert_eq!(
            staging.get(digest(&first), Timestamp(10)),
            Some(first.clone())
        );
        put(&third, STAGED_MS_MAX).expect("the first one's time is over");
        let now = Timestamp(STAGED_MS_MAX);
        assert_eq!(staging.get(digest(&first), now), None);
        staging.drop_all([digest(&second)], now);
        assert_eq!(staging.get(digest(&second), now), None);
        assert!(staging.get(digest(&third), now).is_some());
    }
}
