//! Which event of a log is meant: by its position, or by its id.
//!
//! A log is read by position, so an id must be searched: first among the newest events, then from the log's
//! beginning. Never here: an index of its own.

use edgebus_api::{EventPage, EventQuery};

use crate::Failure;
use crate::client::{self, Client, Error};
use crate::output::{self, Progress, plain};
use edgebus_api::PAGE_ROWS_MAX;

/// Events with the id that are compared.
const FOUND_MAX: usize = 100;
/// Events that a message names.
const NAMED_MAX: usize = 5;

/// An event of a bus's log.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Which {
    /// Its position in the log, or its id; a whole number is a position.
    #[arg(value_name = "POSITION|ID", required_unless_present = "id")]
    event: Option<String>,
    /// Its id, where that is a whole number.
    #[arg(long, value_name = "ID", conflicts_with = "event")]
    id: Option<String>,
    /// Its source, where several have the id.
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// The bus.
    #[arg(long, value_name = "BUS", default_value = edgebus_model::rule::DEFAULT_BUS)]
    pub(super) bus: String,
}

/// An event that has the id.
struct Found {
    position: u64,
    source: String,
}

impl Which {
    /// Its position. One that was given is not looked for here.
    ///
    /// # Errors
    /// No event of the log has the id, or several of different sources have it.
    pub(super) async fn position(&self, client: &Client) -> Result<u64, Failure> {
        // All digits, without a sign: what the bus takes as a position.
        let digits = |text: &&String| text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(position) = self.event.as_ref().filter(digits)
            && let Ok(position) = position.parse()
        {
            if self.source.is_some() {
                return Err(Failure::usage(format!(
                    "`{position}` is a position, which needs no --source; if it is an id: --id {position}"
                )));
            }
            return Ok(position);
        }
        let id = self.id.as_deref().or(self.event.as_deref());
        let id = id.ok_or_else(|| Failure::usage("name the event by its position or its id"))?;
        let progress = Progress::of_request("looking for the event");
        let mut found = self.newest(client, id).await?;
        if found.is_empty() {
            found = self.anywhere(client, id, &progress).await?;
        }
        progress.finish();
        self.one(id, &found)
    }

    /// What to say where the bus refuses: a whole number may have been meant as an id.
    pub(super) fn refused(&self, error: Error) -> Failure {
        let typed = self.event.as_deref().filter(|typed| match &error {
            // The bus's words for an event that is not there, and for nothing else.
            Error::Refused { problem, .. } => {
                problem.detail.ends_with(&format!("at position {typed}"))
            }
            _ => false,
        });
        let hint = typed.map(|typed| format!("; if it is an id: --id {typed}"));
        let mut failure = Failure::from(error);
        failure.message.push_str(hint.as_deref().unwrap_or(""));
        failure
    }

    /// Those among the newest events, as many as the bus looks through at once.
    async fn newest(&self, client: &Client, id: &str) -> Result<Vec<Found>, Failure> {
        let query = EventQuery {
            last: Some(FOUND_MAX as u64),
            ..self.wanted(id)
        };
        let page = client.bus(&self.bus).events(&query).await?;
        Ok(self.found(page, id).collect())
    }

    /// Those in the whole log.
    async fn anywhere(
        &self,
        client: &Client,
        id: &str,
        progress: &Progress,
    ) -> Result<Vec<Found>, Failure> {
        let mut query = EventQuery {
            limit: Some(PAGE_ROWS_MAX),
            ..self.wanted(id)
        };
        let mut found = Vec::new();
        loop {
            let mut page = client.bus(&self.bus).events(&query).await?;
            let next = page.next.take();
            found.extend(self.found(page, id));
            match client::next_after(next.as_deref())? {
                Some(next) if found.len() < FOUND_MAX => {
                    progress.detail(&format!("up to {next}"));
                    query.after = Some(next);
                }
                _ => return Ok(found),
            }
        }
    }

    fn wanted(&self, id: &str) -> EventQuery {
        let mut pattern = serde_json::json!({ "id": [id] });
        if let Some(source) = &self.source {
            pattern["source"] = serde_json::json!([source]);
        }
        EventQuery {
            pattern: Some(pattern.to_string()),
            ..EventQuery::default()
        }
    }

    /// The events that are meant. A pattern takes an id that spells an IP address otherwise for the same.
    fn found<'a>(&'a self, page: EventPage, id: &'a str) -> impl Iterator<Item = Found> + 'a {
        let meant = page.events.into_iter().filter(move |stored| {
            let own = &stored.event;
            own.id == id
                && self
                    .source
                    .as_ref()
                    .is_none_or(|source| *source == own.source)
        });
        meant.map(|stored| Found {
            position: stored.position,
            source: stored.event.source,
        })
    }

    /// The newest of them, if they are of one source: then it was published again after the bus had
    /// forgotten the first.
    fn one(&self, id: &str, found: &[Found]) -> Result<u64, Failure> {
        let (id, bus) = (plain(id), plain(&self.bus));
        let Some(newest) = found.iter().max_by_key(|event| event.position) else {
            let source = self.source.as_deref().map(plain);
            let of = source.map_or_else(String::new, |source| format!(" from `{source}`"));
            return Err(Failure::new(format!(
                "no event on bus `{bus}`{of} has the id `{id}`; edgebus events ls --bus {bus} lists what is there"
            )));
        };
        let mut named: Vec<String> = found
            .iter()
            .take(NAMED_MAX)
            .map(|event| format!("#{} from {}", event.position, plain(&event.source)))
            .collect();
        if found.len() > NAMED_MAX {
            named.push("…".to_owned());
        }
        let named = named.join(", ");
        if found.iter().any(|event| event.source != newest.source) {
            return Err(Failure::new(format!(
                "several events have the id `{id}`: {named}; name one by its position, or add --source"
            )));
        }
        if found.len() > 1 {
            output::note(&format!(
                "several events have the id `{id}`: {named}; this is the newest"
            ));
        }
        Ok(newest.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_meant_or_none() {
        let check = |events: &[(u64, &str)]| {
            let which = Which {
                event: Some("a".to_owned()),
                id: None,
                source: None,
                bus: "default".to_owned(),
            };
            let found: Vec<Found> = events
                .iter()
                .map(|(position, source)| Found {
                    position: *position,
                    source: (*source).to_owned(),
                })
                .collect();
            which
                .one("a\u{1b}", &found)
                .map_err(|failure| failure.message)
        };
        assert_eq!(check(&[(3, "/s")]), Ok(3));
        assert_eq!(check(&[(3, "/s"), (9, "/s")]), Ok(9));
        let none = check(&[]).unwrap_err();
        assert!(
            none.contains("no event on bus `default` has the id") && !none.contains('\u{1b}'),
            "{none}"
        );
        let many: Vec<(u64, &str)> = (1..9).map(|position| (position, "/s")).collect();
        assert_eq!(check(&many), Ok(8));
        let several = check(&[(3, "/s"), (9, "/t")]).unwrap_err();
        assert!(
            several.contains("#3 from /s, #9 from /t") && several.contains("--source"),
            "{several}"
        );
    }
}
