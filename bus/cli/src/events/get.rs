//! `edgebus events get`: one event, and the deliveries that it led to.

use edgebus_api::DeliveryQuery;

use super::log_path;
use super::which::Which;
use crate::connection::Connection;
use crate::output::{self, Output};
use crate::{Failure, OK, client, story};

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
    let position = arguments.which.position(&client).await?;
    let bus = &arguments.which.bus;
    let answer = client
        .get(log_path(bus, &format!("/{position}")).text())
        .await
        .map_err(|error| arguments.which.refused(error))?;
    let stored = String::from_utf8_lossy(&answer);
    let deliveries = match arguments.output.format {
        output::Format::Table => {
            let query = DeliveryQuery {
                position: Some(position),
                bus: Some(bus.clone()),
                ..DeliveryQuery::default()
            };
            client.deliveries(&query).await?.deliveries
        }
        _ => Vec::new(),
    };
    output::one(arguments.output.format, &stored, || {
        let stored = client::read(&answer)?;
        Ok(story::event(&stored, bus, &deliveries, output::paint()))
    })?;
    Ok(OK)
}
