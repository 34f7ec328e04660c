//! `edgebus schema`: the JSON Schema of the manifest, for editors.

use super::{Failure, OK, output};
use edgebus_manifest as manifest;

/// Arguments of `schema`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus schema > edgebus.schema.json

With this first line in edgebus.yaml, editors that speak to yaml-language-server complete keys and
underline errors:
  # yaml-language-server: $schema=edgebus.schema.json")]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> Result<u8, Failure> {
    output::print(manifest::schema().trim_end());
    Ok(OK)
}
