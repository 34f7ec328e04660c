//! `edgebus events tail`: the newest events of one bus or of several, one line each, and then those that come.

use edgebus_api::{EventPage, StoredEvent};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Filter, log_path, nothing};
use crate::client::{self, Client, Error};
use crate::connection::Connection;
use crate::follow::{self, StreamItem};
use crate::output::{self, Format, Output, Paint};
use crate::{Failure, OK};
use edgebus_model::limits::PAGE_ROWS_MAX;
use edgebus_model::rule::DEFAULT_BUS;

/// Buses that are read at once. Each one that is followed takes a connection.
const BUSES_MAX: usize = 32;
/// Events that wait to be printed.
const WAITING_MAX: usize = 64;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus events tail -n 20
  edgebus events tail -f --type com.example.order.placed
  edgebus events tail -f --bus default --bus billing
  edgebus events tail -f --all-buses -o jsonl
  edgebus events tail -f --match '{\"source\": [{\"prefix\": \"/shop\"}]}' -o jsonl

With several buses, each line names its bus; in JSON this is the member `bus`. Their newest events
are ordered by the time at which they were accepted.")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Continue with new events, until stopped with Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// How many of the newest events to begin with.
    #[arg(long = "lines", short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=PAGE_ROWS_MAX as u64))]
    count: u64,
    /// The bus; may be given several times.
    #[arg(long = "bus", value_name = "BUS", default_value = DEFAULT_BUS)]
    buses: Vec<String>,
    /// All buses of the active manifest.
    #[arg(long, conflicts_with = "buses")]
    all_buses: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = arguments.connection.client()?;
    let filter = arguments.filter.read()?;
    let buses = buses(&client, &arguments).await?;
    let printer = Printer {
        format: arguments.output.format,
        paint: output::paint(),
        width: output::width(),
        bus_columns: match buses.as_slice() {
            [_] => None,
            several => several.iter().map(|bus| output::columns(bus)).max(),
        },
    };
    let progress = output::Progress::of_request("reading");
    let (mut rows, mut ends) = (Vec::new(), Vec::new());
    for bus in buses {
        // One is asked for even where none is shown: the answer says where the log ends.
        let path = filter.on(log_path(&bus, ""));
        let path = path.with("last", &arguments.count.max(1).to_string());
        let page: EventPage<Box<RawValue>> = client::read(&client.get(path.text()).await?)?;
        for row in page.events {
            rows.push(Row::read(&bus, row.get())?);
        }
        ends.push((bus, page.newest));
    }
    progress.finish();
    // Stable, so that the events of one log keep their order.
    rows.sort_by(|one, other| one.stored.accepted_at.cmp(&other.stored.accepted_at));
    let count = usize::try_from(arguments.count).unwrap_or(usize::MAX);
    printer.print(&rows[rows.len().saturating_sub(count)..])?;
    if !arguments.follow {
        if rows.is_empty()
            && count > 0
            && let Some((bus, _)) = ends.first()
        {
            output::note(&nothing(bus, &filter, false));
        }
        return Ok(OK);
    }
    output::while_read(follow_all(&client, &filter, ends, &printer)).await
}

/// The buses to read, each once.
///
/// # Errors
/// They are too many, or the active manifest can't be read.
async fn buses(client: &Client, arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let named = match arguments.all_buses {
        true => declared(client).await?,
        false => arguments.buses.clone(),
    };
    let mut buses = Vec::new();
    for bus in named {
        if !buses.contains(&bus) {
            buses.push(bus);
        }
    }
    if buses.len() > BUSES_MAX {
        return Err(Failure::usage(format!(
            "{} buses are too many to read at once; name at most {BUSES_MAX} of them, each with --bus",
            buses.len()
        )));
    }
    Ok(buses)
}

/// The buses of the active manifest, `default` among them.
async fn declared(client: &Client) -> Result<Vec<String>, Failure> {
    let text = match client.manifest().await {
        // None was applied yet.
        Err(Error::Refused { status: 404, .. }) => return Ok(vec![DEFAULT_BUS.to_owned()]),
        answer => answer?,
    };
    let manifest = edgebus_manifest::parse(&text).map_err(|_| {
        Failure::new("this edgebus can't read the active manifest; name the buses with --bus")
    })?;
    let buses = manifest.buses.into_iter();
    Ok(buses.map(|bus| bus.name.to_string()).collect())
}

/// Prints the events of all `buses` as they come, each log from the position behind which it is not shown yet.
async fn follow_all(
    client: &Client,
    filter: &Filter,
    buses: Vec<(String, Option<u64>)>,
    printer: &Printer,
) -> Result<u8, Failure> {
    let (sender, mut items) = mpsc::channel(WAITING_MAX);
    // Dropping it ends the tasks.
    let mut tasks = JoinSet::new();
    for (bus, after) in buses {
        let stream = client.bus(&bus).follow(&filter.stream(after))?;
        let mut stream = stream.of_known();
        let label = printer.bus_columns.map(|_| format!("{bus}: "));
        let sender = sender.clone();
        tasks.spawn(async move {
            loop {
                let item = follow::next_of(label.as_deref().unwrap_or(""), &mut stream).await;
                let failed = item.is_err();
                if sender.send((bus.clone(), item)).await.is_err() || failed {
                    return;
                }
            }
        });
    }
    drop(sender);
    while let Some((bus, item)) = items.recv().await {
        if let StreamItem::Message(message) = item? {
            printer.print(&[Row::read(&bus, &message)?])?;
        }
    }
    Ok(OK)
}

