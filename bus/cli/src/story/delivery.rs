//! One delivery for people: the event, the rule that matched, each attempt, and what comes next.

use super::super::output::{Paint, json, parse_time, plain, span, time};
use super::facts::Facts;
use super::{attempt, event, policy};
use edgebus_api::{Attempt, DeadReason, Delivery, Erased, Event, Rule, Stage};
use edgebus_model::Timestamp;

/// Columns that a pattern may fill before it is broken into lines.
const PATTERN_COLUMNS: usize = 80;

/// What a story is made of, as the API gave it.
pub(crate) struct Story<'a> {
    /// The delivery.
    pub(crate) delivery: &'a Delivery,
    /// Its CloudEvent; a dead letter brings its own.
    pub(crate) event: Option<&'a Event>,
    /// Set if that was erased; a dead letter says so itself.
    pub(crate) erased: Option<&'a Erased>,
    /// The rule that matched, if it is still active.
    pub(crate) rule: Option<&'a Rule>,
    /// The time now, for ages.
    pub(crate) now: Timestamp,
    /// Whether each attempt is told whole, with the frames of the runtime.
    pub(crate) full: bool,
    /// The colours.
    pub(crate) paint: Paint,
}

/// A name, or a dash where there is none.
fn name(name: Option<&String>) -> std::borrow::Cow<'_, str> {
    plain(name.map_or("-", String::as_str))
}

