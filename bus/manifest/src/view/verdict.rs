//! What one rule makes of one event, with its reasons: for `rules explain`, `events explain`, `test` and
//! `dev`, which must all say the same.
//!
//! Never here: speed. A rule is compiled for each verdict. Matching uses other code; tests compare both.

use std::cmp::Ordering;

use edgebus_rules::{
    Context, Duplicates, EventDocument, EventError, Explanation, Nearness, RuleSet, Steps, Style,
    UsedUp, explain,
};
use serde_json::value::RawValue;

use super::{View, compile_input, parse_pattern, stored_filter};
use edgebus_model::{RuleConfig, TargetConfig, Timestamp};

/// What a rule makes of an event.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The rule.
    pub rule: String,
    /// Its bus.
    pub bus: String,
    /// Whether the event goes to its targets.
    pub matched: bool,
    /// Whether the rule is off, so that it takes no event whatever else holds.
    pub disabled: bool,
    /// What the pattern made of it; `None` for a rule without one, which takes every event.
    pub explanation: Option<Explanation>,
    /// What each `where` filter made of it.
    pub filters: Vec<FilterVerdict>,
    /// What the targets get that have an `input`; empty unless the rule matched.
    pub inputs: Vec<InputVerdict>,
    /// The steps that its filters took.
    pub steps: u64,
}

/// What a filter made of an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterVerdict {
    /// The JSONPath.
    pub query: String,
    /// Whether it selects something.
    pub held: bool,
    /// Whether the budget of steps ended before that was known, so that it doesn't hold.
    pub used_up: bool,
}

/// What a target would get.
#[derive(Clone, Debug)]
pub struct InputVerdict {
    /// The subscription's name.
    pub subscription: String,
    /// The input, if the event has one.
    pub input: Option<Box<RawValue>>,
    /// Why it has none.
    pub error: Option<String>,
}

/// Why there is no verdict.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unjudged {
    /// The event's data can't be read.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The rule can't be read, in words. The manifest's checks rule this out for active rules.
    #[error("{0}")]
    Rule(String),
}

/// Gives a verdict.
///
/// # Errors
/// The event or the rule can't be read.
pub fn judge(
    rule: &RuleConfig,
    view: &View<'_>,
    accepted_at: Timestamp,
) -> Result<Verdict, Unjudged> {
    let parts = view.parts();
    let explanation = match &rule.pattern {
        None => None,
        Some(text) => {
            let pattern = parse_pattern(text).map_err(first)?;
            let mut explanation = explain(&pattern, &parts)?;
            if let Some(hidden) = view.hidden_data() {
                hint_at_hidden_data(&mut explanation, &hidden);
            }
            Some(explanation)
        }
    };
    let mut filters = Vec::with_capacity(rule.filters.len());
    let mut steps = Steps::of_event();
    if !rule.filters.is_empty() {
        let document = EventDocument::new(&parts);
        let tree = document.tree()?;
        for query in &rule.filters {
            let filter = stored_filter(query).map_err(|error| Unjudged::Rule(error.to_string()))?;
            let holds = filter.holds(tree, &mut steps);
            filters.push(FilterVerdict {
                query: query.clone(),
                held: holds == Ok(true),
                used_up: holds.is_err(),
            });
        }
    }
    let matched = rule.enabled
        && explanation.as_ref().is_none_or(|own| own.matched)
        && filters.iter().all(|filter| filter.held);
    let inputs = match matched {
        true => inputs(rule, view, accepted_at)?,
        false => Vec::new(),
    };
    Ok(Verdict {
        rule: rule.name.to_string(),
        bus: rule.bus.to_string(),
        matched,
        disabled: !rule.enabled,
        explanation,
        filters,
        inputs,
        steps: steps.used(),
    })
}

/// Says at what was missed below `data` that rules can't see into it.
fn hint_at_hidden_data(explanation: &mut Explanation, hidden: &str) {
    let branches = explanation.branches.iter_mut();
    for condition in branches.flat_map(|branch| &mut branch.conditions) {
        let below = condition.path.strip_prefix("data");
        let of_data = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if of_data && !condition.held && condition.seen_total == 0 {
            condition.hint = Some(hidden.to_owned());
        }
    }
}

