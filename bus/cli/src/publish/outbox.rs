//! Events on their way into requests: batches within the bus's limits, and what became of them.
//!
//! If the bus answered before and does not answer now, the outbox waits: the bus may be restarting. Never
//! here: where events come from.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use edgebus_api::{Accepted, AcceptedEach, Settled};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::Failure;
use crate::client::{self, Client};
use crate::output::{self, Format, Progress, Rows, counted};
use edgebus_http::wire;
use edgebus_model::Event;
use edgebus_model::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};

/// Bytes of a batch that are reserved for brackets and commas.
const BATCH_SLACK: usize = 4 << 10;
/// How long an event of a stream waits for others that go into the same request.
const LINGER: Duration = Duration::from_millis(100);
/// The time between two attempts to reach a bus that is away: at first, and at last.
const RETRY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(2);
/// Skipped lines that are reported one by one.
const SKIPPED_TOLD: u64 = 20;

/// What a run came to.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) new: u64,
    pub(super) duplicates: u64,
    pub(super) skipped: u64,
    requests: u64,
    /// The positions of the first and the last new event.
    positions: Option<(u64, u64)>,
    /// The id of the last event.
    id: String,
}

impl Counts {
    /// `2 new (#7 to #8), 1 duplicate`.
    pub(super) fn words(&self) -> String {
        let place = match self.positions {
            Some((one, _)) if self.new == 1 && self.duplicates == 0 => {
                format!(" (#{one}, id {})", output::plain(&self.id))
            }
            Some((one, other)) if one == other => format!(" (#{one})"),
            Some((first, last)) => format!(" (#{first} to #{last})"),
            None => String::new(),
        };
        let mut words = format!("{} new{place}", self.new);
        if self.duplicates > 0 {
            words.push_str(", ");
            words.push_str(&counted(self.duplicates, "duplicate", "duplicates"));
        }
        if self.skipped > 0 {
            words.push_str(", ");
            words.push_str(&counted(self.skipped, "line skipped", "lines skipped"));
        }
        words
    }
}

/// Where an event stands in the input, as in `line 7`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// `line`, or `event` of a document.
    pub(super) what: &'static str,
    /// Counted from 1.
    pub(super) number: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.what, self.number)
    }
}

/// An event that is not sent yet.
struct Waiting {
    place: Place,
    json: Vec<u8>,
    since: Instant,
}

/// Events that wait for their request, and the tally of those that were sent.
pub(super) struct Outbox<'a> {
    client: &'a Client,
    /// The bus that they go to.
    bus: String,
    batch_events: usize,
    /// How long a bus that is away is waited for; `None` waits without end.
    patience: Option<Duration>,
    /// What is refused is skipped.
    skip_invalid: bool,
    progress: &'a Progress,
    queue: VecDeque<Waiting>,
    /// The bytes of the events in the queue.
    bytes: usize,
    rows: Rows,
    format: Format,
    pub(super) counts: Counts,
}

impl<'a> Outbox<'a> {
    /// An empty one that publishes on `bus`, `batch_events` at a time.
    pub(super) fn new(
        client: &'a Client,
        bus: &str,
        batch_events: u64,
        patience: Option<Duration>,
        progress: &'a Progress,
        format: Format,
    ) -> Self {
        Self {
            client,
            bus: bus.to_owned(),
            batch_events: usize::try_from(batch_events).unwrap_or(BATCH_EVENTS_MAX),
            patience,
            skip_invalid: false,
            progress,
            queue: VecDeque::new(),
            bytes: 0,
            rows: Rows::new(format, []),
            format,
            counts: Counts::default(),
        }
    }

    /// The same, but what can't be published is skipped if `skip_invalid` is true.
    pub(super) fn skipping(self, skip_invalid: bool) -> Self {
        Self {
            skip_invalid,
            ..self
        }
    }