impl Story<'_> {
    /// The story.
    pub(crate) fn tell(&self) -> String {
        let delivery = self.delivery;
        let mut facts = Facts::new(self.paint);
        let stage = delivery.stage.as_str();
        let state = match (&delivery.stage, &delivery.reason) {
            (Stage::Dead, Some(reason)) => format!("dead: {}", plain(reason.as_str())),
            _ => plain(stage).into_owned(),
        };
        facts.title(
            "Delivery",
            &format!(
                "{}  {}",
                plain(&delivery.id),
                self.paint.outcome(stage, &state)
            ),
        );
        self.tell_redrive(&mut facts);
        self.tell_event(&mut facts);
        self.tell_rule(&mut facts);
        let attempts = delivery.attempts.as_deref().unwrap_or_default();
        let together = |one: &Attempt, next: &Attempt| {
            !self.full && attempt::same(one, next) && next.number == one.number + 1
        };
        let mut last = 0;
        for same in attempts.chunk_by(together) {
            let number = same[0].number;
            if last > 0 && number > last + 1 {
                facts.line("");
                facts.line(&self.paint.faint(&format!(
                    "  … attempts {} to {} are no longer kept",
                    last + 1,
                    number - 1
                )));
            }
            attempt::write(&mut facts, same, &delivery.accepted_at, self.full);
            last = same[same.len() - 1].number;
        }
        self.tell_next(&mut facts);
        facts.end()
    }

    /// That it was a dead letter before, and how often.
    fn tell_redrive(&self, facts: &mut Facts) {
        let delivery = self.delivery;
        let Some(deaths) = delivery.deaths else {
            return;
        };
        if deaths > 1 || delivery.redriven_at.is_some() {
            let times = if deaths == 1 { "time" } else { "times" };
            facts.fact("died", &format!("{deaths} {times}"));
        }
        if let Some(at) = &delivery.redriven_at {
            let of = delivery.died_of.as_ref();
            let of = of.map_or_else(String::new, |of| {
                format!(", had died: {}", plain(of.as_str()))
            });
            let job = delivery.job.filter(|_| delivery.discarded.is_none());
            let job = job.map_or_else(String::new, |job| format!(" by job {job}"));
            facts.fact("redriven", &format!("{}{job}{of}", time(at)));
        }
    }

    fn tell_event(&self, facts: &mut Facts) {
        let delivery = self.delivery;
        let event = delivery.event.as_ref().or(self.event);
        let kind = event.map_or("(the event can't be read)", |event| &event.kind);
        facts.title(
            "Event",
            &format!(
                "{}  #{} on bus {}",
                self.paint.strong(&plain(kind)),
                delivery.position,
                name(delivery.bus.as_ref())
            ),
        );
        let accepted_at = &delivery.accepted_at;
        facts.fact(
            "accepted",
            &format!("{}{}", time(accepted_at), event::ago(accepted_at, self.now)),
        );
        if let Some(event) = event {
            let erased = delivery.erased.as_ref().or(self.erased);
            event::write(facts, (event, erased), event::DATA_LINES_CUT);
        }
    }

    fn tell_rule(&self, facts: &mut Facts) {
        let delivery = self.delivery;
        let (rule, function) = (
            name(delivery.rule.as_ref()),
            plain(delivery.target.name().unwrap_or("-")),
        );
        facts.title("Rule", &format!("{rule} → {function}"));
        let Some(rule) = self.rule else {
            facts.fact("", "is no longer active");
            return;
        };
        match &rule.pattern {
            None => facts.fact("match", "every event"),
            Some(pattern) => {
                facts.fact("match", &json::indented(pattern.get(), PATTERN_COLUMNS));
            }
        }
        for filter in &rule.filters {
            facts.fact("where", &plain(filter));
        }
        let mut targets = rule.to.iter();
        if let Some(target) = targets.find(|target| target.name == delivery.subscription) {
            facts.fact("policy", &policy::retry(&target.retry));
        }
    }

    fn tell_next(&self, facts: &mut Facts) {
        let delivery = self.delivery;
        match &delivery.stage {
            Stage::Succeeded => {
                let emitted = delivery.emitted.unwrap_or(0);
                let plural = if emitted == 1 { "" } else { "s" };
                let settled_at = time(delivery.settled_at.as_deref().unwrap_or("-"));
                facts.title(
                    "Done",
                    &format!("{settled_at}, {emitted} event{plural} emitted"),
                );
            }
            Stage::Dead => self.tell_death(facts),
            Stage::Discarded => {
                let how = delivery.discarded.as_ref();
                let how = how.map_or("discarded", |how| how.as_str());
                let settled_at = time(delivery.settled_at.as_deref().unwrap_or("-"));
                let job = delivery
                    .job
                    .map_or_else(String::new, |job| format!(" by job {job}"));
                facts.title("Discarded", &format!("{settled_at}, {}{job}", plain(how)));
            }
            _ => match &delivery.due_at {
                Some(due_at) => {
                    let left = parse_time(due_at).map_or(0, |due| due.ms_since(self.now));
                    facts.title(
                        "Next",
                        &format!("due at {}, in {}", time(due_at), span(left)),
                    );
                }
                None if delivery.attempts_made == 0 => {
                    facts.title("Next", "waits for its first attempt, or runs");
                }
                None => facts.title("Next", "runs, or is about to"),
            },
        }
    }

    fn tell_death(&self, facts: &mut Facts) {
        let delivery = self.delivery;
        let made = delivery.attempts_made;
        let why = match &delivery.reason {
            Some(DeadReason::Rejected) => {
                "the function said that trying again is useless".to_owned()
            }
            Some(DeadReason::AttemptsExhausted) => format!("{made} of {made} attempts failed"),
            Some(DeadReason::AgeExceeded) => {
                "another attempt would be later than the policy allows".to_owned()
            }
            Some(DeadReason::HopLimit) => {
                "it emitted an event that went through too many functions".to_owned()
            }
            Some(DeadReason::FanOutLimit) => {
                "the event at the chain's start has too many descendants".to_owned()
            }
            Some(DeadReason::FunctionMissing) => "its function was not deployed".to_owned(),
            Some(DeadReason::Corrupt) => {
                "its stored event could not be read intact: run edgebus fsck".to_owned()
            }
            Some(DeadReason::Other(other)) => plain(other).into_owned(),
            None => "-".to_owned(),
        };
        let died_at = time(delivery.died_at.as_deref().unwrap_or("-"));
        facts.title("Dead", &format!("{died_at}, because {why}"));
        let (Some(function), Some(_)) = (&delivery.target.function, &delivery.rule) else {
            return;
        };
        facts.line("  try a repaired function on what it was given, without effects:");
        facts.line(&format!(
            "    edgebus functions invoke {} --delivery {}",
            plain(function),
            plain(&delivery.id)
        ));
        // Of a corrupt one there may be no event, or nobody knows whether it ran.
        if delivery.reason != Some(DeadReason::Corrupt) {
            facts.line("  when the cause is gone, try it again:");
            facts.line(&format!(
                "    edgebus dead-letters redrive {} --wait",
                plain(&delivery.id)
            ));
        }
    }
}
