//! `edgebus publish`: events from flags, a file, or JSON on standard input, in batches.
//!
//! In reading order: `single` is the event from flags, `document` is a `.json` file taken as a whole,
//! `values` are the lines of a stream, `outbox` puts events into requests.

mod document;
mod outbox;
mod single;
mod values;

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, BufReader};

use super::client::{Client, STRUCTURED};
use super::connection::Connection;
use super::mapping::{self, Mapping, MemberPath, Template};
use super::output::{self, Format, Output, Progress};
use super::query::encoded;
use super::serve::Signals;
use super::{Failure, OK};
use document::Document;
use edgebus_http::wire;
use edgebus_model::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX};
use edgebus_model::{Code, Event};
use outbox::{Outbox, Place};
use values::{Value, Values};

/// How long a file waits for a bus that is away; standard input, which can't be repeated, waits without end.
const FILE_PATIENCE: Duration = Duration::from_secs(30);

/// How long the last request may take after a signal.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `publish`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus publish --type com.example.order.placed --source /shop --data '{\"total\": 12}'
  edgebus publish --file events.jsonl                 each line a CloudEvent in JSON
  edgebus publish --file event.json --new-id          one CloudEvent, or an array of them
  edgebus publish --file webhooks.jsonl --type 'com.github.{$.event}' --source /github --data-path '$.payload'
  tail -f app.log.jsonl | edgebus publish --type 'app.{$.level}' --source /app --skip-invalid

Without --data and --file, publish reads JSON from standard input, unless that is a terminal or
/dev/null. It sends each event of a stream after at most 100 ms. If the bus stops, it waits until
the bus is back.")]
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
    #[arg(long, requires = "kind")]
    source: Option<String>,
    /// `id`; with lines, a template. The default is a random id. Lines of a file get ids from the line's
    /// number, its bytes and the type, so that publishing the file again makes duplicates.
    #[arg(long, requires = "kind")]
    id: Option<String>,
    /// `subject`; with lines, a template.
    #[arg(long, requires = "kind")]
    subject: Option<String>,
    /// `time` in RFC 3339; with lines, a template.
    #[arg(long, requires = "kind")]
    time: Option<String>,
    /// An extension attribute, as in `tenant=acme`; with lines, the value is a template. May be repeated.
    #[arg(long = "extension", value_name = "NAME=VALUE", requires = "kind", value_parser = extension)]
    extensions: Vec<(String, String)>,
    /// The data of one event: JSON, or @FILE; @- is standard input.
    #[arg(long, conflicts_with_all = ["file", "data_path"])]
    data: Option<String>,
    /// `datacontenttype` of --data. Data of a type other than JSON is sent as it is.
    #[arg(long, value_name = "TYPE", requires = "data")]
    content_type: Option<String>,
    /// The part of each line that is the data, as in `$.payload`; without it, the whole line.
    #[arg(long, value_name = "JSONPATH", requires = "kind")]
    data_path: Option<String>,
    /// Read events from this file. A file whose name ends in .json has one event or an array of events. Any
    /// other file, and `-` for standard input, has JSON values, each on one line or on several.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Give each event a new random id, so that none is a duplicate of an earlier run.
    #[arg(long, conflicts_with = "id")]
    new_id: bool,
    /// Derive ids of the lines of standard input as for a file, so that the same input again makes
    /// duplicates.
    #[arg(long, conflicts_with_all = ["id", "new_id"], requires = "kind")]
    stable_id: bool,
    /// Skip lines that are not JSON or can't become events. Each is reported on standard error.
    #[arg(long)]
    skip_invalid: bool,
    /// Events in one request.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=BATCH_EVENTS_MAX as u64))]
    batch: u64,
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// The flags that are templates where there are lines.
    fn templates(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = [
            ("--type", &self.kind),
            ("--source", &self.source),
            ("--id", &self.id),
            ("--subject", &self.subject),
            ("--time", &self.time),
        ];
        let named = named
            .into_iter()
            .filter_map(|(flag, text)| Some((flag, text.as_deref()?)));
        let extensions = self.extensions.iter();
        named.chain(extensions.map(|(_, value)| ("--extension", value.as_str())))
    }
}

fn extension(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE, as in tenant=acme".to_owned()),
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let lines_wait = arguments.data.is_none() && may_have_lines();
    if arguments.file.is_some() || arguments.data_path.is_some() || lines_wait {
        return publish_many(&arguments, &client).await;
    }
    let event = single::event(&arguments)?;
    let mut body = Vec::new();
    wire::encode(&mut body, &event);
    let path = format!("/v1/buses/{}/events", encoded(&arguments.bus));
    let request = client.request("POST", path);
    let answer = request.body(STRUCTURED, body).send().await?;
    let answer = String::from_utf8_lossy(&answer);
    output::one(arguments.output.format, &answer, || {
        Ok(answer.clone().into_owned())
    })?;
    Ok(OK)
}