/// An event of a log.
struct Row {
    bus: String,
    stored: StoredEvent,
    /// The same as the bus sent it.
    json: String,
}

impl Row {
    fn read(bus: &str, json: &str) -> Result<Self, Failure> {
        let stored = serde_json::from_str(json).map_err(|error| {
            Failure::new(format!("the bus sent an event that can't be read: {error}"))
        })?;
        Ok(Self {
            bus: bus.to_owned(),
            stored,
            json: json.to_owned(),
        })
    }
}

struct Printer {
    format: Format,
    paint: Paint,
    width: Option<u16>,
    /// The width of the longest bus's name; `None` where there is only one bus, which is not named.
    bus_columns: Option<usize>,
}

impl Printer {
    /// Prints events as they come: a stream has no end that an array could have.
    fn print(&self, rows: &[Row]) -> Result<(), Failure> {
        let mut out = String::new();
        for row in rows {
            match self.format {
                Format::Table => out.push_str(&(self.line(row) + "\n")),
                Format::Jsonl => out.push_str(&(output::json::compact(&self.json(row)) + "\n")),
                Format::Json => {
                    let json = output::json::indented(&self.json(row), output::JSON_COLUMNS);
                    out.push_str(&(json + "\n"));
                }
                Format::Yaml => out.push_str(&output::yaml_entry(&self.json(row))?),
            }
        }
        output::write(&out)
    }

    /// The event as the bus sent it; among several buses, with its bus as the first member.
    fn json(&self, row: &Row) -> String {
        match (self.bus_columns, row.json.trim_start().strip_prefix('{')) {
            (Some(_), Some(members)) => {
                format!("{{\"bus\":{},{members}", serde_json::json!(row.bus))
            }
            _ => row.json.clone(),
        }
    }

    /// The event on one line, cut to the terminal's width.
    fn line(&self, row: &Row) -> String {
        let event = &row.stored.event;
        let bus = self.bus_columns.map_or_else(String::new, |columns| {
            let name = output::plain(&row.bus);
            let blanks = columns.saturating_sub(output::columns(&name));
            format!("{name}{}  ", " ".repeat(blanks))
        });
        let head = format!(
            "{}  {bus}#{}  ",
            output::time(&row.stored.accepted_at),
            row.stored.position
        );
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
        if let Some(width) = self.width {
            let used = output::columns(&head) + output::columns(&kind);
            let left = usize::from(width).saturating_sub(used);
            rest = output::fitted(&rest, left).into_owned();
        }
        let (head, kind) = (self.paint.faint(&head), self.paint.strong(&kind));
        format!("{head}{kind}{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"position":7,"accepted_at":"2026-11-21T06:30:16.007Z","event":{"specversion":"1.0","id":"1","source":"/shop","type":"order","subject":"o\u001b1","data":{"n": 1.00,
            "t":"long"}}}"#;

    #[test]
    fn an_event_is_one_line() {
        let check = |json: &str, width, bus_columns, expected: &str| {
            let printer = Printer {
                format: Format::Table,
                paint: Paint { on: false },
                width,
                bus_columns,
            };
            assert_eq!(printer.line(&Row::read("b", json).unwrap()), expected);
        };
        check(
            ORDER,
            None,
            None,
            "2026-11-21 06:30:16Z  #7  order  /shop  o\\u{1b}1  {\"n\":1.00,\"t\":\"long\"}",
        );
        check(
            ORDER,
            None,
            Some(4),
            "2026-11-21 06:30:16Z  b     #7  order  /shop  o\\u{1b}1  {\"n\":1.00,\"t\":\"long\"}",
        );
        check(
            ORDER,
            Some(44),
            None,
            "2026-11-21 06:30:16Z  #7  order  /shop  o\\u…",
        );
        let wide = ORDER
            .replace("order", "注文")
            .replace("/shop", "/店舗/店舗/店舗");
        check(
            &wide,
            Some(44),
            None,
            "2026-11-21 06:30:16Z  #7  注文  /店舗/店舗/…",
        );
    }

    #[test]
    fn json_names_the_bus_among_several() {
        let json = |bus_columns| {
            let printer = Printer {
                format: Format::Jsonl,
                paint: Paint { on: false },
                width: None,
                bus_columns,
            };
            printer.json(&Row::read("b", ORDER).unwrap())
        };
        assert_eq!(json(None), ORDER);
        assert_eq!(json(Some(1)), ORDER.replacen('{', r#"{"bus":"b","#, 1));
    }
}
