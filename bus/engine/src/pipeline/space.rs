//! Disk space: how much is free, what stops when it runs out, and the ballast that is reserved for then.
//!
//! | free | level | what stops |
//! |---|---|---|
//! | the floor and more | ample | nothing |
//! | less than the floor | low | publishes are refused; deliveries go on, and may still write |
//! | less than [`Levels::critical`], although the ballast is gone | critical | no new attempts; those that run settle. Jobs rest, but for purges, which free space |
//! | less than [`Levels::last`] | exhausted | purges rest, too |
//!
//! The ballast is a file of real blocks in the store's folder. It is deleted when the free space falls
//! below the critical level, or when a store can't be opened for want of space, so that a disk that
//! something else has filled still has room to settle what runs and to deliver what is pending. It is
//! made again when there is room for it above the floor. Never here: retention, or another way to free space.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::{Pause, Pipeline};

/// Bytes on the disk for each byte of an event, for the reserve: pages are copied on write.
const WRITE_AMPLIFICATION: u64 = 8;
/// How often the disk is looked at while there is room, and while there is little.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY_WHEN_LOW: Duration = Duration::from_millis(50);

/// How much room the disk has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Space {
    /// Everything goes on.
    Ample,
    /// Publishes are refused.
    Low,
    /// No new attempts start, either.
    Critical,
    /// Nothing that can wait is written, not even what frees space.
    Exhausted,
}

/// What the levels are, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Levels {
    /// Below it publishes are refused.
    pub floor: u64,
    /// Below it the ballast is given back, and without one no attempt starts.
    pub critical: u64,
    /// What the ballast holds.
    pub ballast: u64,
}

impl Levels {
    /// The floor unless told otherwise: 256 MiB, or a twentieth of a smaller disk.
    const FLOOR_BYTES: u64 = 256 << 20;
    const FLOOR_SHARE: u64 = 20;
    /// The ballast: 16 MiB, or a sixteenth of a smaller disk.
    const BALLAST_BYTES: u64 = 16 << 20;
    const BALLAST_SHARE: u64 = 16;
    /// The critical level is this part of the ballast.
    const CRITICAL_SHARE: u64 = 4;
    /// The last level is this part of the critical one.
    const LAST_SHARE: u64 = 4;

    /// The levels of a disk of `disk` bytes, with the floor that was asked for, if one was.
    #[must_use]
    pub fn of(floor: Option<u64>, disk: u64) -> Self {
        let ballast = Self::BALLAST_BYTES.min(disk / Self::BALLAST_SHARE);
        let critical = ballast / Self::CRITICAL_SHARE;
        let usual = Self::FLOOR_BYTES.min(disk / Self::FLOOR_SHARE);
        Self {
            // Publishing stops before deliveries do.
            floor: floor.unwrap_or(usual).max(critical),
            critical,
            ballast,
        }
    }

    /// Below how much publishes are refused. The room of a ballast that was given back is not for them.
    #[must_use]
    pub fn refused_below(self, has_ballast: bool) -> u64 {
        let missing = if has_ballast { 0 } else { self.ballast };
        self.floor.saturating_add(missing)
    }

    /// Below it only what runs is settled: what frees space writes first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.critical / Self::LAST_SHARE
    }

    /// The level of a disk with `free` bytes.
    #[must_use]
    pub fn space(self, free: u64, has_ballast: bool) -> Space {
        if free < self.last() {
            Space::Exhausted
        } else if free < self.critical {
            Space::Critical
        } else if free < self.refused_below(has_ballast) {
            Space::Low
        } else {
            Space::Ample
        }
    }

    /// True if the ballast can be made again, and not have to be given back at once.
    #[must_use]
    pub fn room_for_ballast(self, free: u64) -> bool {
        free >= self.floor.saturating_add(self.ballast.saturating_mul(2))
    }
}

/// The disk that the store is on.
pub trait Disk: Send + Sync {
    /// Free bytes; `None` if the system doesn't say.
    fn free(&self) -> Option<u64>;

    /// Its levels.
    fn levels(&self) -> Levels {
        Levels::default()
    }

    /// True if the ballast is there, or none is needed.
    fn has_ballast(&self) -> bool {
        true
    }

    /// Gives the ballast back; false if there was none.
    fn release(&self) -> bool {
        false
    }

    /// Makes the ballast if it is not there; what can't be done is left for the next time.
    fn set_aside(&self) {}
}

impl<F: Fn() -> u64 + Send + Sync> Disk for F {
    fn free(&self) -> Option<u64> {
        Some(self())
    }
}

