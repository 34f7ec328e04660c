//! `edgebus events export`: a log as JSON Lines of structured CloudEvents, each as it was published.
//!
//! The file is written under another name and renamed when it is complete, so that nobody uses an incomplete
//! export.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path as FilePath, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use edgebus_api::{EventPage, StoredEvent};
use serde_json::value::RawValue;

use super::{Between, Wanted};
use crate::client::{self, Client};
use crate::connection::Connection;
use crate::output::{self, Progress};
use crate::query::Path;
use crate::{Failure, OK};
use edgebus_http::wire;
use edgebus_model::limits::PAGE_ROWS_MAX;
use edgebus_model::{Data, media_type};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus events export --file events.jsonl
  edgebus events export --type com.example.order.placed --since 7d --file orders.jsonl
  edgebus events export | edgebus publish --url http://127.0.0.1:8080 --file -

An event keeps its id and source. Where it is known already, publishing it again is a duplicate.
Elsewhere it is a new event: the rules there match it, and functions run for it. With --roots the
functions emit their events again there; without it, those events would come twice.
An event that was erased has the extensions erasedtime and erasedjob, and no data.")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Write to this file; without it, and with `-`, to standard output.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    between: Between,
    /// Only events that were published, without those that functions emitted.
    #[arg(long, conflicts_with = "pattern")]
    roots: bool,
    /// Begin after this position.
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
    /// Events to write at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// Matches events that no function emitted.
const ROOTS: &str = r#"{"causationid": [{"exists": false}]}"#;

/// What was written.
#[derive(Default)]
struct Counts {
    events: u64,
    bytes: u64,
    last: u64,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let mut wanted = arguments.wanted.clone();
    if arguments.roots {
        wanted.filter.pattern = Some(ROOTS.to_owned());
    }
    let path = arguments.between.on(wanted.path()?);
    let progress = Progress::on_terminal("exporting");
    let file = arguments.file.as_deref();
    let file = file.filter(|file| *file != FilePath::new("-"));
    let mut out = Out::new(file)?;
    let counts = tokio::select! {
        counts = write_all(&arguments, &client, &path, &mut out, &progress) => counts,
        // An interrupt leaves no half file behind.
        _ = tokio::signal::ctrl_c() => Err(Failure::new("stopped; nothing was exported")),
    }?;
    progress.finish();
    out.finish()?;
    let place = file.map_or_else(String::new, |file| format!(" to {}", file.display()));
    output::note(&format!(
        "{} exported{place}, {}{}",
        output::counted(counts.events, "event", "events"),
        output::bytes(counts.bytes),
        if counts.events == 0 {
            String::new()
        } else {
            format!("; the last is #{}", counts.last)
        }
    ));
    Ok(OK)
}

async fn write_all(
    arguments: &Arguments,
    client: &Client,
    path: &Path,
    out: &mut Out,
    progress: &Progress,
) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    let mut after = arguments.after.to_string();
    loop {
        let left = arguments
            .limit
            .map_or(u64::MAX, |limit| limit - counts.events);
        let rows = left.min(PAGE_ROWS_MAX as u64).to_string();
        let path = path.clone().with("limit", &rows).with("after", &after);
        let answer = client.get(path.text()).await?;
        let page: EventPage<StoredEvent<Box<RawValue>>> = client::read(&answer)?;
        if let Some(oldest) = page.oldest
            && counts.events == 0
            && after == arguments.after.to_string()
            && oldest > arguments.after.saturating_add(1)
        {
            let words = format!(
                "note: retention removed events before position {oldest}; what is pending of them is exported"
            );
            progress.aside(|| output::note(&words));
        }
        for row in &page.events {
            let line = line(&marked(row), row.position)?;
            out.write(&line)?;
            counts.events += 1;
            counts.bytes += line.len() as u64;
            counts.last = row.position;
        }
        match page.next {
            Some(next) if arguments.limit.is_none_or(|limit| counts.events < limit) => {
                progress.detail(&format!(
                    "{} events, {}, up to position {next}",
                    counts.events,
                    output::bytes(counts.bytes)
                ));
                after = next;
            }
            _ => return Ok(counts),
        }
    }
}

/// The event's JSON. One that was erased says so in extensions, for a file has no place beside the event.
fn marked(row: &StoredEvent<Box<RawValue>>) -> Cow<'_, str> {
    let event = row.event.get();
    let end = event.strip_suffix('}').map(str::trim_end);
    match (&row.erased, end) {
        (Some(erased), Some(start)) => {
            let (at, job) = (&erased.at, erased.job);
            Cow::Owned(format!(
                "{start},\"erasedtime\":\"{at}\",\"erasedjob\":\"{job}\"}}"
            ))
        }
        _ => Cow::Borrowed(event),
    }
}