    /// Until when what waits may wait for more; `None` if nothing waits.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.queue.front().map(|first| first.since + LINGER)
    }

    /// Takes an event, and sends the batch if it is full. The event is in the queue before anything is
    /// awaited, so this may be dropped and [`Outbox::flush`] called instead.
    pub(super) async fn add(&mut self, event: &Event, place: Place) -> Result<(), Failure> {
        let mut json = Vec::new();
        wire::encode(&mut json, event);
        self.bytes += json.len();
        self.queue.push_back(Waiting {
            place,
            json,
            since: Instant::now(),
        });
        while self.queue.len() >= self.batch_events || self.bytes > BATCH_BYTES_MAX - BATCH_SLACK {
            self.send_batch().await?;
        }
        Ok(())
    }

    /// Sends what is in the queue. Events leave the queue only after the bus has answered, so this may be
    /// dropped and called again.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        while !self.queue.is_empty() {
            self.send_batch().await?;
        }
        Ok(())
    }

    /// Sends what waits as [`Outbox::flush`] does, and does not wait for a bus that is away.
    pub(super) async fn flush_once(&mut self) -> Result<(), Failure> {
        self.patience = Some(Duration::ZERO);
        self.flush().await
    }

    /// Sends the events of the queue that go into one request.
    async fn send_batch(&mut self) -> Result<(), Failure> {
        let mut body = Vec::new();
        let mut count = 0;
        for waiting in self.queue.iter().take(self.batch_events) {
            if count > 0 && body.len() + waiting.json.len() + BATCH_SLACK > BATCH_BYTES_MAX {
                break;
            }
            body.push(if count == 0 { b'[' } else { b',' });
            body.extend_from_slice(&waiting.json);
            count += 1;
        }
        body.push(b']');
        let answer = self.deliver(Bytes::from(body)).await?;
        self.settle(&answer, count)
    }

    /// Takes the answer to the first `count` events: each was accepted or refused for itself.
    fn settle(&mut self, answer: &[u8], count: usize) -> Result<(), Failure> {
        let results: AcceptedEach<Box<RawValue>> = client::read(answer)?;
        self.counts.requests += 1;
        let sent: Vec<Waiting> = self.queue.drain(..count).collect();
        self.bytes -= sent.iter().map(|waiting| waiting.json.len()).sum::<usize>();
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for (index, row) in results.results.iter().enumerate() {
            match client::read(row.get().as_bytes())? {
                Settled::Accepted(one) => {
                    accepted.push(row);
                    self.count(one);
                }
                Settled::Refused(one) => {
                    let place = sent.get(index).map(|waiting| waiting.place);
                    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
                    let failure = client::refused_entry(one.problem, index);
                    refused.push(Failure {
                        message: format!("{place}{}", failure.message),
                        ..failure
                    });
                }
            }
        }
        if self.format != Format::Table {
            self.rows.page(&accepted, |_| Ok(Vec::new()))?;
        }
        self.progress.detail(&format!(
            "{} events",
            self.counts.new + self.counts.duplicates
        ));
        self.refuse(refused)
    }

    fn count(&mut self, accepted: Accepted) {
        if accepted.duplicate {
            self.counts.duplicates += 1;
        } else {
            self.counts.new += 1;
            let first = self
                .counts
                .positions
                .map_or(accepted.position, |(first, _)| first);
            self.counts.positions = Some((first, accepted.position));
        }
        self.counts.id = accepted.id;
    }

    /// Tells what the bus refused of one request.
    fn refuse(&mut self, refused: Vec<Failure>) -> Result<(), Failure> {
        let others = refused.len().saturating_sub(1);
        for failure in refused {
            self.unfit(failure).map_err(|failure| Failure {
                message: match others {
                    0 => failure.message,
                    _ => format!(
                        "{}\n{} of the same request refused as well",
                        failure.message,
                        counted(others, "other event was", "other events were")
                    ),
                },
                ..failure
            })?;
        }
        Ok(())
    }

    /// Skips what can't be published, if that is asked for.
    pub(super) fn unfit(&mut self, failure: Failure) -> Result<(), Failure> {
        if !self.skip_invalid {
            let hint = "--skip-invalid skips it";
            return Err(Failure {
                message: format!("{}; {hint}", failure.message),
                ..failure
            });
        }
        self.counts.skipped += 1;
        match self.counts.skipped {
            ..=SKIPPED_TOLD => output::note(&format!("skipped: {}", failure.message)),
            number if number == SKIPPED_TOLD + 1 => {
                output::note("more lines are skipped; from here on they are only counted");
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends what is printed.
    pub(super) fn end(self) -> Result<Counts, Failure> {
        if self.format != Format::Table {
            self.rows.end()?;
        }
        Ok(self.counts)
    }

    async fn deliver(&self, body: Bytes) -> Result<Bytes, Failure> {
        let bus = self.client.bus(&self.bus);
        let began = Instant::now();
        let (mut told, mut wait) = (false, *RETRY.start());
        loop {
            let error = match bus.publish_lenient_json(body.clone()).await {
                Ok(answer) => {
                    if told {
                        output::note("the bus is back");
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let patient = self.patience.is_none_or(|most| began.elapsed() < most);
            if !(patient && self.is_away(&error)) {
                return Err(error.into());
            }
            if !told {
                let reason = client::reason(&error);
                output::note(&format!("{reason}; waiting until it is back"));
                told = true;
            }
            let asked = match &error {
                client::Error::Refused { retry_after, .. } => *retry_after,
                _ => None,
            };
            let left = self
                .patience
                .map_or(Duration::MAX, |most| most.saturating_sub(began.elapsed()));
            tokio::time::sleep(asked.unwrap_or_default().max(wait).min(left)).await;
            wait = (wait * 2).min(*RETRY.end());
        }
    }

    /// True if the bus may answer again later: it did before, or says so itself.
    fn is_away(&self, error: &client::Error) -> bool {
        match error {
            client::Error::Unreachable { reached, .. } => *reached || self.counts.requests > 0,
            client::Error::Refused { status, .. } => matches!(status, 429 | 503 | 507),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_is_kept_while_a_request_is_under_way() {
        // Nobody answers here.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let client = Client::new(&url).unwrap();
        let progress = Progress::on_terminal("publishing");
        let mut outbox = Outbox::new(&client, "default", 100, None, &progress, Format::Table);
        let event = Event {
            data: edgebus_model::Data::Json(vec![b'1'; BATCH_BYTES_MAX / 4].into()),
            ..Event::unreadable()
        };
        let place = Place {
            what: "line",
            number: 1,
        };
        for _ in 0..3 {
            outbox.add(&event, place).await.unwrap();
        }
        let sent = tokio::time::timeout(Duration::ZERO, outbox.add(&event, place)).await;
        assert!(sent.is_err());
        assert_eq!(outbox.queue.len(), 4);
    }

    #[test]
    fn a_tally_says_what_is_new_and_where() {
        let check = |new, duplicates, skipped, positions, expected: &str| {
            let counts = Counts {
                new,
                duplicates,
                skipped,
                positions,
                id: "a".to_owned(),
                ..Counts::default()
            };
            assert_eq!(counts.words(), expected);
        };
        check(0, 0, 0, None, "0 new");
        check(1, 0, 0, Some((7, 7)), "1 new (#7, id a)");
        check(1, 2, 0, Some((7, 7)), "1 new (#7), 2 duplicates");
        check(3, 0, 1, Some((7, 9)), "3 new (#7 to #9), 1 line skipped");
        check(0, 1, 2, None, "0 new, 1 duplicate, 2 lines skipped");
    }
}
