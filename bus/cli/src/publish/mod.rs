//! `edgebus publish`: events from flags, a file, or JSON Lines on standard input, in batches.
//!
//! In reading order: `document` is a `.json` file taken as a whole, `outbox` puts events into requests.

mod document;
mod outbox;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::client::Client;
use super::connection::Connection;
use super::mapping::{self, LINE_BYTES_MAX, Mapping, MemberPath, Template};
use super::output::counted;
use super::output::{self, Progress};
use super::{Failure, OK};
use document::Document;
use edgebus_http::wire;
use edgebus_model::limits::BATCH_EVENTS_MAX;
use edgebus_model::{Code, Data, Event};
use outbox::Outbox;

/// Arguments of `publish`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus publish --type com.example.order.placed --source /shop --data '{\"total\": 12}'
  edgebus publish --file events.jsonl                 each line a CloudEvent in JSON
  edgebus publish --file event.json --new-id          one CloudEvent, or an array of them
  edgebus publish --file webhooks.jsonl --type 'com.github.{$.event}' --source /github --data-path '$.payload'
  tail -f app.log.jsonl | edgebus publish --type 'app.{$.level}' --source /app --batch 10")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The bus.
    #[arg(long, default_value = edgebus_model::rule::DEFAULT_BUS)]
    bus: String,
    /// `type`; with lines, a template as in `com.github.{$.event}`.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// `source`; with lines, a template.
    #[arg(long)]
    source: Option<String>,
    /// `id`; with lines, a template. Without it: random for one event; for lines made of the line's number and bytes, so that a repeated input is a duplicate.
    #[arg(long)]
    id: Option<String>,
    /// `subject`; with lines, a template.
    #[arg(long)]
    subject: Option<String>,
    /// `time` in RFC 3339; with lines, a template.
    #[arg(long)]
    time: Option<String>,
    /// The data of one event: JSON, or @FILE.
    #[arg(long, conflicts_with_all = ["file", "data_path"])]
    data: Option<String>,
    /// The part of each line that is the data, as in `$.payload`; without it, the whole line.
    #[arg(long, value_name = "JSONPATH", requires = "kind")]
    data_path: Option<String>,
    /// Read events from this file: a name that ends in .json is one event or an array of them; any other, and `-` for standard input, is one JSON value a line.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Give each event of a file a new random id, so that none is a duplicate of an earlier run.
    #[arg(long, conflicts_with = "id")]
    new_id: bool,
    /// Events in one request.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=BATCH_EVENTS_MAX as u64))]
    batch: u64,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let lines_wait =
        arguments.data.is_none() && !std::io::stdin().is_terminal() && arguments.kind.is_none();
    if arguments.file.is_some() || arguments.data_path.is_some() || lines_wait {
        return publish_many(&arguments, &client).await;
    }
    let event = single(&arguments)?;
    let mut body = Vec::new();
    wire::encode(&mut body, &event);
    let answer = client
        .post(
            &path(&arguments.bus),
            "application/cloudevents+json",
            Bytes::from(body),
        )
        .await?;
    output::print(&String::from_utf8_lossy(&answer));
    Ok(OK)
}

fn path(bus: &str) -> String {
    format!("/v1/buses/{bus}/events")
}

fn single(arguments: &Arguments) -> Result<Event, Failure> {
    let required = |value: &Option<String>, flag: &str| {
        value.clone().ok_or_else(|| {
            Failure::usage(format!("{flag} is required for an event from flags; or give --file FILE with events in lines"))
        })
    };
    let data = match arguments.data.as_deref() {
        None => Data::Absent,
        Some(text) => {
            let bytes = match text.strip_prefix('@') {
                None => text.as_bytes().to_vec(),
                Some(file) => std::fs::read(file).map_err(|error| {
                    Failure::new(format!("{file} can't be read: {error}"))
                        .coded(Code::FileUnreadable)
                })?,
            };
            serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(|error| {
                Failure::new(format!(
                    "the data is not JSON: {error}; quote it, as in --data '{{\"total\": 12}}'"
                ))
                .coded(Code::LineUnfit)
            })?;
            Data::Json(Bytes::from(bytes))
        }
    };
    let event = Event {
        id: arguments.id.clone().unwrap_or_else(random_id),
        source: required(&arguments.source, "--source")?,
        kind: required(&arguments.kind, "--type")?,
        subject: arguments.subject.clone(),
        time: arguments.time.clone(),
        data_content_type: (data != Data::Absent).then(|| "application/json".to_owned()),
        data_schema: None,
        extensions: Vec::new(),
        data,
    };
    event.check().map_err(|fault| {
        Failure::new(format!("the event can't be published: {fault}")).coded(Code::LineUnfit)
    })?;
    Ok(event)
}

fn mapping_of(arguments: &Arguments) -> Result<Option<Mapping>, Failure> {
    let Some(kind) = &arguments.kind else {
        return Ok(None);
    };
    let template = |flag: &str, text: &str| {
        text.parse::<Template>()
            .map_err(|error| Failure::usage(format!("{flag}: {error}")))
    };
    let optional = |flag: &str, text: &Option<String>| {
        text.as_ref().map(|text| template(flag, text)).transpose()
    };
    let source = arguments.source.as_ref().ok_or_else(|| {
        Failure::usage("--type with lines needs --source as well: a URI reference that says where the events come from, as in --source /github")
    })?;
    Ok(Some(Mapping {
        kind: template("--type", kind)?,
        source: template("--source", source)?,
        id: optional("--id", &arguments.id)?,
        subject: optional("--subject", &arguments.subject)?,
        time: optional("--time", &arguments.time)?,
        data: arguments
            .data_path
            .as_ref()
            .map(|path| {
                path.parse::<MemberPath>()
                    .map_err(|error| Failure::usage(format!("--data-path: {error}")))
            })
            .transpose()?,
    }))
}

