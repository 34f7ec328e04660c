//! Which subscriptions an event goes to. Runs on the caller's task against one snapshot.
//!
//! The data is matched as bytes; a tree is built only for an event that passes the pattern of a rule
//! with a JSONPath filter. Such an event stays on its publisher's task as long as that takes well under a
//! millisecond; else it is matched on one of a few places of its own, off the threads that serve. Never
//! here: anything that changes the event.

use std::cell::RefCell;

use std::sync::Arc;

use edgebus_rules::{
    Duplicates, EventDocument, EventError, Part, RuleIndex, Scratch, Steps, Trust,
};

use super::snapshot::BusRules;
use crate::work_limiter::{Denied, WorkLimiter};
use edgebus_manifest::view::{View, parse_pattern};
use edgebus_model::error::{Error, Kind};
use edgebus_model::limits::SUBSCRIPTIONS_OF_EVENT_MAX;
use edgebus_model::{Event, SubscriptionId};

/// Bytes of events that are made into trees on a task of the server between two pauses: some 0.4 ms.
const INLINE_BYTES_MAX: usize = 16 << 10;
/// Steps of filters that are taken on a task of the server between two pauses: some 0.2 ms.
const INLINE_STEPS_MAX: u64 = 10_000;
/// Events that wait for a place or have one; the publisher of one more is told to come back.
pub(super) const PLACES_MAX: usize = 32;
/// When a publisher that found no place may come back, in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

