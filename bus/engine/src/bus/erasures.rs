//! Erasures: names and times become numbers and positions, and a job is made of them.
//!
//! Never here: what is erased; `pipeline::jobs::erase` finds that, and a job does it.

use super::Bus;
use super::replays::{Border, length};
use crate::pipeline::{Budget, Erasure};
use edgebus_model::error::{Error, Kind};
use edgebus_model::{EraseSpec, Job, JobPlace, JobSpec, Position};
use edgebus_store::JobEffect;

/// What one look for a count finds and reads at most.
const LOOK: Budget = Budget {
    effects: 4_096,
    rows: 4_096,
    bytes: 512 << 10,
};

/// An erasure as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct EraseRequest {
    /// The bus's name.
    pub bus: String,
    /// The first event; the first one ever if it is left out.
    pub from: Option<Border>,
    /// The last position, or the time that events were accepted before; else the newest event.
    pub to: Option<Border>,
    /// As [`EraseSpec::subject`].
    pub subject: Option<String>,
    /// As [`EraseSpec::pattern`]; it was read already.
    pub pattern: Option<String>,
    /// As [`Job::rate`].
    pub rate: Option<u32>,
}

/// What an erasure would erase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EraseCount {
    /// The range.
    pub first: Position,
    /// Its end.
    pub last: Position,
    /// Rows that were looked at: events, and dead letters.
    pub looked: u64,
    /// Events that it would erase.
    pub events: u64,
    /// Dead letters whose copy it would erase.
    pub dead_letters: u64,
    /// True if there was no time for all.
    pub more: bool,
}

impl Bus {
    /// Makes a job that erases events.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a bus, [`Kind::Invalid`] for a range that can't be or if nothing says which events,
    /// [`Kind::Conflict`] where too many jobs have not ended.
    pub async fn erase(&self, asked: EraseRequest) -> Result<Job, Error> {
        let spec = self.erase_spec(&asked).await?;
        // Its first step would fail otherwise.
        compiled(&spec)?;
        let (bus, snapshot) = (spec.bus, self.snapshot());
        let counted = self.read(move |store, cancel| {
            let (mut dead, all) = (0, snapshot.subscriptions.values());
            for own in all.filter(|own| own.bus == bus) {
                cancel.check()?;
                dead += store.counts(own.id)?.dead;
            }
            Ok((dead, store.floor(bus)?))
        });
        let (dead, oldest) = counted.await?;
        let of = length(spec.first.max(oldest), spec.last).saturating_add(dead);
        self.pipeline
            .start_job(JobSpec::Erase(spec), asked.rate, of)
            .await
    }

    /// Counts what that job would erase.
    ///
    /// # Errors
    /// As [`Bus::erase`].
    pub async fn count_erasure(&self, asked: EraseRequest) -> Result<EraseCount, Error> {
        let spec = self.erase_spec(&asked).await?;
        let erasure = compiled(&spec)?;
        let snapshot = self.snapshot();
        self.read(move |store, cancel| {
            let mut counted = EraseCount {
                first: spec.first,
                last: spec.last,
                looked: 0,
                events: 0,
                dead_letters: 0,
                more: false,
            };
            let mut place = JobPlace::Start;
            loop {
                if cancel.is_late() {
                    counted.more = true;
                    break;
                }
                cancel.check()?;
                let portion = erasure.portion(store, &snapshot, place, LOOK)?;
                counted.looked += portion.looked;
                for effect in &portion.effects {
                    match effect {
                        JobEffect::EraseEvent { .. } => counted.events += 1,
                        JobEffect::EraseLetter { .. } => counted.dead_letters += 1,
                        _ => {}
                    }
                }
                if portion.ended {
                    break;
                }
                place = portion.place();
            }
            Ok(counted)
        })
        .await
    }

    /// The range and the events that are meant.
    async fn erase_spec(&self, asked: &EraseRequest) -> Result<EraseSpec, Error> {
        let bus = self.bus_id(&asked.bus)?;
        // Dead letters outlive events, so it may begin with events that retention removed.
        let oldest = Position(1);
        let from = asked.from.map(|from| match from {
            Border::Position(first) => Border::Position(first.max(oldest)),
            time => time,
        });
        let (first, last) = self.range((bus, oldest), from, asked.to).await?;
        Ok(EraseSpec {
            bus,
            first,
            last,
            subject: asked.subject.clone(),
            pattern: asked.pattern.clone(),
        })
    }
}

/// The erasure, whose pattern can be read.
fn compiled(spec: &EraseSpec) -> Result<Erasure, Error> {
    Erasure::new(spec.clone()).map_err(|reason| Error::new(Kind::Invalid, reason))
}
