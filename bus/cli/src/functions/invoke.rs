//! `edgebus functions invoke`: a deployed function on one event, in its sandbox, without effects.

use bytes::Bytes;

use super::path_of;
use crate::connection::Connection;
use crate::output::{self, Output, Progress};
use crate::query::Path;
use crate::{FAILURE, Failure, OK, event_file, story};
use edgebus_http::wire;
use edgebus_model::{Data, Event};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus functions invoke triage --event event.json
  edgebus functions invoke enricher --event order.json --type com.example.order.placed --source /shop
  edgebus events export --after 41 --limit 1 | edgebus functions invoke triage --event -

The function sees its real configuration, secrets and state. The exit code is 1 if it does not succeed.")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The function's name.
    #[arg(value_name = "NAME")]
    name: String,
    /// A CloudEvent in JSON, or with --type the JSON data of one; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    event: String,
    /// The event's type: the file holds its data.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// The event's source.
    #[arg(
        long,
        value_name = "SOURCE",
        requires = "kind",
        default_value = "/invoke"
    )]
    source: String,
    /// The bus that the function is told, and that what it emits would go to.
    #[arg(long, value_name = "BUS", default_value = edgebus_model::rule::DEFAULT_BUS)]
    bus: String,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let body = body(&arguments)?;
    let path = Path::new(format!("{}/invoke", path_of(&arguments.name)));
    let path = path.with("bus", &arguments.bus);
    let progress = Progress::of_request("the function runs");
    let answer = client
        .post(path.text(), "application/cloudevents+json", body)
        .await?;
    progress.finish();
    let answer = String::from_utf8_lossy(&answer);
    output::one(arguments.output.format, &answer, || {
        story::trial(&answer, output::paint())
    })?;
    let row = output::parse(&answer)?;
    Ok(if row["outcome"] == "success" {
        OK
    } else {
        FAILURE
    })
}

/// The event to send.
fn body(arguments: &Arguments) -> Result<Bytes, Failure> {
    let bytes = event_file::read(&arguments.event)?;
    let Some(kind) = &arguments.kind else {
        // The bus would say the same; here the file can be named.
        let hint = "For bare data, add --type TYPE";
        event_file::structured(&arguments.event, &bytes, hint)?;
        return Ok(bytes);
    };
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(|error| {
        Failure::new(format!(
            "the data in {} is not JSON: {error}",
            arguments.event
        ))
    })?;
    let event = Event {
        id: format!("{:032x}", rand::random::<u128>()),
        source: arguments.source.clone(),
        kind: kind.clone(),
        subject: None,
        time: None,
        data_content_type: Some("application/json".to_owned()),
        data_schema: None,
        extensions: Vec::new(),
        data: Data::Json(bytes),
    };
    event
        .check()
        .map_err(|fault| Failure::new(format!("the function can't be tried: {fault}")))?;
    let mut out = Vec::new();
    wire::encode(&mut out, &event);
    Ok(Bytes::from(out))
}
