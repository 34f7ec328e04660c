//! `edgebus events get`: one event, and the deliveries that it led to.

use serde_json::Value;

use super::log_path;
use super::which::Which;
use crate::connection::Connection;
use crate::listing;
use crate::output::{self, Output};
use crate::query::Path;
use crate::story;
use crate::{Failure, OK};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus events get 42
  edgebus events get order-4711 --source /shop
  edgebus events get 42 -o json")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let position = arguments.which.position(&client).await?.to_string();
    let bus = &arguments.which.bus;
    let answer = client
        .get(log_path(bus, &format!("/{position}")).text())
        .await
        .map_err(|error| arguments.which.refused(error))?;
    let stored = String::from_utf8_lossy(&answer);
    let deliveries = match arguments.output.format {
        output::Format::Table => {
            let path = Path::new("/v1/deliveries")
                .with("position", &position)
                .with("bus", bus);
            let answer = client.get(path.text()).await?;
            let page = listing::page(&answer, "deliveries")?;
            page.rows
                .iter()
                .map(|row| output::parse(row.get()))
                .collect::<Result<Vec<Value>, Failure>>()?
        }
        _ => Vec::new(),
    };
    output::one(arguments.output.format, &stored, || {
        story::event(&stored, bus, &deliveries, output::paint())
    })?;
    Ok(OK)
}