/// The disk, looked at from time to time.
pub struct Watch {
    disk: Box<dyn Disk>,
    levels: Levels,
    /// As of the last look, in bytes.
    free: AtomicU64,
    refused_below: AtomicU64,
    /// What the largest publish wanted that was refused since there was room, in bytes.
    refused: AtomicU64,
    /// What may still be published before the disk is looked at again, in bytes.
    left: AtomicU64,
    space: watch::Sender<Space>,
}

impl Watch {
    pub(super) fn new(disk: Box<dyn Disk>) -> Self {
        let watch = Self {
            levels: disk.levels(),
            disk,
            free: AtomicU64::new(0),
            refused_below: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            left: AtomicU64::new(0),
            space: watch::Sender::new(Space::Ample),
        };
        watch.look();
        watch
    }

    /// Looks at the disk, and gives the ballast back or makes it.
    pub(super) fn look(&self) -> Space {
        // A system that doesn't say is taken at its best: a full disk still ends in an error then.
        let free = || self.disk.free().unwrap_or(u64::MAX);
        let mut now = free();
        if now < self.levels.critical {
            if self.disk.release() {
                now = free();
                tracing::warn!(
                    free_mib = now >> 20,
                    "the disk is full: the ballast was given back, so that deliveries can go on; free some space (EB0209)"
                );
            }
        } else if self.levels.room_for_ballast(now) {
            self.disk.set_aside();
            now = free();
        }
        let has_ballast = self.disk.has_ballast();
        let refused_below = self.levels.refused_below(has_ballast);
        self.free.store(now, Ordering::Relaxed);
        self.refused_below.store(refused_below, Ordering::Relaxed);
        let left = now.saturating_sub(refused_below);
        self.left.store(left, Ordering::Relaxed);
        let space = match self.levels.space(now, has_ballast) {
            // What was refused would be refused again.
            Space::Ample if left < self.refused.load(Ordering::Relaxed) => Space::Low,
            space => space,
        };
        if space == Space::Ample {
            self.refused.store(0, Ordering::Relaxed);
        }
        let before = self.space.send_replace(space);
        if before != space {
            self.tell(space);
        }
        space
    }

    fn tell(&self, space: Space) {
        match self.refusal() {
            Some(reason) if space == Space::Low => tracing::warn!("{reason}"),
            Some(reason) => tracing::error!("{reason}"),
            None => tracing::info!("the disk has room again: publishes are accepted"),
        }
    }

    /// Takes room for events of so many bytes; false if that would go below the floor.
    ///
    /// What is written counts at once, so that a burst can't outrun the next look at the disk.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let wanted = (bytes as u64).saturating_mul(WRITE_AMPLIFICATION);
        let take = |left: u64| left.checked_sub(wanted);
        let taken = || {
            self.left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
        };
        if taken() {
            return true;
        }
        self.look();
        if taken() {
            return true;
        }
        // No more than that, or a batch that a small disk can never take would count for ever.
        let wanted = wanted.min(self.levels.ballast);
        self.refused.fetch_max(wanted, Ordering::Relaxed);
        self.look();
        false
    }

    /// The level, and its changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<Space> {
        self.space.subscribe()
    }

    /// Why publishes are refused, with what to do; `None` if they are not.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let space = *self.space.borrow();
        if space == Space::Ample {
            return None;
        }
        Some(self.words(space))
    }

    /// What stops at this level, in words.
    fn words(&self, space: Space) -> String {
        let free = megabytes(self.free.load(Ordering::Relaxed));
        let floor = megabytes(self.refused_below.load(Ordering::Relaxed));
        match space {
            Space::Critical | Space::Exhausted => format!(
                "the disk is full, {free} are free: publishes are refused and no delivery is attempted; free some space (EB0209)"
            ),
            Space::Ample | Space::Low => format!(
                "the disk has {free} free and its floor is {floor}: publishes are refused, deliveries go on; free some space, or lower --free-mib-min (EB0209)"
            ),
        }
    }
}

/// As in `12 MiB` or `0.3 MiB`.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes / ((1 << 20) / 10);
    if tenths < 100 {
        format!("{}.{} MiB", tenths / 10, tenths % 10)
    } else {
        format!("{} MiB", bytes >> 20)
    }
}

