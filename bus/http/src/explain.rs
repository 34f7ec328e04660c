//! Explains an event of the log: tries each rule of its bus on it.
//!
//! It uses the active rules, which may differ from those at the time of the event. So the answer also lists the
//! subscriptions that got it then. Never here: matching of its own; `view` makes the verdicts.

use std::sync::Arc;

use edgebus_api as api;

use super::call::{Answer, Call, raw};
use super::page::{BYTES_MAX, Row};
use super::problem::{Cause, Problem};
use super::{App, events, page, verdict, wire};
use edgebus_engine::bus::{DeliveryState, StoredEvent};
use edgebus_manifest::view::{Unjudged, View, judge};
use edgebus_model::error::Kind;
use edgebus_model::{Code, DeliveryKey, Name, Position, RuleConfig};

/// Rules of one answer.
pub(super) const RULES_MAX: usize = 1_000;
/// Bytes of the event that one answer reads, for all its rules together.
const LOOKED_AT_BYTES_MAX: usize = 64 << 20;
/// An answer whose filters have taken more steps than this ends.
const STEPS_MAX: u64 = 5_000_000;

/// `GET /v1/buses/{bus}/events/{position}/explain`: of every rule of the bus in the
/// manifest's order, or of the one named.
pub(super) async fn event(call: Call) -> Answer {
    let bus = call.name("bus")?;
    let query: api::ExplainQuery = call.query()?;
    let (rule, after) = (query.rule.as_deref(), query.after.as_deref());
    if rule.is_some() && after.is_some() {
        return Err(Problem::input_error(
            "",
            "query parameters `rule` and `after` exclude each other",
            "`after` goes on with all rules behind the named one",
        ));
    }
    let position = events::position(&call)?;
    let app = call.app;
    let place = app.judging.enter().map_err(Problem::denied)?;
    let letter = query.dead_letter.as_deref();
    let stored = match (app.bus.event(bus.as_str(), position).await, letter) {
        (Ok(stored), _) => stored,
        (Err(error), Some(letter)) if error.kind == Kind::NotFound => {
            let own = copy(&app, (bus.as_str(), position), letter).await?;
            own.ok_or(error)?
        }
        (Err(error), _) => return Err(error.into()),
    };
    let got = Got::of(&app, &stored);
    let rules = wanted(app.bus.rules(), &bus, rule, after)?;
    // Many rules on a large event take a while, which other requests must not wait for.
    let explained = place
        .run(move || explain(&stored, got, &rules))
        .await
        .map_err(Problem::denied)?;
    page::held(&app, &explained?)
}

/// The event as a dead letter of it has it; `None` if this is no dead letter of the event.
async fn copy(
    app: &App,
    (bus, position): (&str, Position),
    letter: &str,
) -> Result<Option<StoredEvent>, Problem> {
    let key: DeliveryKey = letter.parse().map_err(|()| {
        Problem::input_error(
            "",
            "`dead_letter` is no delivery's id",
            "write it as in 3-13",
        )
    })?;
    let subscription = app.bus.subscription(key.subscription);
    let of_bus = subscription.is_some_and(|(_, name)| name == bus);
    if !of_bus || key.position != position {
        return Ok(None);
    }
    Ok(match app.bus.delivery(key).await? {
        DeliveryState::Dead(letter) if !letter.is_hollow() => Some(StoredEvent {
            position,
            accepted_at: letter.accepted_at,
            rules_version: 0,
            subscriptions: vec![key.subscription],
            lineage: letter.lineage,
            event: letter.event,
        }),
        _ => None,
    })
}

/// Who got an event when it came.
struct Got {
    subscriptions: Vec<String>,
    /// The rules that those belong to now, each once.
    rules: Vec<String>,
}

impl Got {
    fn of(app: &App, stored: &StoredEvent) -> Self {
        let (mut subscriptions, mut rules) = (Vec::new(), Vec::new());
        for id in &stored.subscriptions {
            // Of a subscription that left the manifest and has nothing pending, only the number is left.
            let Some((own, _)) = app.bus.subscription(*id) else {
                subscriptions.push(id.0.to_string());
                continue;
            };
            subscriptions.push(own.name().to_string());
            rules.push(own.rule.to_string());
        }
        rules.dedup();
        Self {
            subscriptions,
            rules,
        }
    }
}

/// The rules to judge: those of `bus`, or the one called `rule`, or those behind `after`.
fn wanted(
    mut rules: Vec<Arc<RuleConfig>>,
    bus: &Name,
    rule: Option<&str>,
    after: Option<&str>,
) -> Result<Vec<Arc<RuleConfig>>, Problem> {
    let Some(named) = rule.or(after) else {
        rules.retain(|own| own.bus == *bus);
        return Ok(rules);
    };
    let shown: String = named.escape_debug().take(2 * Name::BYTES_MAX).collect();
    let none = |detail: String| Problem::new(Cause::Handle(Kind::NotFound), detail);
    match rules.iter().find(|own| own.name.as_str() == named) {
        Some(own) if own.bus == *bus => {}
        Some(own) => {
            return Err(none(format!(
                "the rule `{shown}` looks at events of bus `{}`, not `{bus}`",
                own.bus
            )));
        }
        None => return Err(none(format!("no rule `{shown}` is active"))),
    }
    rules.retain(|own| own.bus == *bus);
    if rule.is_some() {
        rules.retain(|own| own.name.as_str() == named);
    } else {
        let place = rules.iter().position(|own| own.name.as_str() == named);
        rules.drain(..=place.unwrap_or(0));
    }
    Ok(rules)
}

