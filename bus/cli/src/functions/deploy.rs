//! `edgebus functions deploy`: a component from a file to the bus, which compiles and checks it.

use std::path::PathBuf;

use edgebus_api::Function;

use super::path_of;
use crate::client;
use crate::connection::Connection;
use crate::output::{self, Output, Progress, bytes};
use crate::validate::files::component_of;
use crate::{Failure, OK};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  cargo build --release --target wasm32-wasip2 -p triage
  edgebus functions deploy triage target/wasm32-wasip2/release/triage.wasm

Limits, configuration and secrets come from the manifest; a new function gets the defaults.")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The function's name.
    #[arg(value_name = "NAME")]
    name: String,
    /// The component; `-` is standard input.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let component = component_of(&arguments.file).map_err(|(code, reason)| {
        Failure::new(format!("the component can't be deployed: {reason}")).coded(code)
    })?;
    let progress = Progress::on_terminal(&format!(
        "sending {}, and compiling it on the bus",
        bytes(component.len() as u64)
    ));
    let request = client.request("PUT", path_of(&arguments.name));
    let answer = request.body("application/wasm", component).send().await?;
    progress.finish();
    let row = String::from_utf8_lossy(&answer);
    output::one(arguments.output.format, &row, || {
        let function: Function = client::read(&answer)?;
        Ok(format!(
            "{} revision {}, digest {}",
            output::plain(&function.name),
            function.revision,
            output::plain(&function.digest)
        ))
    })?;
    Ok(OK)
}