/// Checks whether a bus would accept the event, as far as this rule reads it. A publish refuses an event that
/// repeats a key which a pattern mentions; a verdict uses the last one.
///
/// # Errors
/// What publishing would answer; the rule can't be read.
pub fn check_keys(rule: &RuleConfig, view: &View<'_>) -> Result<(), Unjudged> {
    if let Some(text) = &rule.pattern {
        let pattern = parse_pattern(text).map_err(first)?;
        RuleSet::new([((), pattern)]).matches(&view.parts(), Duplicates::Refuse)?;
    }
    Ok(())
}

fn first(errors: Vec<edgebus_rules::ParseError>) -> Unjudged {
    let first = errors.first();
    Unjudged::Rule(first.map_or_else(|| "it can't be read".to_owned(), ToString::to_string))
}

fn inputs(
    rule: &RuleConfig,
    view: &View<'_>,
    accepted_at: Timestamp,
) -> Result<Vec<InputVerdict>, Unjudged> {
    let made = rule.targets.iter().filter_map(|target| {
        let made = input(target, rule, view, accepted_at).transpose()?;
        Some(made.map(|made| {
            let (input, error) = match made {
                Ok(input) => (Some(input), None),
                Err(error) => (None, Some(error)),
            };
            InputVerdict {
                subscription: target.name.to_string(),
                input,
                error,
            }
        }))
    });
    made.collect()
}

/// The input that a target gets of an event, or why the event has none; `None` for a target that takes
/// the event's own data.
///
/// # Errors
/// The `input` can't be read.
#[allow(
    clippy::type_complexity,
    reason = "no transform, no input, and no event are three things"
)]
fn input(
    target: &TargetConfig,
    rule: &RuleConfig,
    view: &View<'_>,
    accepted_at: Timestamp,
) -> Result<Option<Result<Box<RawValue>, String>>, Unjudged> {
    let Some(config) = &target.input else {
        return Ok(None);
    };
    let transform = compile_input(config).map_err(first)?;
    let ingested_at = accepted_at.to_string();
    let context = Context {
        rule_name: rule.name.as_str(),
        rule_arn: None,
        ingested_at: &ingested_at,
    };
    let parts = view.parts();
    let made = transform
        .apply(&EventDocument::new(&parts), &context)
        .map_err(|error| error.to_string())
        .and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()))
        .and_then(|text| RawValue::from_string(text).map_err(|error| error.to_string()));
    Ok(Some(made))
}

impl FilterVerdict {
    /// What the filter made of the event.
    fn in_words(&self) -> String {
        match (self.held, self.used_up) {
            (true, _) => "selects something".to_owned(),
            (false, false) => "selects nothing".to_owned(),
            (false, true) => format!("does not hold: {UsedUp}"),
        }
    }
}

