//! `edgebus compile-component`: what a bus starts as its child to compile one component. Nobody types it.

use std::time::Duration;

use super::{Failure, OK};
use crate::assembly;
use crate::model::Code;

/// Arguments of `compile-component`; the component comes on standard input.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// How the memory of the bus's guests lies in its addresses.
    #[arg(long)]
    layout: String,
    /// The component's length.
    #[arg(long)]
    component_bytes: usize,
    /// Memory that compiling may take.
    #[arg(long)]
    memory_bytes: u64,
    /// Processor time that compiling may take.
    #[arg(long)]
    seconds: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    assembly::compile_component(
        &arguments.layout,
        arguments.component_bytes,
        arguments.memory_bytes,
        Duration::from_secs(arguments.seconds),
    )
    .map(|()| OK)
    .map_err(|error| Failure::new(error.to_string()).coded(Code::RuntimeFailed))
}