/// Where the events of a run come from.
enum Input {
    Lines(Box<dyn AsyncBufRead + Unpin + Send>),
    Document(Document),
}

async fn open(arguments: &Arguments) -> Result<Input, Failure> {
    let Some(file) = arguments
        .file
        .as_deref()
        .filter(|file| *file != Path::new("-"))
    else {
        return Ok(Input::Lines(Box::new(BufReader::new(tokio::io::stdin()))));
    };
    if file.extension().is_some_and(|ending| ending == "json") {
        let owned = file.to_owned();
        let read = tokio::task::spawn_blocking(move || Document::read(&owned)).await;
        let read = read.map_err(|error| Failure::new(error.to_string()))??;
        // Lines under this name are what they are.
        if let Some(document) = read {
            return Ok(Input::Document(document));
        }
    }
    let opened = tokio::fs::File::open(file).await;
    Ok(Input::Lines(Box::new(BufReader::new(opened.map_err(
        |error| {
            Failure::new(format!("{} can't be read: {error}", file.display()))
                .coded(Code::FileUnreadable)
        },
    )?))))
}

async fn publish_many(arguments: &Arguments, client: &Client) -> Result<u8, Failure> {
    let mapping = mapping_of(arguments)?;
    let input = open(arguments).await?;
    let progress = Progress::start();
    progress.say("publishing");
    let mut outbox = Outbox::new(client, path(&arguments.bus), arguments.batch, &progress);
    let each = Each {
        mapping: mapping.as_ref(),
        new_id: arguments.new_id,
    };
    let sent = match input {
        Input::Lines(lines) => send_lines(&each, lines, &mut outbox).await,
        Input::Document(document) => send_document(&each, &document, &mut outbox).await,
    };
    progress.finish();
    let tally = outbox.tally;
    let count =
        |number: u64, one, many| counted(usize::try_from(number).unwrap_or(usize::MAX), one, many);
    let summary = format!(
        "{} accepted, {} of them duplicates, in {}",
        count(tally.accepted, "event", "events"),
        tally.duplicates,
        count(tally.requests, "request", "requests")
    );
    sent.map_err(|failure| Failure {
        message: format!(
            "{}\n{summary} before that; a repeat is safe",
            failure.message
        ),
        ..failure
    })?;
    output::print(&summary);
    if tally.accepted > 0 && tally.duplicates == tally.accepted {
        output::note(
            "a duplicate (same source and id) is answered, and not delivered again; --new-id publishes it as a new event",
        );
    }
    Ok(OK)
}

async fn send_lines(
    each: &Each<'_>,
    mut input: Box<dyn AsyncBufRead + Unpin + Send>,
    outbox: &mut Outbox<'_>,
) -> Result<(), Failure> {
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if !read_line(&mut *input, &mut line, number + 1).await? {
            return outbox.flush().await;
        }
        number += 1;
        if !line.iter().all(u8::is_ascii_whitespace) {
            outbox.add(&each.event("line", &line, number)?).await?;
        }
    }
}

async fn send_document(
    each: &Each<'_>,
    document: &Document,
    outbox: &mut Outbox<'_>,
) -> Result<(), Failure> {
    let mut number = 0;
    for json in document.events()? {
        number += 1;
        outbox
            .add(&each.event("event", json.get().as_bytes(), number)?)
            .await?;
    }
    outbox.flush().await
}

/// How each JSON value becomes an event.
struct Each<'a> {
    mapping: Option<&'a Mapping>,
    new_id: bool,
}

impl Each<'_> {
    /// The event that `json` is or is mapped to; `what` and `number` say where it stands in the input.
    fn event(&self, what: &str, json: &[u8], number: u64) -> Result<Event, Failure> {
        let mut event = match self.mapping {
            Some(mapping) => mapping::map_line(mapping, json, number).map_err(|fault| {
                let space = if fault.pointer.is_empty() { "" } else { " " };
                Failure::new(format!("{what} {number}: {}{space}{}; {}", fault.pointer, fault.reason, fault.remedy)).coded(Code::LineUnfit)
            }),
            None => wire::decode_structured(&Bytes::copy_from_slice(json)).map_err(|error| {
                let faults: Vec<String> = error.faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.reason)).collect();
                Failure::new(format!(
                    "{what} {number} is no CloudEvent: {}; or map it: --type TEMPLATE --source TEMPLATE --data-path JSONPATH",
                    if faults.is_empty() { error.message } else { faults.join("; ") }
                )).coded(Code::LineUnfit)
            }),
        }?;
        if self.new_id {
            event.id = random_id();
        }
        Ok(event)
    }
}

fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Reads one line into `line`; `false` at the end. A line without an end is refused before it fills the memory.
async fn read_line(
    input: &mut (dyn AsyncBufRead + Unpin + Send),
    line: &mut Vec<u8>,
    number: u64,
) -> Result<bool, Failure> {
    loop {
        let (used, done) = {
            let buffer = input.fill_buf().await.map_err(|error| {
                Failure::new(format!("line {number} can't be read: {error}"))
                    .coded(Code::FileUnreadable)
            })?;
            if buffer.is_empty() {
                return Ok(!line.is_empty());
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            line.extend_from_slice(&buffer[..used]);
            (used, end.is_some())
        };
        input.consume(used);
        if line.len() > LINE_BYTES_MAX + 2 {
            return Err(Failure::new(format!(
                "line {number} is longer than {LINE_BYTES_MAX} bytes"
            ))
            .coded(Code::LineUnfit));
        }
        if done {
            return Ok(true);
        }
    }
}
