//! Subscriptions that left the manifest, have nothing pending and have no dead letters are retired: their numbers are
//! never given to another, and nothing else of them is kept in memory.
//!
//! It checks a few of them once a minute, and retires those that were done at the previous check too. By then
//! any event that was matched while the subscription was active is written, or is matched again. Never here: a
//! subscription that is active.

use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::Duration;

use super::change::compilations;
use super::{Pipeline, read_error};
use edgebus_model::SubscriptionId;
use edgebus_model::error::{Error, Kind};
use edgebus_store::{Page, Step};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(60);
/// Subscriptions that one look reads.
const LOOK_MAX: usize = 256;
/// Subscriptions that one step retires.
const RETIRED_MAX: usize = 64;

/// What the looks so far have seen.
#[derive(Default)]
pub(super) struct Looks {
    /// Those that were at their end.
    ended: BTreeSet<SubscriptionId>,
    /// The last one that was looked at; the next look goes on behind it.
    last: Option<SubscriptionId>,
    /// Those that the store did not let go: a row of theirs is corrupt, and stays for `fsck`.
    kept: BTreeSet<SubscriptionId>,
}

/// Looks again and again, until the pipeline stops.
pub(super) async fn keep_retiring(pipeline: Weak<Pipeline>) {
    let Some(clock) = pipeline.upgrade().map(|pipeline| pipeline.clock().clone()) else {
        return;
    };
    let mut ticker = clock.ticker(PAUSE);
    let mut looks = Looks::default();
    loop {
        ticker.tick().await;
        let Some(pipeline) = pipeline.upgrade() else {
            return;
        };
        if *pipeline.stop.borrow() {
            return;
        }
        if pipeline.ready().is_err() {
            continue;
        }
        match pipeline.retire(&mut looks).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "subscriptions were retired"),
            Err(error) => tracing::debug!(%error, "no subscription was retired this time"),
        }
    }
}

impl Pipeline {
    /// One look; returns how many were retired.
    pub(super) async fn retire(&self, looks: &mut Looks) -> Result<usize, Error> {
        let ended = self.look(looks).await?;
        let again = ended.intersection(&looks.ended).copied();
        let chosen: Vec<_> = again.take(RETIRED_MAX).collect();
        looks.ended.extend(ended);
        if chosen.is_empty() {
            return Ok(0);
        }
        for id in &chosen {
            looks.ended.remove(id);
        }
        match self.retire_all(chosen.clone()).await {
            Ok(()) => Ok(chosen.len()),
            Err(error) if error.kind == Kind::Conflict && chosen.len() > 1 => {
                // One of them hinders the others.
                let mut count = 0;
                for id in chosen {
                    match self.retire_all(vec![id]).await {
                        Ok(()) => count += 1,
                        Err(error) if error.kind == Kind::Conflict => {
                            looks.kept.insert(id);
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(count)
            }
            Err(error) => {
                if error.kind == Kind::Conflict {
                    looks.kept.extend(chosen);
                }
                Err(error)
            }
        }
    }

    /// Those of the next inactive subscriptions that have neither a pending delivery nor a dead letter.
    async fn look(&self, looks: &mut Looks) -> Result<BTreeSet<SubscriptionId>, Error> {
        let snapshot = self.snapshot();
        let all = snapshot.subscriptions.values().filter(|own| !own.active);
        let inactive: BTreeSet<_> = all
            .map(|own| own.id)
            .filter(|id| !looks.kept.contains(id))
            .collect();
        looks.ended.retain(|id| inactive.contains(id));
        let behind = inactive.iter().filter(|id| looks.last < Some(**id));
        let next: Vec<_> = behind.take(LOOK_MAX).copied().collect();
        // At the end it begins anew.
        looks.last = next.last().copied().filter(|_| next.len() == LOOK_MAX);
        let store = self.store().clone();
        let read = self.context.executor.blocking(move || {
            let mut ended = BTreeSet::new();
            for id in next {
                let has_pending = !store.pending_page(id, None, Page::one())?.rows.is_empty();
                if !has_pending
                    && store
                        .dead_letters_page(id, None, Page::one())?
                        .rows
                        .is_empty()
                {
                    ended.insert(id);
                }
            }
            Ok(ended)
        });
        match read.await {
            Ok(ended) => ended.map_err(read_error),
            Err(_) => Err(Error::new(Kind::Unavailable, "the bus is stopping")),
        }
    }

    async fn retire_all(&self, subscriptions: Vec<SubscriptionId>) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let last = self.snapshot();
        let known = compilations(&last);
        let step = Step::Retire(subscriptions);
        self.change(last, step, known).await.map(|_| ())
    }
}
