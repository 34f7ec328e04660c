//! `edgebus fsck`: reads every record of a store, names the corrupt ones, and moves them to quarantine if
//! asked to.

use std::path::PathBuf;
use std::sync::Arc;

use super::output::{self, Progress};
use super::{FAILURE, Failure, OK};
use crate::program::ThisProgram;
use crate::settings;
use edgebus_engine::clock::Clock;
use edgebus_model::Code;
use edgebus_store::{Error, Step, StepOutcome, Store};

/// Arguments of `fsck`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus fsck --data ./data
  edgebus fsck --data ./data --quarantine

A store of an earlier format is migrated first. Earlier releases can't open it after that: copy the folder before.")]
pub(super) struct Arguments {
    /// The folder of the store.
    #[arg(long, env = "EDGEBUS_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Move corrupt records to quarantine, and repair what depended on them.
    #[arg(long)]
    quarantine: bool,
}

/// Records that are checked at a time while corrupt ones are moved.
const PAGE_ROWS: u64 = 10_000;
/// Checks of everything while corrupt records are moved: what one moves may have hidden more.
const CHECKS_MAX: usize = 8;
/// Rows of quarantine that are read at a time.
const LISTED: usize = 256;

pub(super) fn run(program: ThisProgram, arguments: &Arguments) -> Result<u8, Failure> {
    let settings = settings::Serve {
        data: arguments.data.clone(),
        ..settings::Serve::default()
    };
    let progress = Arc::new(Progress::start());
    let store = program
        .open_store(&settings, &progress.of_start())
        .map_err(|error| {
            progress.finish();
            Failure::new(format!("the store can't be opened: {error}")).coded(error.code)
        })?;
    let stopped = |error: Error| {
        progress.finish();
        Failure::new(format!("the check can't go on: {error}")).coded(error.code)
    };
    if arguments.quarantine {
        progress.say("moving corrupt records to quarantine");
        move_aside(&*store).map_err(stopped)?;
    }
    progress.say("reading every record");
    let verified = store.verify(&mut |corruption| {
        output::print(&corruption);
    });
    let verified = verified.map_err(stopped)?;
    let in_quarantine = list(&*store).map_err(stopped)?;
    progress.finish();
    let aside = match in_quarantine {
        0 => String::new(),
        count => format!(", {count} in quarantine"),
    };
    output::print(&format!(
        "{} records, {} corrupt{aside}",
        verified.records, verified.corrupt
    ));
    if verified.corrupt > 0 {
        output::note(&format!("see: edgebus explain {}", Code::RecordCorrupt));
        return Ok(FAILURE);
    }
    keep_clean(&*store)?;
    Ok(OK)
}

/// Moves all that can be moved.
fn move_aside(store: &dyn Store) -> Result<(), Error> {
    // The log's own time: what is pending again is due in it.
    let catalog = store.catalog()?;
    let now = Clock::continued(catalog.newest, catalog.clock.as_ref()).now();
    for _ in 0..CHECKS_MAX {
        let before = store.corruption().found;
        store.begin_check();
        while store.check_next(PAGE_ROWS)?.is_some() {}
        loop {
            let records = store.corruption().movable;
            if records.is_empty() {
                break;
            }
            for outcome in store.commit(&[Step::Quarantine { records, now }])? {
                let StepOutcome::Quarantined(moved) = outcome else {
                    continue;
                };
                for name in moved.records {
                    output::print(&format!("moved to quarantine: {name}"));
                }
                for name in moved.repaired {
                    output::print(&format!("fixed: {name}"));
                }
                for (_, key) in moved.pending {
                    output::print(&format!("pending anew: {key}"));
                }
                for key in moved.dead {
                    output::print(&format!("a dead letter now: {key}"));
                }
            }
        }
        if store.corruption().found == before {
            break;
        }
    }
    Ok(())
}

/// Names what is in quarantine, and counts it.
fn list(store: &dyn Store) -> Result<u64, Error> {
    let (mut after, mut count) = (None, 0);
    loop {
        let page = store.quarantined(after.as_ref(), LISTED)?;
        for row in &page {
            let bytes = match row.bytes {
                Some(bytes) => format!(", {bytes} B"),
                None => String::new(),
            };
            output::print(&format!(
                "in quarantine since {}: {}: {}{bytes}",
                row.moved_at, row.name, row.reason
            ));
        }
        count += page.len() as u64;
        if page.len() < LISTED {
            return Ok(count);
        }
        after = page.last().map(|row| row.id.clone());
    }
}

/// Opening the store marks it as running. A store that was stopped cleanly must stay marked so.
fn keep_clean(store: &dyn Store) -> Result<(), Failure> {
    let marked = store.catalog().and_then(|catalog| {
        if catalog.clean {
            store.commit(&[Step::MarkClean(true)])?;
        }
        Ok(())
    });
    marked.map_err(|error: Error| {
        Failure::new(format!(
            "the store can't be closed as it was found: {error}; the next start recovers"
        ))
        .coded(error.code)
    })
}
