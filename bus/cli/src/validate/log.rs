//! Warns of rules whose event types never occurred in the log of a running bus.
//!
//! Never an error: a type that never came may come tomorrow.

use std::collections::{BTreeMap, BTreeSet};

use edgebus_api::{EventQuery, PAGE_ROWS_MAX};
use edgebus_rules::Pattern;

use super::Checked;
use crate::client::{self, Client, Error};
use crate::output::{Progress, counted};
use crate::{Failure, output};
use edgebus_manifest::view::parse_pattern;
use edgebus_manifest::{Lint, Side};
use edgebus_model::{Name, RuleConfig};

/// Events of one bus that are looked through; of a longer log nothing is claimed.
const EVENTS_MAX: u64 = 1_000_000;
/// Types that are kept of one bus; of a log with more nothing is claimed.
const TYPES_MAX: usize = 10_000;
/// Types that a warning names.
const NAMED_MAX: usize = 5;

/// The types in a log, and how many events it has; `None` if it is too long to say.
type Seen = Option<(BTreeSet<String>, u64)>;

/// Warns of rules that wait for types which never occurred in the log of the bus at `url`.
///
/// # Errors
/// The bus can't be reached.
pub(super) async fn check(checked: &mut Checked, url: &str) -> Result<(), Failure> {
    let client = Client::new(url)?;
    let progress = Progress::on_terminal("looking through the log");
    let mut logs: BTreeMap<Name, Seen> = BTreeMap::new();
    let rules = checked.document.manifest.rules.clone();
    for rule in &rules {
        let Some(pattern) = typed(rule) else { continue };
        if !logs.contains_key(&rule.bus) {
            let seen = types(&client, &rule.bus, &progress).await?;
            logs.insert(rule.bus.clone(), seen);
        }
        let Some((types, events)) = logs.get(&rule.bus).and_then(Option::as_ref) else {
            continue;
        };
        if *events == 0 || types.iter().any(|kind| pattern.accepts("type", kind)) {
            continue;
        }
        let mut named: Vec<&str> = types.iter().map(String::as_str).take(NAMED_MAX).collect();
        if types.len() > NAMED_MAX {
            named.push("…");
        }
        let warning = checked.document.note(
            &format!("/rules/{}/match", rule.name),
            Side::Key,
            format!(
                "no event in the log of bus `{}` has a type that rule `{}` wants: {}",
                rule.bus,
                rule.name,
                pattern.wanted_at("type").join(", ")
            ),
            format!(
                "what is there ({}) has the types {}",
                counted(*events, "event", "events"),
                named.join(", ")
            ),
        );
        checked.warnings.push(Lint::TypeUnseen.warning(warning));
    }
    progress.finish();
    for bus in logs
        .iter()
        .filter(|(_, seen)| seen.is_none())
        .map(|(bus, _)| bus)
    {
        output::note(&format!(
            "the log of bus `{bus}` is too long to search, so its types are not checked"
        ));
    }
    checked.warnings.sort_by_key(|warning| warning.error.place);
    Ok(())
}

/// The pattern of a rule that wants certain types.
fn typed(rule: &RuleConfig) -> Option<Pattern> {
    let text = rule.pattern.as_ref()?;
    let pattern = parse_pattern(text).ok()?;
    (!pattern.wanted_at("type").is_empty()).then_some(pattern)
}

/// The types of all events of a bus, each once. A bus that is not there yet has an empty log.
async fn types(client: &Client, bus: &Name, progress: &Progress) -> Result<Seen, Failure> {
    let mut found = BTreeSet::new();
    let mut events = 0_u64;
    let mut query = EventQuery {
        limit: Some(PAGE_ROWS_MAX),
        ..EventQuery::default()
    };
    loop {
        let page = match client.bus(bus.as_str()).events(&query).await {
            Ok(page) => page,
            Err(Error::Refused { status: 404, .. }) => return Ok(Some((found, events))),
            Err(error) => return Err(error.into()),
        };
        events += page.events.len() as u64;
        found.extend(page.events.into_iter().map(|row| row.event.kind));
        progress.detail(&format!("{events} events"));
        if events > EVENTS_MAX || found.len() > TYPES_MAX {
            return Ok(None);
        }
        match client::next_after(page.next.as_deref())? {
            Some(next) => query.after = Some(next),
            None => return Ok(Some((found, events))),
        }
    }
}
