//! What a start left unchecked is checked while the bus runs, slowly.
//!
//! A page of records is read, then nothing for nine times as long as that took: a tenth of one thread
//! and of the disk at most, less when they are busy with other things. Harm that it finds is told as
//! any other harm. Fate: ends with the check or the pipeline; a page that can't be read ends it with a word.

use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use super::Pipeline;
use crate::store::Checked;

/// Records that are looked at in one go; at some µs each.
const PAGE_ROWS: u64 = 500;
/// Nothing is read for so many times as long as a page took.
const REST: u32 = 9;
/// How long nothing is read at least.
const REST_MIN: Duration = Duration::from_millis(2);

/// How far the check is, for those who ask.
#[derive(Debug, Default)]
pub struct Checking {
    /// `None` when nothing is checked. A plain lock, held for a copy.
    progress: Mutex<Option<Checked>>,
}

impl Checking {
    /// How far the check is, in words; `None` if there is none.
    pub(crate) fn words(&self) -> Option<String> {
        let checked = (*self.progress())?;
        let percent = (checked.records.saturating_mul(100))
            .checked_div(checked.of)
            .unwrap_or(0);
        Some(format!(
            "checking the store after an unclean stop: {percent} % of {} records, {} harmed",
            checked.of, checked.harmed
        ))
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Option<Checked>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks page after page until nothing is left or the pipeline stops.
pub(super) async fn run(weak: Weak<Pipeline>) {
    let mut last = None;
    loop {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let store = pipeline.store().clone();
        let began = pipeline.clock().instant();
        let executor = &pipeline.context.executor;
        let page = executor.blocking(move || store.check_next(PAGE_ROWS));
        drop(pipeline);
        let page = page.await;
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        match page {
            Ok(Ok(Some(checked))) => last = Some(checked),
            Ok(Ok(None)) => break,
            Ok(Err(error)) => {
                let what = "records that are checked after an unclean stop";
                pipeline.context.reading_failed(what, &error);
                break;
            }
            // The process is stopping.
            Err(_) => return,
        }
        *pipeline.checking().progress() = last;
        let mut stop = pipeline.stop.subscribe();
        let clock = pipeline.clock();
        let took = clock.instant().saturating_duration_since(began);
        let sleep = clock.sleep((took * REST).max(REST_MIN));
        drop(pipeline);
        tokio::select! {
            biased;
            // Or the pipeline is gone.
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep => {}
        }
    }
    if let Some(pipeline) = weak.upgrade() {
        *pipeline.checking().progress() = None;
    }
    if let Some(checked) = last {
        tracing::info!(
            records = checked.records,
            harmed = checked.harmed,
            "the store was checked after an unclean stop"
        );
    }
}
