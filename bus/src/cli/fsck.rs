//! `edgebus fsck`: reads every record of a store and names the harmed ones.

use std::path::PathBuf;
use std::sync::Arc;

use super::output::{self, Progress};
use super::{FAILURE, Failure, OK};
use crate::assembly;
use crate::model::Code;
use crate::settings;
use crate::store::{Error, Step, Store};

/// Arguments of `fsck`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  edgebus fsck --data ./data")]
pub(super) struct Arguments {
    /// The folder of the store.
    #[arg(long, env = "EDGEBUS_DATA", value_name = "DIR")]
    data: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let settings = settings::Serve {
        data: arguments.data.clone(),
        ..settings::Serve::default()
    };
    let progress = Arc::new(Progress::start());
    let store = assembly::open_store(&settings, &progress.of_start()).map_err(|error| {
        progress.finish();
        Failure::new(format!("the store can't be opened: {error}")).coded(error.code)
    })?;
    progress.say("reading every record");
    let verified = store.verify(&mut |harm| {
        output::print(&harm);
    });
    progress.finish();
    let verified = verified.map_err(|error| {
        Failure::new(format!("the check can't go on: {error}")).coded(error.code)
    })?;
    output::print(&format!(
        "{} records, {} harmed",
        verified.records, verified.harmed
    ));
    if verified.harmed > 0 {
        output::note(&format!("see: edgebus explain {}", Code::RecordHarmed));
        return Ok(FAILURE);
    }
    keep_clean(&*store)?;
    Ok(OK)
}

/// Opening counts as a start that has not stopped: a store that was stopped in order stays so.
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
