//! What shadow replays find, in the tables: a row of numbers, a row for each difference that is kept, and the
//! component that a job has of its own.
//!
//! Never here: what is run, or what differs.

use bytes::Bytes;

use super::RedbStore;
use super::jobs::job_key;
use super::steps::Work;
use crate::codec::Table;
use crate::codec::shadow::{self as codec, Summary};
use crate::job::needs_component;
use crate::{Error, StartJob};
use edgebus_model::{Digest, Job, JobId, JobSpec, ShadowReport};

/// The key of a shadow replay's numbers.
fn summary_key(id: JobId) -> Vec<u8> {
    [&job_key(id)[..], b"s"].concat()
}

/// The key of the difference of this number, which counts from 0.
fn difference_key(id: JobId, number: u8) -> Vec<u8> {
    [&job_key(id)[..], b"d", &[number]].concat()
}

/// The key of a component that a job has of its own, whoever else has the same.
fn component_key(digest: Digest, id: JobId) -> Vec<u8> {
    [&digest.0[..], &job_key(id)].concat()
}

/// The numbers of so many differences.
fn numbers(kept: u32) -> impl Iterator<Item = u8> {
    (0..=u8::MAX).zip(0..kept).map(|(number, _)| number)
}

impl Work<'_, '_> {
    fn summary(&mut self, id: JobId) -> Result<Option<Summary>, Error> {
        self.intact(Table::Jobs, &summary_key(id), codec::read_summary)
    }

    fn put_summary(&mut self, id: JobId, summary: &Summary) -> Result<(), Error> {
        self.tables.put(Table::Jobs, &summary_key(id), |out| {
            codec::write_summary(out, summary);
        })
    }

    /// Writes what a shadow replay begins with.
    pub(super) fn start_shadow(&mut self, job: &Job, start: &StartJob) -> Result<(), Error> {
        let component = needs_component(job).zip(start.component.as_ref());
        let Some((digest, bytes)) = component else {
            return Ok(());
        };
        let key = component_key(digest, job.id);
        self.tables
            .put(Table::Components, &key, |out| out.extend_from_slice(bytes))
    }

    /// Adds what a part of a shadow replay found.
    pub(super) fn add_shadow(&mut self, id: JobId, found: &ShadowReport) -> Result<(), Error> {
        let mut summary = self.summary(id)?.unwrap_or_default();
        summary.counts.add(&found.counts);
        let before = usize::try_from(summary.kept).unwrap_or(usize::MAX);
        let room = ShadowReport::DIFFERENCES_MAX.saturating_sub(before);
        for difference in found.differences.iter().take(room) {
            let number = u8::try_from(summary.kept).unwrap_or(u8::MAX);
            let key = difference_key(id, number);
            self.tables.put(Table::Jobs, &key, |out| {
                codec::write_difference(out, difference);
            })?;
            summary.kept += 1;
        }
        self.put_summary(id, &summary)
    }

    /// Lets go of the component that a job has of its own, if it has one.
    pub(super) fn forget_component(&mut self, job: &Job) -> Result<(), Error> {
        let JobSpec::Shadow(spec) = &job.spec else {
            return Ok(());
        };
        let Some(candidate) = &spec.candidate else {
            return Ok(());
        };
        let key = component_key(candidate.digest, job.id);
        self.tables.remove(Table::Components, &key)
    }

    /// Lets go of all that a shadow replay found.
    pub(super) fn forget_shadow(&mut self, id: JobId) -> Result<(), Error> {
        let Some(summary) = self.summary(id)? else {
            return Ok(());
        };
        for number in numbers(summary.kept) {
            let key = difference_key(id, number);
            self.tables.remove(Table::Jobs, &key)?;
        }
        self.tables.remove(Table::Jobs, &summary_key(id))
    }
}

impl RedbStore {
    /// What a shadow replay has found.
    pub(super) fn shadow_report(&self, id: JobId) -> Result<Option<ShadowReport>, Error> {
        self.checked(|| {
            let rows = self.snapshot()?;
            let key = summary_key(id);
            let Some(summary) = self.row(&rows, Table::Jobs, &key, codec::read_summary)? else {
                return Ok(None);
            };
            let mut differences = Vec::new();
            for number in numbers(summary.kept) {
                let key = difference_key(id, number);
                match rows.get(Table::Jobs, &key, codec::read_difference)? {
                    Some(Ok(difference)) => differences.push(difference),
                    Some(Err(corruption)) => self.corrupt.note(&corruption),
                    None => {}
                }
            }
            Ok(Some(ShadowReport {
                counts: summary.counts,
                differences,
            }))
        })
    }

    /// The component that a job has of its own.
    pub(super) fn job_component(&self, id: JobId, digest: Digest) -> Result<Option<Bytes>, Error> {
        let key = component_key(digest, id);
        self.checked(|| {
            self.row(&self.snapshot()?, Table::Components, &key, |from| {
                Some(Bytes::copy_from_slice(from.rest()))
            })
        })
    }
}
