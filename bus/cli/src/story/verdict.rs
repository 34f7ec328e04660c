//! What rules make of an event, as a story: those that match first, then those that came nearest.

use std::cmp::Ordering;

use edgebus_rules::{BranchExplanation, ConditionExplanation, Explanation, Style};

use super::super::output::{Paint, plain};
use super::facts::Facts;
use edgebus_api as api;
use edgebus_manifest::view::{FilterVerdict, InputVerdict, Verdict};

/// Rules whose conditions are shown unless all are asked for: those that came nearest.
const NEAREST: usize = 3;

/// An event and its verdicts.
pub(crate) struct Explained<'a> {
    /// The event's type.
    pub(crate) kind: &'a str,
    /// Its id.
    pub(crate) id: &'a str,
    /// Its source.
    pub(crate) source: &'a str,
    /// Its place and what happened there; `None` for an event from outside a log.
    pub(crate) stored: Option<Stored<'a>>,
    /// The verdicts.
    pub(crate) verdicts: Vec<Verdict>,
    /// Whether the conditions of every rule are shown.
    pub(crate) all: bool,
    /// The colours.
    pub(crate) paint: Paint,
}

/// What a log says of an event.
pub(crate) struct Stored<'a> {
    /// Its place.
    pub(crate) position: u64,
    /// The bus.
    pub(crate) bus: &'a str,
    /// The rules that it was delivered for when it came.
    pub(crate) rules: &'a [String],
}

impl Explained<'_> {
    /// The story.
    pub(crate) fn tell(mut self) -> String {
        let paint = self.paint;
        let mut facts = Facts::new(paint);
        let kind = paint.strong(&plain(self.kind));
        let (id, source) = (plain(self.id), plain(self.source));
        let place = match &self.stored {
            Some(stored) => format!("#{} on bus {}, ", stored.position, plain(stored.bus)),
            None => String::new(),
        };
        facts.title("Event", &format!("{kind}  {place}{id} from {source}"));
        facts.line("");
        if self.verdicts.is_empty() {
            facts.line("No active rule looks at events of this bus.");
            return facts.end();
        }
        let mut verdicts = std::mem::take(&mut self.verdicts);
        // Of those that match, none is nearer: they stay in the manifest's order.
        verdicts.sort_by(|one, other| match one.matched && other.matched {
            true => Ordering::Equal,
            false => other.nearer(one),
        });
        let (mut missed, mut left_out) = (0, 0);
        for verdict in &verdicts {
            missed += usize::from(!verdict.matched);
            let whole = self.all || (!verdict.matched && missed <= NEAREST);
            self.tell_rule(&mut facts, verdict, whole);
            left_out += usize::from(!whole);
        }
        if left_out > 0 {
            facts.line("");
            facts.line(&paint.faint("--all shows each condition of every rule"));
        }
        facts.end()
    }

    fn tell_rule(&self, facts: &mut Facts, verdict: &Verdict, whole: bool) {
        let style = style(self.paint);
        let rendered = if whole {
            verdict.render(style)
        } else if verdict.matched {
            format!("{}\n{}", verdict.headline(style), verdict.render_inputs())
        } else {
            format!("{}; {}\n", verdict.headline(style), verdict.summary())
        };
        let mut lines = rendered.lines();
        let name = self.paint.strong(&plain(&verdict.rule));
        let headline = lines.next().unwrap_or("");
        facts.line(&match verdict.rule.is_empty() {
            true => headline.to_owned(),
            false => format!("{name}: {headline}"),
        });
        for line in lines {
            facts.line(&format!("  {line}"));
        }
        if let Some(changed) = self.changed(verdict) {
            facts.line(&format!("    {}", self.paint.open(changed)));
        }
    }

    /// A note if the rule decides differently now than when the event came.
    fn changed(&self, verdict: &Verdict) -> Option<&'static str> {
        let stored = self.stored.as_ref()?;
        let got = stored.rules.contains(&verdict.rule);
        match (verdict.matched, got) {
            (true, false) => Some(
                "but the event was not delivered for it: the rule was another, or not there, when the event came",
            ),
            (false, true) => {
                Some("but the event was delivered for it: the rule was another when the event came")
            }
            _ => None,
        }
    }
}

/// A verdict of the API as `view` has it, which can put it in words.
#[must_use]
pub(crate) fn verdict_of(answer: api::RuleVerdict) -> Verdict {
    let filter = |own: api::FilterVerdict| FilterVerdict {
        query: own.query,
        held: own.held,
        used_up: own.used_up,
    };
    let input = |own: api::InputVerdict| InputVerdict {
        subscription: own.subscription,
        input: own.input,
        error: own.error,
    };
    Verdict {
        rule: answer.rule,
        bus: answer.bus,
        matched: answer.matched,
        disabled: answer.disabled,
        explanation: answer.explanation.map(explanation),
        filters: answer.filters.into_iter().map(filter).collect(),
        inputs: answer.inputs.into_iter().map(input).collect(),
        // The bus does not say.
        steps: 0,
    }
}

fn explanation(answer: api::Explanation) -> Explanation {
    let condition = |own: api::ConditionExplanation| ConditionExplanation {
        path: own.path,
        wanted: own.wanted,
        wanted_in_words: own.wanted_in_words,
        seen: own.seen,
        seen_total: index(own.seen_total),
        held: own.held,
        held_by: own.held_by,
        held_alternative: own.held_alternative.map(index),
        hint: own.hint,
    };
    let branch = |own: api::BranchExplanation| BranchExplanation {
        sub_rule: index(own.sub_rule),
        matched: own.matched,
        first_missed: own.first_missed.map(index),
        array_inconsistent: own.array_inconsistent,
        conditions: own.conditions.into_iter().map(condition).collect(),
    };
    Explanation {
        matched: answer.matched,
        sub_rules: index(answer.sub_rules),
        branches: answer.branches.into_iter().map(branch).collect(),
    }
}

/// A number of the API as one of this machine, small enough to count on from it.
fn index(number: u64) -> usize {
    usize::try_from(number)
        .unwrap_or(usize::MAX)
        .min(usize::MAX / 2)
}

/// How rules are rendered in these colours.
fn style(paint: Paint) -> Style {
    match paint.on {
        true => Style::Ansi,
        false => Style::Plain,
    }
}
