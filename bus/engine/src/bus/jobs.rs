//! Jobs: making, finding and telling them; and which dead letters a redrive or a purge would take.
//!
//! Never here: how a job moves.

use std::sync::Arc;

use super::deliveries::Selected;
use super::{Bus, DeliveryFilter, DeliveryState, Page};
use crate::pipeline::{Letters, Snapshot, no_job};
use edgebus_model::error::{Error, Kind};
use edgebus_model::limits::PAGE_ROWS_MAX;
use edgebus_model::{
    BusId, DeadLetter, DeadReason, DeliveryKey, Job, JobControl, JobId, JobSpec, LetterSelection,
    SkipReason, SkipSpec, Skipped, SubscriptionId, Timestamp,
};
use edgebus_store as store;

/// Bytes of jobs after which a page is enough.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Dead letters that are read at once.
const ROWS_AT_ONCE: usize = 256;
/// Bytes of dead letters that are read at once.
const BYTES_AT_ONCE: usize = 512 << 10;
/// Dead letters that a preview looks at.
const LOOKED_AT_MAX: u64 = 100_000;
/// Bytes of dead letters that a preview shows.
const SAMPLE_BYTES_MAX: usize = 1 << 20;

/// Which dead letters; what is not said does not narrow it.
#[derive(Clone, Debug, Default)]
pub struct LetterFilter {
    /// These and no others; empty for all.
    pub keys: Vec<DeliveryKey>,
    /// Of these subscriptions; its time is that of the event's acceptance.
    pub of: DeliveryFilter,
    /// That died for this reason.
    pub reason: Option<DeadReason>,
    /// That died at this time or later.
    pub since: Option<Timestamp>,
    /// That died before this time.
    pub until: Option<Timestamp>,
    /// Of events of this type.
    pub kind: Option<String>,
    /// Of events that match this pattern.
    pub pattern: Option<String>,
    /// So many at most.
    pub limit: Option<u64>,
}

impl LetterFilter {
    fn names_subscriptions(&self) -> bool {
        let of = &self.of;
        of.subscription.is_some() || of.function.is_some() || of.rule.is_some()
    }
}

/// What a redrive or a purge would take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preview {
    /// Dead letters that it would take, of those that were looked at.
    pub selected: u64,
    /// Dead letters that were looked at.
    pub looked: u64,
    /// Those of the looked at that are selected and can't be taken, or are named and no dead letters.
    pub skipped: Skipped,
    /// False if there are more that were not looked at.
    pub whole: bool,
    /// Some of the selected ones, in the order in which the job takes them.
    pub sample: Vec<DeliveryState>,
}

/// What becomes of the dead letters that are selected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LetterJob {
    /// They are pending again.
    Redrive,
    /// They are let go.
    Purge,
}

impl Bus {
    /// The filter as a job keeps it: subscriptions by their numbers, keys in order and each once.
    fn selection(&self, filter: &LetterFilter) -> Result<LetterSelection, Error> {
        let invalid = |message: String| Error::new(Kind::Invalid, message);
        let mut keys = filter.keys.clone();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() > LetterSelection::KEYS_MAX {
            let most = LetterSelection::KEYS_MAX;
            return Err(invalid(format!(
                "{} dead letters are named, and {most} are allowed; select them by subscription, reason, time, type or pattern",
                keys.len()
            )));
        }
        let mut subscriptions = Vec::new();
        if filter.names_subscriptions() {
            let wanted = filter.of.subscriptions(&self.snapshot())?;
            subscriptions = wanted.into_iter().map(|(id, _)| id).collect();
            if subscriptions.len() > LetterSelection::SUBSCRIPTIONS_MAX {
                let most = LetterSelection::SUBSCRIPTIONS_MAX;
                return Err(invalid(format!(
                    "this names {} subscriptions, and {most} are allowed; name none to select of all",
                    subscriptions.len()
                )));
            }
        }
        let pattern = filter.pattern.as_ref();
        if pattern.is_some_and(|text| text.len() > LetterSelection::PATTERN_BYTES_MAX) {
            let most = LetterSelection::PATTERN_BYTES_MAX >> 10;
            return Err(invalid(format!("the pattern is longer than {most} KiB")));
        }
        Ok(LetterSelection {
            keys,
            subscriptions,
            reason: filter.reason,
            since: filter.since,
            until: filter.until,
            kind: filter.kind.clone(),
            pattern: filter.pattern.clone(),
            limit: filter.limit,
        })
    }