impl Verdict {
    /// In one line: `matched`, or what was missed, as in
    /// `data.action: wanted "opened" or "reopened"; saw "closed"`.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.disabled {
            return "the rule is off (`enabled: false`)".to_owned();
        }
        if let Some(explanation) = self.explanation.as_ref().filter(|own| !own.matched) {
            return explanation.summary();
        }
        match self.filters.iter().find(|filter| !filter.held) {
            Some(filter) => {
                format!("where {}: {}", printable(&filter.query), filter.in_words())
            }
            None => "matched".to_owned(),
        }
    }

    /// Whether the nearest sub-rule wants another type.
    fn wants_other_type(&self) -> bool {
        let explanation = self.explanation.as_ref().filter(|own| !own.matched);
        let nearest = explanation.and_then(Explanation::nearest_branch);
        nearest.is_some_and(|branch| {
            let mut conditions = branch.conditions.iter();
            conditions.any(|condition| condition.path == "type" && !condition.held)
        })
    }

    /// Orders verdicts, totally, by how near the rules came to the event: the greatest is the nearest. A
    /// rule for another type is farther than any for this one.
    #[must_use]
    pub fn nearer(&self, other: &Self) -> Ordering {
        let held = |verdict: &Self| verdict.filters.iter().filter(|filter| filter.held).count();
        let pattern = |verdict: &Self| {
            // A rule without a pattern counts as one whose pattern matched.
            let none = Nearness {
                matched: true,
                held: 0,
                total: 0,
            };
            let explanation = verdict.explanation.as_ref();
            explanation.map_or(none, Explanation::nearness)
        };
        self.matched
            .cmp(&other.matched)
            .then_with(|| other.wants_other_type().cmp(&self.wants_other_type()))
            .then_with(|| pattern(self).cmp(&pattern(other)))
            .then_with(|| held(self).cmp(&held(other)))
    }

    /// In lines, for people: `matched` or `not matched`, each condition, and what the targets get that
    /// have an `input`; each ends with a line break.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let (yes, no) = match style {
            Style::Plain => ("yes", "NO "),
            Style::Ansi => ("\x1b[32myes\x1b[0m", "\x1b[1;31mNO \x1b[0m"),
        };
        let mut out = self.headline(style).to_owned();
        out.push('\n');
        if self.disabled {
            out.push_str(&format!("  {no}  the rule is off (`enabled: false`)\n"));
        }
        match &self.explanation {
            None => out.push_str(&format!(
                "  {yes}  the rule has no `match`, so its pattern takes every event\n"
            )),
            Some(explanation) => {
                let rendered = explanation.render(style);
                // Its own first line is the pattern's verdict alone.
                let (_, conditions) = rendered.split_once('\n').unwrap_or_default();
                out.push_str(conditions);
            }
        }
        for filter in &self.filters {
            let word = if filter.held { yes } else { no };
            let what = filter.in_words();
            let query = printable(&filter.query);
            out.push_str(&format!("  {word}  where {query}: {what}\n"));
        }
        out.push_str(&self.render_inputs());
        out
    }

    /// `matched` or `not matched`, in its colour.
    #[must_use]
    pub fn headline(&self, style: Style) -> &'static str {
        match (self.matched, style) {
            (true, Style::Plain) => "matched",
            (false, Style::Plain) => "not matched",
            (true, Style::Ansi) => "\x1b[32mmatched\x1b[0m",
            (false, Style::Ansi) => "\x1b[1;31mnot matched\x1b[0m",
        }
    }

    /// What the targets get that have an `input`, a line for each.
    #[must_use]
    pub fn render_inputs(&self) -> String {
        let mut out = String::new();
        for made in &self.inputs {
            let name = printable(&made.subscription);
            let line = match &made.error {
                Some(error) => format!("  input of {name} can't be made: {error}\n"),
                // In JSON, no input and an input of null are both null.
                None => {
                    let input = made.input.as_deref().map_or("null", RawValue::get);
                    format!("  input of {name}: {}\n", printable(input))
                }
            };
            out.push_str(&line);
        }
        out
    }
}