/// True if standard input is a pipe or a file. A user at a terminal would not know that input is expected,
/// and a background process has `/dev/null`. Both are character devices.
fn may_have_lines() -> bool {
    std::fs::metadata("/dev/stdin").is_ok_and(|found| !found.file_type().is_char_device())
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
    let extensions = arguments.extensions.iter();
    Ok(Some(Mapping {
        kind: template("--type", kind)?,
        source: template("--source", source)?,
        id: optional("--id", &arguments.id)?,
        subject: optional("--subject", &arguments.subject)?,
        time: optional("--time", &arguments.time)?,
        extensions: extensions
            .map(|(name, value)| Ok((name.clone(), template("--extension", value)?)))
            .collect::<Result<_, Failure>>()?,
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
    /// It can't be read again: standard input, or a pipe with a name.
    Stream(Box<dyn AsyncBufRead + Unpin + Send>),
    /// A file of lines.
    Lines(Box<dyn AsyncBufRead + Unpin + Send>),
    Document(Document),
}

async fn open(arguments: &Arguments) -> Result<Input, Failure> {
    let Some(file) = arguments
        .file
        .as_deref()
        .filter(|file| *file != Path::new("-"))
    else {
        return Ok(Input::Stream(Box::new(BufReader::new(tokio::io::stdin()))));
    };
    let unread = |error: std::io::Error| {
        Failure::new(format!("{} can't be read: {error}", file.display()))
            .coded(Code::FileUnreadable)
    };
    let found = tokio::fs::metadata(file).await.map_err(unread)?;
    if found.is_file() && file.extension().is_some_and(|ending| ending == "json") {
        let owned = file.to_owned();
        let read = tokio::task::spawn_blocking(move || Document::read(&owned)).await;
        let read = read.map_err(|error| Failure::new(error.to_string()))??;
        // Lines under this name are what they are.
        if let Some(document) = read {
            return Ok(Input::Document(document));
        }
    }
    let opened = tokio::fs::File::open(file).await.map_err(unread)?;
    let lines = Box::new(BufReader::new(opened));
    Ok(if found.is_file() {
        Input::Lines(lines)
    } else {
        Input::Stream(lines)
    })
}

async fn publish_many(arguments: &Arguments, client: &Client) -> Result<u8, Failure> {
    let mapping = mapping_of(arguments)?;
    let input = open(arguments).await?;
    let streams = matches!(input, Input::Stream(_));
    let progress = Progress::on_terminal("publishing");
    let mut outbox = Outbox::new(
        client,
        &arguments.bus,
        arguments.batch,
        (!streams).then_some(FILE_PATIENCE),
        &progress,
        arguments.output.format,
    )
    .skipping(arguments.skip_invalid);
    let each = Each {
        random_ids: arguments.new_id
            || (streams && mapping.is_some() && arguments.id.is_none() && !arguments.stable_id),
        mapping: mapping.as_ref(),
    };
    let mut signals = Signals::install()?;
    let sending = async {
        match input {
            Input::Stream(lines) => each.send_values(lines, true, &mut outbox).await,
            Input::Lines(lines) => each.send_values(lines, false, &mut outbox).await,
            Input::Document(document) => each.send_document(&document, &mut outbox).await,
        }
    };
    let sent = tokio::select! {
        sent = sending => Some(sent),
        () = signals.stop_or_hangup() => None,
    };
    // What was read before an error or a signal is good.
    let stopped = || Failure::new("stopped by a signal");
    let sent = match sent {
        Some(Ok(())) => Ok(()),
        Some(Err(Stop::Input(failure))) => tokio::select! {
            flushed = outbox.flush() => flushed.and(Err(failure)),
            () = signals.stop_or_hangup() => Err(failure),
        },
        Some(Err(Stop::Other(failure))) => Err(failure),
        None => tokio::select! {
            flushed = tokio::time::timeout(LAST_PATIENCE, outbox.flush_once()) => match flushed {
                Ok(flushed) => flushed.and(Err(stopped())),
                Err(_) => Err(Failure::new(format!(
                    "stopped by a signal, and the bus did not answer within {} s",
                    LAST_PATIENCE.as_secs()
                ))),
            },
            () = signals.stop_or_hangup() => Err(stopped()),
        },
    };
    progress.finish();
    let counts = outbox.end()?;
    let summary = counts.words();
    let again = if streams { "" } else { "; a repeat is safe" };
    sent.map_err(|failure| Failure {
        message: format!("{}\n{summary} before that{again}", failure.message),
        ..failure
    })?;
    if arguments.output.format == Format::Table {
        output::print(&summary);
    } else {
        output::note(&summary);
    }
    hint(&counts, streams);
    Ok(OK)
}

/// Prints notes on what may be unexpected after a successful run.
fn hint(counts: &outbox::Counts, streams: bool) {
    if counts.new == 0 && counts.duplicates > 0 {
        output::note(
            "duplicates (same source and id) are acknowledged, but not stored or delivered again; --new-id publishes them as new events",
        );
    } else if counts.new + counts.duplicates + counts.skipped == 0 {
        let what = if streams {
            "standard input"
        } else {
            "the file"
        };
        output::note(&format!(
            "nothing was published: {what} has no events; an event without data from a script: edgebus publish --type TYPE --source SOURCE </dev/null"
        ));
    }
}

/// Why sending ended early.
enum Stop {
    /// The input can't be read on, or has a value that can't become an event; what came before it can.
    Input(Failure),
    Other(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// How each JSON value becomes an event.
struct Each<'a> {
    mapping: Option<&'a Mapping>,
    random_ids: bool,
}

impl Each<'_> {
    /// Sends the values of `input`; those of a stream don't wait long for each other.
    async fn send_values(
        &self,
        input: Box<dyn AsyncBufRead + Unpin + Send>,
        streams: bool,
        outbox: &mut Outbox<'_>,
    ) -> Result<(), Stop> {
        let mut values = Values::new(input);
        loop {
            let deadline = outbox.deadline().filter(|_| streams);
            let read = match deadline {
                None => values.next().await.map_err(Stop::Input)?,
                Some(deadline) => match tokio::time::timeout_at(deadline, values.next()).await {
                    Ok(read) => read.map_err(Stop::Input)?,
                    Err(_) => {
                        outbox.flush().await?;
                        continue;
                    }
                },
            };
            match read {
                None => return Ok(outbox.flush().await?),
                Some(value) => self.send_value(&value, outbox).await?,
            }
        }
    }

    async fn send_value(&self, value: &Value, outbox: &mut Outbox<'_>) -> Result<(), Stop> {
        let line = value.line;
        let json = match &value.json {
            Ok(json) => json,
            Err(reason) => {
                let unfit = unfit(format!(
                    "line {line}: {reason}; write JSON, as in {{\"total\": 12}}"
                ));
                return outbox.unfit(unfit).map_err(Stop::Input);
            }
        };
        let array = (self.mapping.is_none() && json.trim_ascii_start().starts_with(b"["))
            .then(|| serde_json::from_slice::<Vec<&RawValue>>(json).ok())
            .flatten();
        let place = Place {
            what: "line",
            number: line,
        };
        let Some(array) = array else {
            return self.send(place, json, outbox).await;
        };
        for event in array {
            self.send(place, event.get().as_bytes(), outbox).await?;
        }
        Ok(())
    }

    async fn send_document(
        &self,
        document: &Document,
        outbox: &mut Outbox<'_>,
    ) -> Result<(), Stop> {
        for (number, json) in (1..).zip(document.events()?) {
            let place = Place {
                what: "event",
                number,
            };
            self.send(place, json.get().as_bytes(), outbox).await?;
        }
        Ok(outbox.flush().await?)
    }

    async fn send(&self, place: Place, json: &[u8], outbox: &mut Outbox<'_>) -> Result<(), Stop> {
        match self.event(place, json) {
            Ok(event) => Ok(outbox.add(&event, place).await?),
            Err(failure) => outbox.unfit(failure).map_err(Stop::Input),
        }
    }

    /// The event that `json` is or is mapped to; `place` is where it stands in the input.
    fn event(&self, place: Place, json: &[u8]) -> Result<Event, Failure> {
        let mut event = match self.mapping {
            Some(mapping) => mapping::map_line(mapping, json, place.number).map_err(|input_error| {
                let space = if input_error.pointer.is_empty() { "" } else { " " };
                unfit(format!("{place}: {}{space}{}; {}", input_error.pointer, input_error.reason, input_error.remedy))
            })?,
            None => wire::decode_structured(&Bytes::copy_from_slice(json)).map_err(|error| {
                let errors: Vec<String> = error.errors.iter().map(|input_error| {
                    let colon = if input_error.pointer.is_empty() { "" } else { ": " };
                    format!("{}{colon}{}", input_error.pointer, input_error.reason)
                }).collect();
                unfit(format!(
                    "{place} is not a CloudEvent: {}; or map it: --type TEMPLATE --source TEMPLATE --data-path JSONPATH",
                    if errors.is_empty() { error.message } else { errors.join("; ") }
                ))
            })?,
        };
        if self.random_ids {
            event.id = random_id();
        }
        if event.size() > EVENT_BYTES_MAX {
            return Err(unfit(format!(
                "{place}: the event is larger than {EVENT_BYTES_MAX} bytes"
            )));
        }
        Ok(event)
    }
}

fn unfit(message: String) -> Failure {
    Failure::new(message).coded(Code::LineUnfit)
}

fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

    /// An input that breaks at once.
    struct Broken;

    impl AsyncRead for Broken {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()))
        }
    }

    #[tokio::test]
    async fn what_was_read_before_the_input_broke_is_to_be_sent() {
        let client = Client::new("http://127.0.0.1:1").unwrap();
        let progress = Progress::on_terminal("publishing");
        let mut outbox = Outbox::new(&client, "default", 100, None, &progress, Format::Table);
        let each = Each {
            mapping: None,
            random_ids: false,
        };
        let line = b"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}\n";
        for streams in [true, false] {
            let input = BufReader::new((&line[..]).chain(Broken));
            let sent = each
                .send_values(Box::new(input), streams, &mut outbox)
                .await;
            assert!(matches!(sent, Err(Stop::Input(_))), "{streams}");
            assert!(outbox.deadline().is_some());
        }
    }
}
