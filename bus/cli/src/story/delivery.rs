//! One delivery for people: the event, the rule that matched, each attempt, and what comes next.

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::output::{self, Paint, json, parse_time, plain, span, time};
use super::facts::Facts;
use super::{attempt, event, policy};
use crate::Failure;
use crate::listing::text;
use edgebus_model::Timestamp;

/// Columns that a pattern may fill before it is broken into lines.
const PATTERN_COLUMNS: usize = 80;

/// What a story is made of, as the API gave it.
pub(crate) struct Story<'a> {
    /// The delivery.
    pub(crate) delivery: &'a str,
    /// Its CloudEvent; a dead letter brings its own.
    pub(crate) event: Option<&'a str>,
    /// The rule that matched, if it is still active.
    pub(crate) rule: Option<&'a str>,
    /// The time now, for ages.
    pub(crate) now: Timestamp,
    /// Whether each attempt is told whole, with the frames of the runtime.
    pub(crate) full: bool,
    /// The colours.
    pub(crate) paint: Paint,
}

#[derive(serde::Deserialize)]
struct Own<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

#[derive(serde::Deserialize)]
struct Rule<'a> {
    #[serde(borrow, rename = "match")]
    pattern: &'a RawValue,
}

impl Story<'_> {
    /// The story.
    ///
    /// # Errors
    /// What the API gave can't be read.
    pub(crate) fn tell(&self) -> Result<String, Failure> {
        let delivery = output::parse(self.delivery)?;
        let mut facts = Facts::new(self.paint);
        let stage = text(&delivery, "/stage");
        let reason = delivery.get("reason").and_then(Value::as_str);
        let state = match (stage.as_str(), reason) {
            ("dead", Some(reason)) => format!("dead: {}", plain(reason)),
            _ => plain(&stage).into_owned(),
        };
        facts.title(
            "Delivery",
            &format!(
                "{}  {}",
                text(&delivery, "/id"),
                self.paint.outcome(&stage, &state)
            ),
        );
        self.tell_event(&mut facts, &delivery)?;
        self.tell_rule(&mut facts, &delivery)?;
        let accepted_at = text(&delivery, "/accepted_at");
        let attempts = delivery.get("attempts").and_then(Value::as_array);
        let attempts: Vec<&Value> = attempts.into_iter().flatten().collect();
        let number_of =
            |attempt: &Value| attempt.get("number").and_then(Value::as_u64).unwrap_or(0);
        let together = |one: &&Value, next: &&Value| {
            !self.full && attempt::same(one, next) && number_of(next) == number_of(one) + 1
        };
        let mut last = 0;
        for same in attempts.chunk_by(together) {
            let number = number_of(same[0]);
            if last > 0 && number > last + 1 {
                facts.line("");
                facts.line(&self.paint.faint(&format!(
                    "  … attempts {} to {} are no longer kept",
                    last + 1,
                    number - 1
                )));
            }
            attempt::write(&mut facts, same, &accepted_at, self.full);
            last = number_of(same[same.len() - 1]);
        }
        self.tell_next(&mut facts, &delivery);
        Ok(facts.end())
    }

    fn tell_event(&self, facts: &mut Facts, delivery: &Value) -> Result<(), Failure> {
        let own: Own<'_> = serde_json::from_str(self.delivery).map_err(|error| {
            Failure::new(format!("the delivery's event can't be read: {error}"))
        })?;
        let event = own.event.map(RawValue::get).or(self.event);
        let kind = match event {
            Some(event) => text(&output::parse(event)?, "/type"),
            None => "(the event can't be read)".to_owned(),
        };
        facts.title(
            "Event",
            &format!(
                "{}  #{} on bus {}",
                self.paint.strong(&plain(&kind)),
                text(delivery, "/position"),
                plain(&text(delivery, "/bus"))
            ),
        );
        let accepted_at = text(delivery, "/accepted_at");
        facts.fact(
            "accepted",
            &format!(
                "{}{}",
                time(&accepted_at),
                event::ago(&accepted_at, self.now)
            ),
        );
        match event {
            Some(event) => event::write(facts, event, event::DATA_LINES_CUT),
            None => Ok(()),
        }
    }

    fn tell_rule(&self, facts: &mut Facts, delivery: &Value) -> Result<(), Failure> {
        let (rule, function) = (text(delivery, "/rule"), text(delivery, "/function"));
        let name = text(delivery, "/subscription");
        facts.title("Rule", &format!("{} → {}", plain(&rule), plain(&function)));
        let Some(json_of_rule) = self.rule else {
            facts.fact("", "is no longer active");
            return Ok(());
        };
        let own: Rule<'_> = serde_json::from_str(json_of_rule)
            .map_err(|error| Failure::new(format!("the rule can't be read: {error}")))?;
        match own.pattern.get() {
            "null" => facts.fact("match", "every event"),
            pattern => facts.fact("match", &json::indented(pattern, PATTERN_COLUMNS)),
        }
        let rule = output::parse(json_of_rule)?;
        for filter in rule
            .get("where")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            facts.fact("where", &plain(filter.as_str().unwrap_or("")));
        }
        let target = rule
            .get("to")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find(|target| text(target, "/name") == name);
        if let Some(retry) = target.and_then(|target| target.get("retry")) {
            facts.fact("policy", &policy::retry(retry));
        }
        Ok(())
    }

    fn tell_next(&self, facts: &mut Facts, delivery: &Value) {
        let made = text(delivery, "/attempts_made");
        match text(delivery, "/stage").as_str() {
            "succeeded" => {
                let emitted = text(delivery, "/emitted");
                let plural = if emitted == "1" { "" } else { "s" };
                let settled_at = time(&text(delivery, "/settled_at"));
                facts.title(
                    "Done",
                    &format!("{settled_at}, {emitted} event{plural} emitted"),
                );
            }
            "dead" => self.tell_death(facts, delivery, &made),
            _ => match delivery.get("due_at").and_then(Value::as_str) {
                Some(due_at) => {
                    let left = parse_time(due_at).map_or(0, |due| due.ms_since(self.now));
                    facts.title(
                        "Next",
                        &format!("due at {}, in {}", time(due_at), span(left)),
                    );
                }
                None if made == "0" => facts.title("Next", "waits for its first attempt, or runs"),
                None => facts.title("Next", "runs, or is about to"),
            },
        }
    }

    fn tell_death(&self, facts: &mut Facts, delivery: &Value, made: &str) {
        let reason = text(delivery, "/reason");
        let why = match reason.as_str() {
            "rejected" => "the function said that trying again is useless".to_owned(),
            "attempts-exhausted" => format!("{made} of {made} attempts failed"),
            "age-exceeded" => "another attempt would be later than the policy allows".to_owned(),
            "hop-limit" => "it emitted an event that went through too many functions".to_owned(),
            "fan-out-limit" => "the event at the chain's start has too many descendants".to_owned(),
            "function-missing" => "its function was not deployed".to_owned(),
            "corrupt" => "its stored event could not be read intact: run edgebus fsck".to_owned(),
            other => plain(other).into_owned(),
        };
        let died_at = time(&text(delivery, "/died_at"));
        facts.title("Dead", &format!("{died_at}, because {why}"));
        if delivery.get("function").is_none() || delivery.get("rule").is_none() {
            return;
        }
        facts.line("  try a repaired function on what it was given, without effects:");
        facts.line(&format!(
            "    edgebus functions invoke {} --delivery {}",
            plain(&text(delivery, "/function")),
            plain(&text(delivery, "/id"))
        ));
    }
}