/// The text on one line, with control characters by their number, so that no event and no rule can
/// write to someone's terminal. Between JSON's tokens a line end is as good as a blank.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => shown.push(' '),
            _ if character.is_control() => {
                shown.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_model::{Data, Event, InputConfig, Name, Target};

    fn rule(pattern: Option<&str>, filters: &[&str], input: Option<InputConfig>) -> RuleConfig {
        let name = |text| Name::new(text).unwrap();
        RuleConfig {
            enabled: true,
            description: None,
            name: name("r"),
            bus: name("default"),
            pattern: pattern.map(str::to_owned),
            filters: filters.iter().map(|text| (*text).to_owned()).collect(),
            targets: vec![TargetConfig {
                input,
                ..TargetConfig::with_defaults(&name("r"), Target::Function(name("f")))
            }],
        }
    }

    fn verdict(rule: &RuleConfig) -> Verdict {
        let event = Event {
            id: "1".to_owned(),
            source: "/s".to_owned(),
            kind: "t".to_owned(),
            data: Data::Json(r#"{"n":10000000000000000000001,"list":[1]}"#.into()),
            ..Event::unreadable()
        };
        judge(rule, &View::new(&event), Timestamp(0)).unwrap()
    }

    #[test]
    fn a_verdict_says_what_was_missed() {
        let table = [
            (Some(r#"{"type":["t"]}"#), vec![], "matched"),
            (None, vec![], "matched"),
            (None, vec!["$.data.list"], "matched"),
            (
                None,
                vec!["$.data.none"],
                "where $.data.none: selects nothing",
            ),
            (
                Some(r#"{"type":["u"]}"#),
                vec!["$.data.none"],
                r#"type: wanted "u"; saw "t""#,
            ),
        ];
        for (pattern, filters, summary) in table {
            let verdict = verdict(&rule(pattern, &filters, None));
            assert_eq!(verdict.summary(), summary);
            assert_eq!(verdict.matched, summary == "matched");
        }
    }

    #[test]
    fn what_came_nearest_is_the_greatest() {
        // From far to near.
        let rules = [
            rule(Some(r#"{"type":["u"],"source":["/x"]}"#), &[], None),
            rule(Some(r#"{"type":["t"],"source":["/x"]}"#), &[], None),
            rule(Some(r#"{"type":["t"]}"#), &["$.none"], None),
            rule(Some(r#"{"type":["t"]}"#), &["$.none", "$.type"], None),
            rule(Some(r#"{"type":["t"]}"#), &["$.type"], None),
        ];
        let verdicts: Vec<Verdict> = rules.iter().map(verdict).collect();
        for pair in verdicts.windows(2) {
            assert_eq!(pair[1].nearer(&pair[0]), Ordering::Greater, "{pair:?}");
        }
    }

    #[test]
    fn the_first_line_is_the_whole_rules_verdict() {
        let pattern = r#"{"type":["t"]}"#;
        let table = [
            (Some(pattern), vec!["$.none"], "not matched\n  yes  type"),
            (Some(pattern), vec!["$.type"], "matched\n  yes  type"),
            (None, vec!["$.none"], "not matched\n  yes  the rule has no"),
        ];
        for (pattern, filters, start) in table {
            let rendered = verdict(&rule(pattern, &filters, None)).render(Style::Plain);
            assert!(rendered.starts_with(start), "{rendered}");
        }
        let input = InputConfig::Path("$.data.none".to_owned());
        let null = verdict(&rule(None, &[], Some(input)));
        assert_eq!(null.render_inputs(), "  input of r/f: null\n");
    }

    #[test]
    fn verdicts_are_totally_ordered() {
        let patterns = [
            None,
            Some(r#"{"type":["t"]}"#),
            Some(r#"{"type":["t"],"source":["/s"]}"#),
            Some(r#"{"type":["t"],"source":["/x"]}"#),
            Some(r#"{"type":["u"],"source":["/s"]}"#),
        ];
        let mut verdicts = Vec::new();
        for pattern in patterns {
            for filters in [&[][..], &["$.type"], &["$.none"], &["$.none", "$.type"]] {
                verdicts.push(verdict(&rule(pattern, filters, None)));
            }
        }
        for a in &verdicts {
            for b in &verdicts {
                assert_eq!(a.nearer(b), b.nearer(a).reverse());
                let mut between = verdicts.iter().filter(|c| b.nearer(c).is_ge());
                assert!(a.nearer(b).is_lt() || between.all(|c| a.nearer(c).is_ge()));
            }
        }
    }

    #[test]
    fn data_that_is_not_json_is_told() {
        let check = |data: Data, kind: Option<&str>| {
            let event = Event {
                kind: "t".to_owned(),
                data,
                data_content_type: kind.map(str::to_owned),
                ..Event::unreadable()
            };
            let pattern = r#"{"type":["u"],"data":{"n":[1]},"database":[2]}"#;
            let verdict = judge(
                &rule(Some(pattern), &[], None),
                &View::new(&event),
                Timestamp(0),
            )
            .unwrap();
            let explanation = verdict.explanation.unwrap();
            let hints = explanation.branches[0].conditions.iter();
            hints
                .map(|condition| condition.hint.clone())
                .collect::<Vec<_>>()
        };
        let text = "the event's data is text/plain, not JSON, so rules see nothing of it";
        assert_eq!(
            check(Data::Opaque("{}".into()), Some("text/plain")),
            [None, Some(text.to_owned()), None]
        );
        let unknown = "the event's data is not JSON, so rules see nothing of it";
        assert_eq!(
            check(Data::Opaque("{}".into()), None)[1].as_deref(),
            Some(unknown)
        );
        assert_eq!(check(Data::Json("{}".into()), None), [None, None, None]);
        assert_eq!(check(Data::Absent, None), [None, None, None]);
    }

    #[test]
    fn data_of_a_trial_is_seen_as_a_bus_would_see_it() {
        let check = |event: &str| {
            let members: std::collections::BTreeMap<String, &RawValue> =
                serde_json::from_str(event).unwrap();
            let members: Vec<_> = members.into_iter().collect();
            let rule = rule(Some(r#"{"data":{"n":[1]}}"#), &[], None);
            let verdict = judge(&rule, &View::of_members(&members), Timestamp(0)).unwrap();
            let hint = verdict.explanation.unwrap().branches[0].conditions[0]
                .hint
                .clone();
            (verdict.matched, hint)
        };
        let form = "the event's data is application/x-www-form-urlencoded, not JSON, so rules see nothing of it";
        assert_eq!(
            check(r#"{"datacontenttype":"application/x-www-form-urlencoded","data":"{\"n\":1}"}"#),
            (false, Some(form.to_owned()))
        );
        assert_eq!(
            check(r#"{"datacontenttype":"text/plain","data_base64":"eyJuIjoxfQ=="}"#),
            (
                false,
                Some(
                    "the event's data is text/plain, not JSON, so rules see nothing of it"
                        .to_owned()
                )
            )
        );
        assert_eq!(check(r#"{"data":{"n":1}}"#), (true, None));
        assert!(check(r#"{"datacontenttype":"application/vnd.x+json","data":{"n":1}}"#).0);
    }

    #[test]
    fn nothing_writes_to_the_terminal() {
        let input = InputConfig::Template("{\"a\":\"\u{9b}2J\",\n\"b\":1}".to_owned());
        let rendered =
            verdict(&rule(None, &["$[?@ != '\u{9b}']"], Some(input))).render(Style::Plain);
        assert!(
            !rendered
                .chars()
                .any(|character| character.is_control() && character != '\n'),
            "{rendered:?}"
        );
    }

    #[test]
    fn a_part_of_an_event_is_judged_like_a_whole_one() {
        let event = r#"{"type":"t","data":{"list":[1]},"other":{"x":true}}"#;
        let members: std::collections::BTreeMap<String, &RawValue> =
            serde_json::from_str(event).unwrap();
        let members: Vec<(String, &RawValue)> = members.into_iter().collect();
        let view = View::of_members(&members);
        let pattern = r#"{"type":["t"],"id":[{"exists":false}],"other":{"x":[true]}}"#;
        let input = crate::view::input_config("\"$.data.list\"");
        let rule = rule(Some(pattern), &["$.data.list"], Some(input));
        let verdict = judge(&rule, &view, Timestamp(0)).unwrap();
        assert!(verdict.matched, "{verdict:?}");
        let made = verdict.inputs[0].input.as_ref().unwrap();
        assert_eq!(made.get(), "[1]");
    }

    #[test]
    fn a_rule_that_is_off_takes_nothing_and_says_so() {
        let off = RuleConfig {
            enabled: false,
            ..rule(None, &[], None)
        };
        let verdict = verdict(&off);
        assert!(!verdict.matched);
        assert_eq!(verdict.summary(), "the rule is off (`enabled: false`)");
        let rendered = verdict.render(Style::Plain);
        assert!(
            rendered.starts_with("not matched\n  NO   the rule is off"),
            "{rendered}"
        );
    }

    #[test]
    fn inputs_are_shown_digit_by_digit() {
        let input = InputConfig::Path("$.data.n".to_owned());
        let verdict = verdict(&rule(None, &[], Some(input)));
        let rendered = verdict.render(Style::Plain);
        assert!(
            rendered.ends_with("input of r/f: 10000000000000000000001\n"),
            "{rendered}"
        );
    }
}
