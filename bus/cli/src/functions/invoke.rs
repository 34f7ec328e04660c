//! `edgebus functions invoke`: a deployed function on one event, in its sandbox, without effects.

use bytes::Bytes;
use edgebus_api::{ExplainQuery, Outcome, Stage, Trial};

use super::path_of;
use crate::client::{self, Client, STRUCTURED};
use crate::connection::Connection;
use crate::output::{self, Output, Progress};
use crate::query::Path;
use crate::{FAILURE, Failure, OK, event_file, story};
use edgebus_http::wire;
use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{Data, Event};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus functions invoke triage --event event.json
  edgebus functions invoke notify --delivery 5-16     on what that delivery gave it
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
    #[arg(long, value_name = "FILE", required_unless_present = "delivery")]
    event: Option<String>,
    /// A delivery: the function gets the event as that delivery's rule makes it.
    #[arg(long, value_name = "ID", conflicts_with_all = ["event", "kind", "bus"])]
    delivery: Option<String>,
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
    /// The bus that the function sees, and to which its events would go.
    #[arg(long, value_name = "BUS", default_value = DEFAULT_BUS)]
    bus: String,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let (body, bus) = match (&arguments.event, &arguments.delivery) {
        (Some(file), _) => (body(&arguments, file)?, arguments.bus.clone()),
        (None, Some(id)) => of_delivery(&client, id).await?,
        (None, None) => {
            return Err(Failure::usage(
                "name an event: --event FILE, or --delivery ID",
            ));
        }
    };
    let path = Path::new(format!("{}/invoke", path_of(&arguments.name)));
    let path = path.with("bus", &bus);
    let progress = Progress::of_request("the function runs");
    let request = client.request("POST", path.text());
    let answer = request.body(STRUCTURED, body).send().await?;
    progress.finish();
    let json = String::from_utf8_lossy(&answer);
    output::one(arguments.output.format, &json, || {
        let trial: Trial = client::read(&answer)?;
        Ok(story::trial(&trial, output::paint()))
    })?;
    let ended: Ended = client::read(&answer)?;
    Ok(match ended.outcome {
        Outcome::Success => OK,
        _ => FAILURE,
    })
}

/// The part that the exit code depends on. The rest of a newer bus's answer may be unknown here.
#[derive(serde::Deserialize)]
struct Ended {
    outcome: Outcome,
}

/// The event as a delivery gives it to its function, and the event's bus. The rule is the active one.
async fn of_delivery(client: &Client, id: &str) -> Result<(Bytes, String), Failure> {
    let unwritable = |error: serde_json::Error| Failure::new(error.to_string());
    let delivery = client.delivery(id).await?;
    let name = delivery.bus.unwrap_or_default();
    let bus = client.bus(&name);
    let (event, erased) = match delivery.event {
        Some(event) => (event, delivery.erased),
        None => {
            let stored = bus.event(delivery.position).await?;
            (stored.event, stored.erased)
        }
    };
    if let Some(erased) = erased {
        return Err(Failure::new(format!(
            "the event of delivery {} was erased by job {}: there is nothing to run on",
            output::plain(id),
            erased.job
        )));
    }
    let event = Bytes::from(serde_json::to_vec(&event).map_err(unwritable)?);
    let query = ExplainQuery {
        rule: Some(delivery.rule.unwrap_or_default()),
        // The log may no longer have the event; a dead letter has its own copy.
        dead_letter: (delivery.stage == Stage::Dead).then(|| id.to_owned()),
        ..ExplainQuery::default()
    };
    let explained = bus.explain(delivery.position, &query).await?;
    let verdicts = explained.verdicts.iter();
    let mut inputs = verdicts.flat_map(|verdict| &verdict.inputs);
    let Some(made) = inputs.find(|made| made.subscription == delivery.subscription) else {
        return Ok((event, name));
    };
    let Some(input) = &made.input else {
        let error = made.error.as_deref().unwrap_or("it makes none");
        return Err(Failure::new(format!(
            "the rule has no input for the event of delivery {}: {}",
            output::plain(id),
            output::plain(error)
        )));
    };
    let mut event = event_file::structured(id, &event, "")?;
    event.data = Data::Json(Bytes::copy_from_slice(input.get().as_bytes()));
    event.data_content_type = Some("application/json".to_owned());
    event.data_schema = None;
    let mut out = Vec::new();
    wire::encode(&mut out, &event);
    Ok((Bytes::from(out), name))
}

/// The event to send, out of a file.
fn body(arguments: &Arguments, file: &str) -> Result<Bytes, Failure> {
    let bytes = event_file::read(file)?;
    let Some(kind) = &arguments.kind else {
        // The bus would say the same; here the file can be named.
        let hint = "For bare data, add --type TYPE";
        event_file::structured(file, &bytes, hint)?;
        return Ok(bytes);
    };
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
        .map_err(|error| Failure::new(format!("the data in {file} is not JSON: {error}")))?;
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
    event.check().map_err(|input_error| {
        Failure::new(format!("the function can't be tried: {input_error}"))
    })?;
    let mut out = Vec::new();
    wire::encode(&mut out, &event);
    Ok(Bytes::from(out))
}