    /// The listing of deliveries that has the dead letters of this filter, in the stage
    /// [`Dead`](super::DeliveryStage::Dead).
    ///
    /// # Errors
    /// As [`Bus::start_letter_job`].
    pub fn letters_of(&self, filter: &LetterFilter) -> Result<DeliveryFilter, Error> {
        let letters = compiled(&self.selection(filter)?)?;
        Ok(DeliveryFilter {
            letters: Selected(Some(Arc::new(letters))),
            ..filter.of.clone()
        })
    }

    /// Makes a job that redrives or purges dead letters. Those that die after this are not taken.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for what the filter names; [`Kind::Invalid`] if it is too long, or its pattern can't be
    /// read; [`Kind::Conflict`] while too many jobs have not ended; and what reading and writing can meet.
    pub async fn start_letter_job(
        &self,
        what: LetterJob,
        filter: &LetterFilter,
        rate: Option<u32>,
    ) -> Result<Job, Error> {
        let selection = self.selection(filter)?;
        // Its first step would fail otherwise.
        compiled(&selection)?;
        let of = self.estimate(&selection).await?;
        let spec = match what {
            LetterJob::Redrive => JobSpec::Redrive(selection),
            LetterJob::Purge => JobSpec::Purge(selection),
        };
        self.pipeline.start_job(spec, rate, of).await
    }

    /// How many dead letters a job of this selection looks at.
    async fn estimate(&self, selection: &LetterSelection) -> Result<u64, Error> {
        if !selection.keys.is_empty() {
            return Ok(selection.keys.len() as u64);
        }
        if selection.subscriptions.is_empty() {
            return Ok(self.pipeline.store().totals().dead);
        }
        let subscriptions = selection.subscriptions.clone();
        self.read(move |store, cancel| {
            let mut sum = 0;
            for id in subscriptions {
                cancel.check()?;
                sum += store.counts(id)?.dead;
            }
            Ok(sum)
        })
        .await
    }