/// Looks at the disk until the pipeline stops, and holds back attempts while it is full.
pub(super) async fn run(weak: Weak<Pipeline>) {
    let mut held_back = false;
    loop {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let now = pipeline.space.look();
        if held_back != (now >= Space::Critical) {
            held_back = !held_back;
            #[cfg(test)]
            let held_back = held_back || super::injected::is(super::injected::Bug::PauseForEver);
            pipeline.pause(Pause::Space, held_back);
        }
        let wait = if now == Space::Ample {
            LOOK_EVERY
        } else {
            LOOK_EVERY_WHEN_LOW
        };
        let mut stop = pipeline.stop.subscribe();
        let mut level = pipeline.space.subscribe();
        let sleep = pipeline.clock().sleep(wait);
        drop(pipeline);
        tokio::select! {
            biased;
            // Or the pipeline is gone.
            _ = stop.wait_for(|stop| *stop) => return,
            // A publish may have looked meanwhile.
            _ = level.changed() => {}
            () = sleep => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use std::sync::Arc;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn levels_fit_the_disk() {
        // Disk, floor asked for, what comes of it: floor, critical, ballast; in KiB.
        let table: [(u64, Option<u64>, [u64; 3]); 6] = [
            (1 << 30, None, [256 << 10, 4 << 10, 16 << 10]),
            (2 << 20, None, [104_857, 4 << 10, 16 << 10]),
            (64 << 10, Some(4 << 10), [4 << 10, 1 << 10, 4 << 10]),
            (6 << 10, None, [307, 96, 384]),
            (1 << 30, Some(0), [4 << 10, 4 << 10, 16 << 10]),
            (0, None, [0, 0, 0]),
        ];
        for (disk, floor, expected) in table {
            let levels = Levels::of(floor.map(|kib| kib << 10), disk << 10);
            let got = [levels.floor, levels.critical, levels.ballast].map(|bytes| bytes >> 10);
            assert_eq!(got, expected, "{disk} KiB, floor {floor:?}");
        }
    }

    #[test]
    fn each_level_stops_more() {
        let levels = Levels::of(Some(4 * MIB), 64 * MIB);
        let table = [
            (64 * MIB, Space::Ample, true),
            (11 * MIB, Space::Ample, false),
            (4 * MIB, Space::Ample, false),
            (4 * MIB - 1, Space::Low, false),
            (MIB, Space::Low, false),
            (MIB - 1, Space::Critical, false),
            (MIB / 4, Space::Critical, false),
            (MIB / 4 - 1, Space::Exhausted, false),
            (0, Space::Exhausted, false),
        ];
        for (free, space, ballast) in table {
            assert_eq!(levels.space(free, true), space, "{free}");
            assert_eq!(levels.room_for_ballast(free), ballast, "{free}");
        }
    }

    /// A disk of 64 MiB that others write to.
    #[derive(Default)]
    struct Shared {
        used: AtomicU64,
        ballast: AtomicBool,
    }

    struct Seen(Arc<Shared>);

    impl Disk for Seen {
        fn free(&self) -> Option<u64> {
            let ballast = u64::from(self.0.ballast.load(Ordering::Relaxed)) * self.levels().ballast;
            Some((64 * MIB).saturating_sub(self.0.used.load(Ordering::Relaxed) + ballast))
        }

        fn levels(&self) -> Levels {
            Levels::of(Some(4 * MIB), 64 * MIB)
        }

        fn has_ballast(&self) -> bool {
            self.0.ballast.load(Ordering::Relaxed)
        }

        fn release(&self) -> bool {
            self.0.ballast.swap(false, Ordering::Relaxed)
        }

        fn set_aside(&self) {
            self.0.ballast.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_ballast_goes_when_the_disk_is_full_and_comes_back() {
        let shared = Arc::new(Shared::default());
        let watch = Watch::new(Box::new(Seen(shared.clone())));
        let fill = |used| {
            shared.used.store(used, Ordering::Relaxed);
            (watch.look(), shared.ballast.load(Ordering::Relaxed))
        };
        assert!(shared.ballast.load(Ordering::Relaxed));
        assert!(watch.take(1_000) && watch.refusal().is_none());
        // There is room for small events, and not for this one.
        assert_eq!(fill(55 * MIB), (Space::Ample, true));
        assert!(!watch.take(MIB as usize / 4) && watch.take(1_000));
        assert_eq!(fill(55 * MIB), (Space::Low, true));
        assert_eq!(fill(40 * MIB), (Space::Ample, true));
        assert_eq!(fill(57 * MIB), (Space::Low, true));
        assert!(!watch.take(1));
        let reason = watch.refusal().unwrap();
        assert!(
            reason.contains("3.0 MiB free") && reason.contains("4.0 MiB"),
            "{reason}"
        );
        assert_eq!(
            fill(60 * MIB),
            (Space::Low, false),
            "deliveries use the ballast"
        );
        assert_eq!(fill(63 * MIB + MIB / 2), (Space::Critical, false));
        assert_eq!(fill(64 * MIB), (Space::Exhausted, false));
        assert!(watch.refusal().unwrap().contains("no delivery"));
        assert_eq!(fill(55 * MIB), (Space::Ample, false), "no room for it yet");
        assert_eq!(fill(20 * MIB), (Space::Ample, true));
    }
}
