//! Orders attempts on hot keys: attempts that would conflict read such a key one after the other.
//!
//! A key becomes hot when an attempt that read it can't settle because another one changed it. From then on an
//! attempt waits, when it first reads the key, until the one before it has its settlement in the writer's
//! inbox or has ended; it does not wait for the flush. A key that nobody has waited for in a while is no longer
//! hot. Prefixes that are listed are hot in the same way.
//!
//! This is no lock: an attempt that has waited for [`WAIT_MAX`] goes on and risks a conflict. An attempt that
//! has turns waits for a further one only in their order, so no two wait for each other. Never here: whether
//! what was read is still so.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::state_reads::Touch;
use crate::clock::Clock;
use edgebus_model::Name;

/// Hot keys of all functions.
const HOT_MAX: usize = 1_024;
/// Turns without anybody waiting after which a key is no longer hot.
const HEAT: u32 = 64;
/// How long an attempt waits for its turn. Longer attempts are kept apart by the scheduler.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// An attempt's turn over one key, until it is dropped.
pub(super) struct Turn {
    place: u64,
    _permit: OwnedSemaphorePermit,
}

struct Hot {
    turn: Arc<Semaphore>,
    heat: u32,
}

/// The hot keys.
pub(super) struct Turns {
    clock: Clock,
    /// By the hash of function and key: two that share one take turns without need. A plain mutex around a
    /// look into a small map; nothing waits under it, and no other lock is taken.
    hot: Mutex<BTreeMap<u64, Hot>>,
}

impl Turns {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            hot: Mutex::new(BTreeMap::new()),
        }
    }

    fn hot(&self) -> MutexGuard<'_, BTreeMap<u64, Hot>> {
        self.hot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(function: &Name, name: &Touch) -> Option<u64> {
        let key = match name {
            Touch::Nothing => return None,
            Touch::Read(key) => (0, key),
            Touch::Listed(prefix) => (1, prefix),
        };
        let mut hasher = DefaultHasher::new();
        (function, key).hash(&mut hasher);
        Some(hasher.finish())
    }

    /// Attempts got in each other's way over this.
    pub(super) fn note_conflict(&self, function: &Name, name: &Touch) {
        let Some(place) = Self::place(function, name) else {
            return;
        };
        let mut hot = self.hot();
        if hot.len() >= HOT_MAX && !hot.contains_key(&place) {
            let coldest = hot.iter().min_by_key(|(_, own)| own.heat);
            let coldest = coldest.map(|(place, _)| *place);
            coldest.and_then(|coldest| hot.remove(&coldest));
        }
        let own = hot.entry(place).or_insert_with(|| Hot {
            turn: Arc::new(Semaphore::new(1)),
            heat: HEAT,
        });
        own.heat = HEAT;
    }

    /// Takes the turn over a hot key and puts it to those that the attempt has; returns at once if the key is
    /// not hot.
    pub(super) async fn take(&self, function: &Name, name: &Touch, held: &mut Vec<Turn>) {
        let Some(place) = Self::place(function, name) else {
            return;
        };
        let (turn, free) = {
            let mut hot = self.hot();
            let Some(own) = hot.get_mut(&place) else {
                return;
            };
            let turn = own.turn.clone();
            let free = turn.clone().try_acquire_owned().ok();
            own.heat = if free.is_some() { own.heat - 1 } else { HEAT };
            if own.heat == 0 {
                hot.remove(&place);
            }
            (turn, free)
        };
        let in_order = held.iter().all(|own| own.place < place);
        let permit = match free {
            Some(permit) => Some(permit),
            None if in_order => {
                let waiting = self.clock.timeout(WAIT_MAX, turn.acquire_owned());
                waiting.await.and_then(Result::ok)
            }
            None => None,
        };
        held.extend(permit.map(|_permit| Turn { place, _permit }));
    }
}