    /// What a job of this filter would take now, the first `shown` of it in full; nothing is written.
    ///
    /// # Errors
    /// As [`Bus::start_letter_job`].
    pub async fn preview_letters(
        &self,
        what: LetterJob,
        filter: &LetterFilter,
        shown: usize,
    ) -> Result<Preview, Error> {
        let selection = self.selection(filter)?;
        let letters = compiled(&selection)?;
        let snapshot = self.snapshot();
        let subscriptions = letters.subscriptions(&snapshot);
        let until = self.pipeline.clock().now();
        self.read(move |store, cancel| {
            let mut seeing = Seeing {
                preview: Preview {
                    selected: 0,
                    looked: 0,
                    skipped: Skipped::default(),
                    whole: true,
                    sample: Vec::new(),
                },
                limit: selection.limit.unwrap_or(u64::MAX),
                shown,
                bytes: 0,
            };
            if selection.keys.is_empty() {
                'all: for id in subscriptions {
                    let mut from = None;
                    loop {
                        cancel.check()?;
                        let page = store::Page::forward(ROWS_AT_ONCE, BYTES_AT_ONCE);
                        let page = store.dead_letters_page(id, from, page)?;
                        for letter in page.rows {
                            let wanted = letters.wants(&letter, until);
                            let skip = hindrance(what, &snapshot, &letter);
                            if !seeing.see(wanted, skip, DeliveryState::Dead(letter)) {
                                break 'all;
                            }
                        }
                        from = page.next;
                        if from.is_none() {
                            break;
                        }
                    }
                }
            }
            for key in selection.keys {
                cancel.check()?;
                let letter = match store.delivery(key) {
                    Ok(Some(DeliveryState::Dead(letter))) => letter,
                    Ok(_) => {
                        seeing.pass(SkipReason::Gone);
                        continue;
                    }
                    Err(error) if error.kind == store::Kind::Corrupt => {
                        seeing.pass(SkipReason::Corrupt);
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let wanted = letters.wants(&letter, until);
                let skip = hindrance(what, &snapshot, &letter);
                if !seeing.see(wanted, skip, DeliveryState::Dead(letter)) {
                    break;
                }
            }
            Ok(seeing.preview)
        })
        .await
    }

    /// A page of jobs, the newest first; `after` is a page's `next`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for `after`, and what reading can meet.
    pub async fn jobs(&self, after: Option<&str>, limit: usize) -> Result<Page<Job>, Error> {
        let after = after
            .map(str::parse::<JobId>)
            .transpose()
            .map_err(|()| Error::new(Kind::Invalid, "`after` must be a page's `next`, as in 17"))?;
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        self.read(move |store, _| {
            let page = store::Page::backward(limit, PAGE_BYTES_MAX);
            let found = store.jobs_page(after, page)?;
            Ok(Page {
                items: found.rows,
                next: found.next.map(|next| next.to_string()),
            })
        })
        .await
    }

    /// One job.
    ///
    /// # Errors
    /// [`Kind::NotFound`], and what reading can meet.
    pub async fn job(&self, id: JobId) -> Result<Job, Error> {
        let found = self.read(move |store, _| Ok(store.job(id)?)).await?;
        found.ok_or_else(|| no_job(id))
    }

    /// Tells a job something.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] if it has ended; and what writing can meet.
    pub async fn control_job(&self, id: JobId, control: JobControl) -> Result<Job, Error> {
        self.pipeline.control_job(id, control).await
    }

    /// The replay of this number, whose pending deliveries can be let go of.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] if it is no replay.
    pub async fn discardable(&self, id: JobId) -> Result<Job, Error> {
        let job = self.job(id).await?;
        match job.spec {
            JobSpec::Replay(_) => Ok(job),
            _ => Err(Error::new(
                Kind::Conflict,
                format!(
                    "job {id} is a {}: only what a replay has pending can be discarded",
                    job.spec.word()
                ),
            )),
        }
    }

    /// Makes a job that ends all pending deliveries of a replay that has ended, without an attempt.
    ///
    /// # Errors
    /// As [`Bus::discardable`]; [`Kind::Conflict`] if the replay has not ended, or too many jobs have not.
    pub async fn discard_pending(&self, id: JobId) -> Result<Job, Error> {
        let job = self.discardable(id).await?;
        if !job.state.has_ended() {
            let state = job.state.word();
            let reason = format!("job {id} is {state} and would make more; cancel it as well");
            return Err(Error::new(Kind::Conflict, reason));
        }
        let pending = job.progress.done.saturating_sub(job.results.ended());
        let spec = JobSpec::Skip(SkipSpec::Replay(id));
        self.pipeline.start_job(spec, None, pending).await
    }

    /// The name of a bus; its number where there is none.
    #[must_use]
    pub fn bus_name(&self, id: BusId) -> String {
        let snapshot = self.snapshot();
        let own = snapshot.bus(id);
        own.map_or_else(|| id.0.to_string(), |own| own.name.to_string())
    }

    /// The names of these subscriptions; the number alone of one that is gone.
    #[must_use]
    pub fn subscription_names(&self, ids: &[SubscriptionId]) -> Vec<String> {
        let snapshot = self.snapshot();
        ids.iter()
            .map(|id| {
                let own = snapshot.subscriptions.get(id);
                own.map_or_else(|| id.0.to_string(), |own| own.name().to_string())
            })
            .collect()
    }
}

/// The selection, whose pattern can be read.
fn compiled(selection: &LetterSelection) -> Result<Letters, Error> {
    Letters::new(selection.clone()).map_err(|reason| Error::new(Kind::Invalid, reason))
}

/// A preview that is being made.
struct Seeing {
    preview: Preview,
    limit: u64,
    shown: usize,
    bytes: usize,
}

/// Why the job would skip a dead letter that is selected, if it would.
fn hindrance(what: LetterJob, snapshot: &Snapshot, letter: &DeadLetter) -> Option<SkipReason> {
    match what {
        LetterJob::Purge => None,
        LetterJob::Redrive => snapshot
            .cannot_run(letter.delivery.key.subscription)
            .or_else(|| letter.unfit()),
    }
}

impl Seeing {
    /// One that is named is not there.
    fn pass(&mut self, reason: SkipReason) {
        self.preview.looked += 1;
        self.preview.skipped.add(reason, 1);
    }

    /// Looks at one dead letter; false if that is enough.
    fn see(&mut self, wanted: bool, skip: Option<SkipReason>, state: DeliveryState) -> bool {
        let preview = &mut self.preview;
        if preview.looked >= LOOKED_AT_MAX {
            preview.whole = false;
            return false;
        }
        preview.looked += 1;
        if let Some(reason) = skip.filter(|_| wanted) {
            preview.skipped.add(reason, 1);
        } else if wanted {
            preview.selected += 1;
            if preview.sample.len() < self.shown && self.bytes < SAMPLE_BYTES_MAX {
                self.bytes += super::deliveries::weight(&state);
                preview.sample.push(state);
            }
        }
        preview.selected < self.limit
    }
}