thread_local! {
    /// Buffers of matches, one set for each thread of the runtime.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// The keys that match, with this thread's buffers.
fn look_up<K: Clone>(
    index: &RuleIndex<K>,
    event: &[Part<'_>],
    trust: Trust,
) -> Result<Vec<K>, EventError> {
    SCRATCH.with_borrow_mut(|scratch| {
        let found = index.matches(scratch, event, Duplicates::Refuse, trust)?;
        Ok(found.cloned().collect())
    })
}

/// Who gets an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Matched {
    /// In the order of the rules, each once.
    pub(crate) subscriptions: Vec<SubscriptionId>,
    /// Whether filters used up the budget of steps, so that some of them didn't hold for that.
    pub(crate) used_up: bool,
}

impl Matched {
    /// Why the event can't be accepted, if more get it than may.
    pub(crate) fn too_many(&self) -> Option<String> {
        let count = self.subscriptions.len();
        (count > SUBSCRIPTIONS_OF_EVENT_MAX).then(|| {
            format!(
                "this event matches {count} subscriptions, and {SUBSCRIPTIONS_OF_EVENT_MAX} are allowed"
            )
        })
    }
}

/// Why nobody knows who gets an event.
pub(super) enum Unmatched {
    /// The data claims to be JSON and can't be read exactly: malformed, a repeated key that a rule looks
    /// at, or nested too deeply.
    Event(EventError),
    /// There was no place to match it on.
    Denied(Error),
}

/// What the events of one request may still cost on a task of the server before it pauses.
pub(super) struct Inline {
    bytes: usize,
    steps: u64,
}

impl Inline {
    pub(super) fn new() -> Self {
        Self {
            bytes: INLINE_BYTES_MAX,
            steps: INLINE_STEPS_MAX,
        }
    }
}

/// The subscriptions of `bus` that get `event`, of whose data nobody has read a byte before: what a function
/// emits.
///
/// It takes as long as the budget of steps allows: only where other work doesn't wait for the thread.
///
/// # Errors
/// The data claims to be JSON and can't be read exactly: malformed, a repeated key that a rule looks
/// at, or nested too deeply.
pub(crate) fn subscriptions(bus: &BusRules, event: &Event) -> Result<Matched, EventError> {
    at_once(bus, event, Trust::Unchecked)
}

/// The subscriptions of `bus` that get an event of the log by the rules that are active now.
///
/// It takes as long as [`subscriptions`].
///
/// # Errors
/// As [`subscriptions`], for what no rule looked at when the event came.
pub(super) fn of_stored(bus: &BusRules, event: &Event) -> Result<Matched, EventError> {
    at_once(bus, event, Trust::Json)
}

fn at_once(bus: &BusRules, event: &Event, trust: Trust) -> Result<Matched, EventError> {
    let view = View::new(event);
    let parts = view.parts();
    let rules = candidates(bus, &parts, trust)?;
    let document = EventDocument::new(&parts);
    filtered(bus, &rules, &document, &mut Steps::of_event())
}

/// The subscriptions of `bus` that get a published `event`, without holding up the task's thread. Whoever
/// decoded it has read every byte of data that claims to be JSON (`api/wire`), so that what no rule mentions is
/// not read again.
///
/// # Errors
/// As [`subscriptions`]; or every place is taken.
pub(super) async fn of_published(
    places: &WorkLimiter,
    bus: &Arc<BusRules>,
    event: &Arc<Event>,
    inline: &mut Inline,
) -> Result<Matched, Unmatched> {
    if let Some(matched) = cheaply(bus, event, inline).map_err(Unmatched::Event)? {
        if inline.bytes == 0 || inline.steps == 0 {
            // A batch of small events takes long too: others get their turn in between.
            tokio::task::yield_now().await;
            *inline = Inline::new();
        }
        return Ok(matched);
    }
    let (bus, event) = (bus.clone(), event.clone());
    match places.run(move || at_once(&bus, &event, Trust::Json)).await {
        Ok(matched) => matched.map_err(Unmatched::Event),
        Err(Denied::Full) => {
            let kind = Kind::Busy {
                retry_after_ms: RETRY_AFTER_MS,
            };
            let reason = "too many large events are being matched with `where` filters";
            Err(Unmatched::Denied(Error::new(kind, reason)))
        }
        Err(Denied::Stopped) => {
            let reason = "the bus is stopping";
            Err(Unmatched::Denied(Error::new(Kind::Unavailable, reason)))
        }
    }
}

/// The same, if it costs no more than a request may take inline, which it then takes from what is left;
/// none where it may cost more.
fn cheaply(
    bus: &BusRules,
    event: &Event,
    inline: &mut Inline,
) -> Result<Option<Matched>, EventError> {
    let view = View::new(event);
    let parts = view.parts();
    let rules = candidates(bus, &parts, Trust::Json)?;
    let document = EventDocument::new(&parts);
    if rules
        .iter()
        .all(|place| bus.rules[*place].filters.is_empty())
    {
        return filtered(bus, &rules, &document, &mut Steps::at_most(0)).map(Some);
    }
    if event.size() > INLINE_BYTES_MAX {
        return Ok(None);
    }
    let mut steps = Steps::at_most(INLINE_STEPS_MAX);
    let matched = filtered(bus, &rules, &document, &mut steps)?;
    inline.bytes = inline.bytes.saturating_sub(event.size());
    inline.steps = inline.steps.saturating_sub(steps.used());
    Ok((!matched.used_up).then_some(matched))
}

/// The places of the rules whose patterns match, in the manifest's order.
fn candidates(bus: &BusRules, event: &[Part<'_>], trust: Trust) -> Result<Vec<usize>, EventError> {
    let numbers = look_up(&bus.patterns, event, trust)?;
    let mut places: Vec<usize> = numbers.into_iter().map(|own| bus.place(own)).collect();
    places.extend_from_slice(&bus.unconditional);
    places.sort_unstable();
    Ok(places)
}

/// Who gets the event by the filters of these rules.
fn filtered(
    bus: &BusRules,
    rules: &[usize],
    document: &EventDocument<'_>,
    steps: &mut Steps,
) -> Result<Matched, EventError> {
    let mut matched = Matched {
        subscriptions: Vec::with_capacity(rules.len()),
        used_up: false,
    };
    for place in rules {
        let rule = &bus.rules[*place];
        let mut holds = true;
        for filter in rule.filters.iter() {
            match filter.holds(document.tree()?, steps) {
                Ok(true) => {}
                Ok(false) => holds = false,
                Err(_) => {
                    matched.used_up = true;
                    holds = false;
                }
            }
            if !holds {
                break;
            }
        }
        if holds {
            matched.subscriptions.extend_from_slice(&rule.subscriptions);
        }
    }
    Ok(matched)
}

/// The pattern of a job, compiled; `None` for none.
///
/// # Errors
/// Why it can't be read, in words.
pub(super) fn compiled(pattern: Option<&String>) -> Result<Option<RuleIndex<()>>, String> {
    let parsed = pattern.map(|text| parse_pattern(text)).transpose();
    let parsed = parsed.map_err(|errors| {
        let first = errors.first();
        let reason = first.map_or("", |error| error.reason.as_str());
        format!("the pattern can't be read: {reason}")
    })?;
    Ok(parsed.map(|pattern| [((), pattern)].into_iter().collect()))
}

/// Whether one of `patterns` matches `event`, which is in the log: so its data were checked when it came.
/// Data that a pattern looks into and that can't be read exactly is matched by none.
#[must_use]
pub fn matches(patterns: &RuleIndex<()>, event: &Event) -> bool {
    look_up(patterns, &View::new(event).parts(), Trust::Json).is_ok_and(|found| !found.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Snapshot;
    use edgebus_model::{BusConfig, BusId, Data, Name, Position, RuleConfig};
    use edgebus_store::Catalog;

    /// What nobody has read is checked to its last byte, whether a rule mentions it or not.
    #[test]
    fn emitted_data_is_checked_whole() {
        let bus = BusConfig::with_defaults(Name::new("default").unwrap());
        let catalog = Catalog {
            buses: vec![(BusId(1), bus.clone(), Position(0))],
            rules: vec![RuleConfig {
                enabled: true,
                description: None,
                name: bus.name.clone(),
                bus: bus.name,
                pattern: Some(r#"{"data":{"a":[1]}}"#.to_owned()),
                filters: Vec::new(),
                targets: Vec::new(),
            }],
            ..Catalog::default()
        };
        let snapshot = Snapshot::compile(&catalog, Default::default(), None).unwrap();
        let event = |data: &'static str| Event {
            kind: "t".to_owned(),
            data: Data::Json(data.into()),
            ..Event::unreadable()
        };
        let bus = &snapshot.buses["default"];
        let good = event(r#"{"a":1,"b":{"c":[true]}}"#);
        assert!(subscriptions(bus, &good).is_ok());
        for broken in [r#"{"a":1,"b":{"c":[tru]}}"#, r#"{"a":1,"b":"#, "{\"a\":1}}"] {
            let event = event(broken);
            assert!(subscriptions(bus, &event).is_err(), "{broken}");
        }
        // What was read before is not read again where no rule looks.
        let unread = event(r#"{"a":1,"b":{"c":[tru]}}"#);
        assert!(at_once(bus, &unread, Trust::Json).is_ok());
    }
}