/// The answer: as many verdicts as its bounds allow, and at least one where there is a rule;
/// and who got the event when it came.
fn explain(
    stored: &StoredEvent,
    got: Got,
    rules: &[Arc<RuleConfig>],
) -> Result<api::ExplainedEvent<Row>, Problem> {
    let event = &stored.event;
    let view = View::new(event);
    let looks_max = (LOOKED_AT_BYTES_MAX / event.size().max(1)).clamp(1, RULES_MAX);
    let mut verdicts = Vec::new();
    let (mut bytes, mut steps) = (0, 0);
    for rule in rules {
        if verdicts.len() == looks_max || bytes > BYTES_MAX || steps > STEPS_MAX {
            break;
        }
        let verdict =
            judge(rule, &view, stored.accepted_at).map_err(|error| refused(rule, &error))?;
        steps += verdict.steps;
        let row = raw(&verdict::of_rule(verdict));
        bytes += row.get().len();
        verdicts.push(row);
    }
    let more = rules.len() - verdicts.len();
    let last = rules[..verdicts.len()].last().filter(|_| more > 0);
    Ok(api::ExplainedEvent {
        position: stored.position.0,
        accepted_at: stored.accepted_at.to_string(),
        event: wire::key(event),
        subscriptions: got.subscriptions,
        rules: got.rules,
        verdicts,
        next: last.map(|last| last.name.to_string()),
        more: more as u64,
    })
}

/// There is no verdict on an event of the log: no rule read its data when it was published, or another
/// release applied the rule.
fn refused(rule: &RuleConfig, error: &Unjudged) -> Problem {
    let code = match error {
        Unjudged::Event(_) => Code::EventInvalid,
        Unjudged::Rule(_) => Code::PatternInvalid,
    };
    let detail = format!("the rule `{}` can't judge the event: {error}", rule.name);
    Problem::new(Cause::Handle(Kind::Invalid), detail).coded(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_model::{Data, Event, Lineage, Timestamp};

    fn rules(count: usize) -> Vec<Arc<RuleConfig>> {
        let name = |text: &str| Name::new(text).unwrap();
        let rule = |number: usize| RuleConfig {
            enabled: true,
            description: None,
            name: name(&format!("r{number}")),
            bus: name(if number.is_multiple_of(2) {
                "even"
            } else {
                "odd"
            }),
            pattern: Some(format!(r#"{{"data":{{"n":[{number}]}}}}"#)),
            filters: Vec::new(),
            targets: Vec::new(),
        };
        (0..count).map(rule).map(Arc::new).collect()
    }

    #[test]
    fn rules_are_those_of_the_bus_or_one_or_those_behind_one() {
        let check = |rule, after| {
            let even = Name::new("even").unwrap();
            match wanted(rules(7), &even, rule, after) {
                Ok(rules) => rules.iter().map(|rule| rule.name.to_string()).collect(),
                Err(problem) => vec![problem.status().to_string()],
            }
        };
        assert_eq!(check(None, None), ["r0", "r2", "r4", "r6"]);
        assert_eq!(check(Some("r4"), None), ["r4"]);
        assert_eq!(check(None, Some("r2")), ["r4", "r6"]);
        assert_eq!(check(None, Some("r6")), [""; 0]);
        assert_eq!(check(Some("r1"), None), ["404"]);
        assert_eq!(check(Some("none"), None), ["404"]);
        assert_eq!(check(None, Some("none")), ["404"]);
    }

    #[test]
    fn an_answer_is_bounded_and_says_what_is_left() {
        let told = |count: usize, bytes: usize| {
            let data = format!(r#"{{"n":3,"fill":"{}"}}"#, "x".repeat(bytes));
            let event = Event {
                data: Data::Json(data.into()),
                ..Event::unreadable()
            };
            let stored = StoredEvent {
                position: Position(1),
                accepted_at: Timestamp(0),
                rules_version: 1,
                subscriptions: Vec::new(),
                lineage: Lineage::default(),
                event: event.into(),
            };
            let got = Got {
                subscriptions: vec!["r1/f".to_owned()],
                rules: vec!["r1".to_owned()],
            };
            let out = crate::call::written(&explain(&stored, got, &rules(count)).unwrap());
            let answer: api::ExplainedEvent = serde_json::from_slice(&out).unwrap();
            let matched = answer.verdicts.iter().filter(|verdict| verdict.matched);
            assert_eq!(matched.count(), usize::from(count > 3), "{answer:?}");
            assert_eq!(answer.subscriptions, ["r1/f"]);
            assert_eq!(answer.rules, ["r1"]);
            (answer.verdicts.len(), answer.next, answer.more)
        };
        assert_eq!(told(0, 0), (0, None, 0));
        assert_eq!(told(RULES_MAX, 0), (RULES_MAX, None, 0));
        assert_eq!(told(RULES_MAX + 2, 0), (RULES_MAX, Some("r999".into()), 2));
        let (fitting, next, more) = told(100, 1 << 20);
        assert!((60..64).contains(&fitting), "{fitting}");
        assert_eq!(next, Some(format!("r{}", fitting - 1)));
        assert_eq!(more as usize, 100 - fitting);
    }
}
