//! `edgebus events tail`: the newest events, one line each, and then those that come.

use edgebus_api::{EventPage, EventStreamQuery, StoredEvent};
use serde_json::value::RawValue;

use super::{Wanted, nothing};
use crate::client;
use crate::connection::Connection;
use crate::follow::{self, StreamItem};
use crate::output::{self, Format, Output, Paint};
use crate::{Failure, OK};
use edgebus_model::limits::PAGE_ROWS_MAX;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus events tail -n 20
  edgebus events tail -f --type com.example.order.placed
  edgebus events tail -f --match '{\"source\": [{\"prefix\": \"/shop\"}]}' -o jsonl")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Go on with the events that come, until it is stopped with Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// How many of the newest events to begin with.
    #[arg(long = "lines", short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=PAGE_ROWS_MAX as u64))]
    count: u64,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let printer = Printer {
        format: arguments.output.format,
        paint: output::paint(),
        width: output::width(),
    };
    // One is asked for even where none is shown: the answer says where the log ends.
    let path = arguments.wanted.path("")?;
    let path = path.with("last", &arguments.count.max(1).to_string());
    let progress = output::Progress::of_request("reading");
    let answer = client.get(path.text()).await?;
    progress.finish();
    let last: EventPage<Box<RawValue>> = client::read(&answer)?;
    if arguments.count > 0 {
        printer.print(last.events.iter().map(|row| row.get()))?;
        if last.events.is_empty() && !arguments.follow {
            output::note(&nothing(&arguments.wanted, false));
        }
    }
    if !arguments.follow {
        return Ok(OK);
    }
    let query = EventStreamQuery {
        after: last.newest,
        ..arguments.wanted.stream()?
    };
    let mut following = client.bus(&arguments.wanted.bus).follow(&query)?.of_known();
    output::while_read(async {
        loop {
            if let StreamItem::Message(message) = follow::next(&mut following).await? {
                printer.print(std::iter::once(message.as_str()))?;
            }
        }
    })
    .await
}

struct Printer {
    format: Format,
    paint: Paint,
    width: Option<u16>,
}

impl Printer {
    /// Prints events as they come: a stream has no end that an array could have.
    fn print<'a>(&self, events: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
        let mut out = String::new();
        for event in events {
            match self.format {
                Format::Table => {
                    let line = line(event, self.paint, self.width)?;
                    out.push_str(&line);
                    out.push('\n');
                }
                Format::Jsonl => out.push_str(&(output::json::compact(event) + "\n")),
                Format::Json => {
                    out.push_str(&(output::json::indented(event, output::JSON_COLUMNS) + "\n"));
                }
                Format::Yaml => out.push_str(&output::yaml_entry(event)?),
            }
        }
        output::write(&out)
    }
}

/// One event on one line, cut to the terminal's width.
fn line(json: &str, paint: Paint, width: Option<u16>) -> Result<String, Failure> {
    let row: StoredEvent = serde_json::from_str(json).map_err(|error| {
        Failure::new(format!("the bus sent an event that can't be read: {error}"))
    })?;
    let event = &row.event;
    let head = format!("{}  #{}  ", output::time(&row.accepted_at), row.position);
    let kind = output::plain(&event.kind);
    let mut rest = format!("  {}", output::plain(&event.source));
    if let Some(subject) = &event.subject {
        rest.push_str("  ");
        rest.push_str(&output::plain(subject));
    }
    if let Some(data) = &event.data {
        rest.push_str("  ");
        rest.push_str(&output::json::compact(data.get()));
    } else if let Some(data) = &event.data_base64 {
        rest.push_str("  base64:");
        rest.push_str(&output::plain(data));
    }
    if let Some(width) = width {
        let used = output::columns(&head) + output::columns(&kind);
        let room = usize::from(width).saturating_sub(used);
        rest = output::fitted(&rest, room).into_owned();
    }
    Ok(format!(
        "{}{}{rest}",
        paint.faint(&head),
        paint.strong(&kind)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let json = r#"{"position":7,"accepted_at":"2026-11-21T06:30:16.007Z","event":{"specversion":"1.0","id":"1","source":"/shop","type":"order","subject":"o\u001b1","data":{"n": 1.00,
            "t":"long"}}}"#;
        let check = |width, expected: &str| {
            assert_eq!(line(json, Paint { on: false }, width).unwrap(), expected);
        };
        check(
            None,
            "2026-11-21 06:30:16Z  #7  order  /shop  o\\u{1b}1  {\"n\":1.00,\"t\":\"long\"}",
        );
        check(Some(44), "2026-11-21 06:30:16Z  #7  order  /shop  o\\u…");
        let wide = json
            .replace("order", "注文")
            .replace("/shop", "/店舗/店舗/店舗");
        let told = line(&wide, Paint { on: false }, Some(44)).unwrap();
        assert_eq!(told, "2026-11-21 06:30:16Z  #7  注文  /店舗/店舗/…");
    }
}
