//! `edgebus compact`: gives space that a store doesn't use back to the disk.

use std::path::PathBuf;
use std::sync::Arc;

use super::output::{self, Progress};
use super::{Failure, OK};
use crate::program::ThisProgram;
use crate::settings;

/// Arguments of `compact`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus compact --data ./data

Space that retention frees is used again by the store. This makes the file itself smaller.
Stop the bus first. Nothing is lost if it is interrupted: run it again.
A store of an earlier format is migrated first. Earlier releases can't open it after that: copy the folder before.")]
pub(super) struct Arguments {
    /// The folder of the store.
    #[arg(long, env = "EDGEBUS_DATA", value_name = "DIR")]
    data: PathBuf,
}

pub(super) fn run(program: ThisProgram, arguments: &Arguments) -> Result<u8, Failure> {
    let settings = settings::Serve {
        data: arguments.data.clone(),
        ..settings::Serve::default()
    };
    let progress = Arc::new(Progress::start());
    let compacted = program.compact_store(&settings, &progress.of_start());
    progress.finish();
    let (before, after) = compacted.map_err(|error| {
        Failure::new(format!("the store can't be compacted: {error}")).coded(error.code)
    })?;
    output::print(&format!(
        "{} given back: the file had {} and has {}",
        output::bytes(before.saturating_sub(after)),
        output::bytes(before),
        output::bytes(after)
    ));
    Ok(OK)
}