/// An event on one line, as it was published. JSON data that holds line ends goes into `data_base64`,
/// which keeps its bytes; without a type to say that they are JSON, the line ends become blanks.
fn line(event: &str, position: u64) -> Result<String, Failure> {
    if !event.contains(['\n', '\r']) {
        return Ok(format!("{event}\n"));
    }
    let decoded = wire::decode_structured(&Bytes::copy_from_slice(event.as_bytes()))
        .map_err(|error| Failure::new(format!("event #{position} can't be read: {error}")))?;
    let mut out = Vec::new();
    let json_by_type = decoded
        .data_content_type
        .as_deref()
        .is_some_and(media_type::is_json);
    match &decoded.data {
        Data::Json(json) if json_by_type => {
            let mut bare = decoded.clone();
            bare.data = Data::Absent;
            wire::encode(&mut out, &bare);
            out.pop();
            out.extend_from_slice(b",\"data_base64\":\"");
            out.extend_from_slice(STANDARD.encode(json).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        _ => out.extend_from_slice(event.replace(['\n', '\r'], " ").as_bytes()),
    }
    out.push(b'\n');
    String::from_utf8(out).map_err(|_| {
        Failure::new(format!(
            "event #{position} is not UTF-8 and can't be exported"
        ))
    })
}

/// Where the lines go.
pub(crate) enum Out {
    Standard(String),
    File {
        writer: BufWriter<File>,
        half: Half,
        target: PathBuf,
    },
}

/// A file that is not complete yet. Dropping it removes the file.
pub(crate) struct Half(Option<PathBuf>);

impl Drop for Half {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // If it can't be removed, its name at least says that it is incomplete.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Text that is gathered before it is written to standard output, in bytes.
const STANDARD_BYTES: usize = 64 << 10;

impl Out {
    /// Standard output, or a file that is made under another name first.
    ///
    /// # Errors
    /// The file can't be made.
    pub(crate) fn new(target: Option<&FilePath>) -> Result<Self, Failure> {
        let Some(target) = target else {
            return Ok(Self::Standard(String::new()));
        };
        let name = target
            .file_name()
            .ok_or_else(|| Failure::usage(format!("--file {} names no file", target.display())))?;
        let mut half = name.to_owned();
        half.push(format!(".{:08x}.half", rand::random::<u32>()));
        let half = target.with_file_name(half);
        let file = File::create_new(&half).map_err(|error| {
            Failure::new(format!("{} can't be written: {error}", half.display()))
        })?;
        Ok(Self::File {
            writer: BufWriter::new(file),
            half: Half(Some(half)),
            target: target.to_owned(),
        })
    }

    /// Writes a line with its end.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn write(&mut self, line: &str) -> Result<(), Failure> {
        match self {
            Self::Standard(text) => {
                text.push_str(line);
                if text.len() >= STANDARD_BYTES {
                    output::write(&std::mem::take(text))?;
                }
                Ok(())
            }
            Self::File { writer, target, .. } => writer
                .write_all(line.as_bytes())
                .map_err(|error| unwritten(target, &error)),
        }
    }

    /// Completes the file: flushes it and gives it its final name.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Standard(text) => output::write(&text),
            Self::File {
                writer,
                mut half,
                target,
            } => {
                let failed = |error: &std::io::Error| unwritten(&target, error);
                let file = writer.into_inner().map_err(|error| failed(error.error()))?;
                file.sync_all().map_err(|error| failed(&error))?;
                if let Some(path) = half.0.as_ref() {
                    std::fs::rename(path, &target).map_err(|error| failed(&error))?;
                }
                half.0 = None;
                Ok(())
            }
        }
    }
}

fn unwritten(target: &FilePath, error: &std::io::Error) -> Failure {
    Failure::new(format!("{} can't be written: {error}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a line says is what the event said, its data byte for byte.
    fn check(event: &str, same_text: bool) {
        let line = line(event, 1).unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert_eq!(line.trim_end() == event, same_text, "{line}");
        let read = |text: &str| wire::decode_structured(&Bytes::from(text.to_owned())).unwrap();
        let (before, after) = (read(event), read(line.trim_end()));
        if event.contains('\n') && before.data_content_type.is_none() {
            return;
        }
        assert_eq!(before, after);
    }

    #[test]
    fn an_erased_event_says_so_on_its_line() {
        let row = |more: &str| -> StoredEvent<Box<RawValue>> {
            let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
            let row = format!(r#"{{"position":1,"accepted_at":"","event":{event}{more}}}"#);
            serde_json::from_str(&row).unwrap()
        };
        let plain = row("");
        assert_eq!(marked(&plain), plain.event.get());
        let erased = row(r#","erased":{"at":"2026-11-21T06:30:16.000Z","job":7}"#);
        let line = line(&marked(&erased), 1).unwrap();
        let event = wire::decode_structured(&Bytes::from(line)).unwrap();
        let names: Vec<_> = event.extensions.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["erasedtime", "erasedjob"]);
        assert_eq!(event.data, Data::Absent);
    }

    #[test]
    fn a_line_says_what_the_event_said() {
        let event = |rest: &str| {
            format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{rest}}}"#)
        };
        check(&event(""), true);
        check(&event(r#","data":{"n": 1.00, "n":2}"#), true);
        check(
            &event(r#","n":7,"yes":true,"datacontenttype":"text/plain","data":"a\nb""#),
            true,
        );
        check(
            &event(
                ",\"datacontenttype\":\"application/json\",\"data\":{\n \"n\": 1.00,\r\n \"x\": 2}",
            ),
            false,
        );
        check(&event(",\"data\":{\n \"n\": 1.00}"), false);
    }
}
