//! The trace of each event, live: the event, the matching rules, each attempt with its output, and the events
//! that it emitted; or why no rule matched.
//!
//! Reads the live stream and the log. Never here: what happens.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::super::output;
use super::nearest::nearest;
use super::screen::Screen;
use edgebus_engine::bus::{AttemptEnded, Bus, EventAccepted, StoredEvent, TelemetryEvent};
use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{Data, Outcome, Position};

/// Lines of what an attempt wrote that are shown.
const OUTPUT_LINES_MAX: usize = 40;
/// Frames of a backtrace that are shown.
const FRAMES_MAX: usize = 5;
/// Rules that are named.
const RULES_MAX: usize = 8;
/// Characters of data, and of any other line of somebody else's.
const DATA_CHARACTERS_MAX: usize = 160;
const LINE_CHARACTERS_MAX: usize = 400;
/// Types that are remembered.
const UNMATCHED_MAX: usize = 1_000;
/// Events that follow from each other are indented as far as this.
const DEPTH_MAX: usize = 8;

/// Tells what is heard until the bus is gone.
pub(super) async fn tell(bus: Bus, mut told: Receiver<TelemetryEvent>, screen: Screen) {
    let mut story = Story::new(bus);
    loop {
        let text = match told.recv().await {
            Ok(TelemetryEvent::Accepted(event)) => story.accepted(&event).await,
            Ok(TelemetryEvent::Attempt(attempt)) => story.attempt(&attempt).await,
            Err(RecvError::Lagged(lost)) => {
                format!("… {lost} lines are left out: this terminal is slower than the bus\n")
            }
            Err(RecvError::Closed) => return,
        };
        screen.print(text.trim_end());
    }
}

/// The words for what happens, one after the other.
pub(crate) struct Story {
    bus: Bus,
    /// The event under whose line the next line would stand.
    last: Option<(String, Position)>,
    /// Buses and types of emitted events that no rule matched. The reason is shown once for each.
    unmatched: BTreeSet<(String, String)>,
}

impl Story {
    /// Of a bus, from now on.
    pub(crate) fn new(bus: Bus) -> Self {
        Self {
            bus,
            last: None,
            unmatched: BTreeSet::new(),
        }
    }

    /// An event, with why nothing matched it.
    pub(crate) async fn accepted(&mut self, event: &EventAccepted) -> String {
        let stored = self.bus.event(&event.bus, event.position).await.ok();
        let margin = margin(stored.as_ref());
        let mut text = head(&margin, &event.bus, &event.kind, event.position);
        let known = event.subscriptions.is_empty() && self.is_known(event, stored.as_ref());
        if !event.subscriptions.is_empty() {
            let _ = write!(text, " → {}", rules(&event.rules));
        } else if known {
            text.push_str(" → no rule");
        }
        if let Some(stored) = &stored {
            let origin = format!("id {} from {}", event.id, stored.event.source);
            let _ = write!(text, "  {}", paint(DIM, &printable(&origin)));
        }
        text.push('\n');
        if let Some(data) = stored.as_ref().and_then(|stored| data(&stored.event.data)) {
            let _ = writeln!(text, "{margin}  {}", paint(DIM, &data));
        }
        if event.subscriptions.is_empty() && !known {
            let near = stored.map(|stored| nearest(&self.bus.rules(), &event.bus, &stored.event));
            let near = near.unwrap_or_else(|| "no rule matched".to_owned());
            let near = paint(YELLOW, &cut(&near, LINE_CHARACTERS_MAX));
            let _ = writeln!(text, "{margin}  {near}");
        }
        self.last = Some((event.bus.to_string(), event.position));
        text
    }

    /// True for an emitted event whose type was reported before: many functions emit events that no rule
    /// matches.
    fn is_known(&mut self, event: &EventAccepted, stored: Option<&StoredEvent>) -> bool {
        let emitted = stored.is_some_and(|stored| stored.lineage.hops > 0);
        let kind = (event.bus.to_string(), event.kind.to_string());
        if !emitted || self.unmatched.contains(&kind) {
            return emitted;
        }
        if self.unmatched.len() < UNMATCHED_MAX {
            self.unmatched.insert(kind);
        }
        false
    }

    /// An attempt, with what the function wrote.
    pub(crate) async fn attempt(&mut self, attempt: &AttemptEnded) -> String {
        let position = attempt.key.position;
        let stored = self.bus.event(&attempt.bus, position).await.ok();
        let margin = margin(stored.as_ref());
        let here = (attempt.bus.to_string(), position);
        let mut text = String::new();
        // Other events were printed in between.
        if self.last.as_ref() != Some(&here) {
            text = head(&margin, &attempt.bus, &attempt.kind, position);
            text.push('\n');
            self.last = Some(here);
        }
        let _ = writeln!(
            text,
            "{margin}  {} → {} → {}  {}",
            attempt.rule,
            attempt.function,
            outcome(attempt, stored.as_ref()),
            paint(DIM, &times(attempt))
        );
        for line in backtrace(&attempt.outcome, attempt.output.is_empty()) {
            let _ = writeln!(text, "{margin}      {}", paint(RED, &line));
        }
        let lines: Vec<&str> = attempt.output.lines().filter(|line| tells(line)).collect();
        let more = lines.len().saturating_sub(OUTPUT_LINES_MAX);
        // The beginning and the end: a function that fails gives the reason last.
        let first = if more == 0 {
            lines.len()
        } else {
            OUTPUT_LINES_MAX / 2
        };
        for line in &lines[..first] {
            let _ = writeln!(text, "{margin}    | {}", cut(line, LINE_CHARACTERS_MAX));
        }
        if more > 0 {
            let _ = writeln!(
                text,
                "{margin}    | … {more} lines more: /v1/deliveries/{} has them",
                attempt.key
            );
        }
        for line in &lines[first + more..] {
            let _ = writeln!(text, "{margin}    | {}", cut(line, LINE_CHARACTERS_MAX));
        }
        text
    }
}

fn margin(stored: Option<&StoredEvent>) -> String {
    let depth = stored.map_or(0, |stored| usize::from(stored.lineage.hops));
    "    ".repeat(depth.min(DEPTH_MAX))
}

fn head(margin: &str, bus: &str, kind: &str, position: Position) -> String {
    let on = if bus == DEFAULT_BUS {
        String::new()
    } else {
        format!(" on {bus}")
    };
    let kind = paint(BOLD, &printable(kind));
    format!("{margin}{kind} #{position}{on}")
}

/// The first rules of these.
fn rules(names: &[String]) -> String {
    let shown = &names[..names.len().min(RULES_MAX)];
    let more = names.len() - shown.len();
    let mut text = shown.join(", ");
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

fn data(data: &Data) -> Option<String> {
    match data {
        Data::Absent => None,
        Data::Json(bytes) => {
            // Line breaks of pretty-printed JSON don't help here.
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(DATA_CHARACTERS_MAX * 8)]);
            let words: Vec<&str> = text.split_whitespace().collect();
            Some(cut(&words.join(" "), DATA_CHARACTERS_MAX))
        }
        Data::Opaque(bytes) => Some(format!("{} bytes", bytes.len())),
        Data::Erased(erased) => Some(erased.words()),
    }
}

fn outcome(attempt: &AttemptEnded, stored: Option<&StoredEvent>) -> String {
    if attempt.outcome.is_success() {
        return paint(GREEN, "success");
    }
    let words = attempt.outcome.to_string();
    let first = cut(words.lines().next().unwrap_or(""), LINE_CHARACTERS_MAX);
    let class = attempt.outcome.class();
    match (attempt.dead, attempt.retry_at) {
        (Some(reason), _) => {
            let count = attempt.attempt;
            let text = format!(
                "{class}: {first}; dead letter after attempt {count} ({})",
                reason.word()
            );
            paint(RED, &text)
        }
        (None, Some(at)) => {
            // By the bus's clock, which also measured the age.
            let wait = stored.map_or(0, |stored| {
                at.ms_since(stored.accepted_at)
                    .saturating_sub(attempt.age_ms)
            });
            let next = attempt.attempt + 1;
            let wait = output::duration(wait.saturating_mul(1_000));
            paint(
                YELLOW,
                &format!("{class}: {first}; attempt {next} in {wait}"),
            )
        }
        (None, None) => paint(YELLOW, &format!("{class}: {first}")),
    }
}

fn times(attempt: &AttemptEnded) -> String {
    format!(
        "[ran {}, settled {} ms after it was accepted]",
        output::duration(attempt.duration_us),
        attempt.age_ms
    )
}

/// False for what a panic adds to its words: an empty line, and advice that does not help here.
fn tells(line: &str) -> bool {
    !line.trim().is_empty() && !line.contains("note: run with `RUST_BACKTRACE=1`")
}

/// The first frames of a trap that are the function's own code; where all of it was inlined and nothing
/// else tells what happened (`silent`), those that there are.
fn backtrace(outcome: &Outcome, silent: bool) -> Vec<String> {
    let Outcome::Trap { message } = outcome else {
        return Vec::new();
    };
    let frames: Vec<String> = message
        .lines()
        .skip(1)
        .filter_map(|line| line.trim().strip_prefix("at "))
        .map(without_numbers)
        .collect();
    let any_own = frames.iter().any(|name| is_own(name));
    frames
        .iter()
        .filter(|name| is_own(name) || (silent && !any_own))
        .take(FRAMES_MAX)
        .map(|name| format!("at {}", cut(name, LINE_CHARACTERS_MAX)))
        .collect()
}

/// `name` without the number that Rust puts behind the name of each crate, as in `hello[8dc9c5a1b5b3c2d1]`.
fn without_numbers(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut parts = name.split('[');
    out.push_str(parts.next().unwrap_or(""));
    for part in parts {
        match part.split_once(']') {
            Some((number, rest))
                if number.len() >= 12 && number.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                out.push_str(rest);
            }
            _ => {
                out.push('[');
                out.push_str(part);
            }
        }
    }
    out
}

/// False for the frames of Rust's library and of the SDK, through which every trap goes.
fn is_own(name: &str) -> bool {
    const OTHERS: [&str; 14] = [
        "std::",
        "core::",
        "alloc::",
        "edgebus_sdk::",
        "edgebus_sdk_macros::",
        "wit_bindgen",
        "dlmalloc",
        "__rust",
        "rust_",
        "_start",
        "abort",
        "edgebus:",
        "<wasm function",
        "_RNv",
    ];
    let name = name.trim_start_matches(['<', '&']);
    !OTHERS.iter().any(|other| name.starts_with(other)) && !name.contains("cabi")
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

pub(super) fn paint(colour: &str, text: &str) -> String {
    if output::coloured() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// `text` without what could steer a terminal, at most so many characters of it.
fn cut(text: &str, characters_max: usize) -> String {
    let mut out: String = text.chars().take(characters_max).map(sign).collect();
    if text.chars().nth(characters_max).is_some() {
        out.push('…');
    }
    out
}

fn printable(text: &str) -> String {
    text.chars().map(sign).collect()
}

fn sign(character: char) -> char {
    match character {
        '\t' => ' ',
        character if output::is_unsafe(character) => '\u{fffd}',
        character => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_model::{DeadReason, DeliveryKey, SubscriptionId, Timestamp};

    fn ended(outcome: Outcome) -> AttemptEnded {
        AttemptEnded {
            key: DeliveryKey {
                subscription: SubscriptionId(1),
                replay: 0,
                position: Position(7),
            },
            bus: "default".into(),
            kind: "t".to_owned(),
            rule: "r".to_owned(),
            function: "f".to_owned(),
            attempt: 2,
            started_at: Timestamp(0),
            outcome,
            duration_us: 1_500,
            age_ms: 40,
            emitted: 0,
            retry_at: None,
            dead: None,
            output: String::new(),
        }
    }

    #[test]
    fn outcomes_say_what_is_next() {
        let retry = Outcome::Retry {
            after_ms: None,
            message: "busy\x1b[2J\nmore".to_owned(),
        };
        assert_eq!(outcome(&ended(Outcome::Success), None), "success");
        let mut attempt = ended(retry);
        attempt.retry_at = Some(Timestamp(1_000));
        assert_eq!(
            outcome(&attempt, None),
            "retry: busy\u{fffd}[2J; attempt 3 in 0 µs"
        );
        attempt.retry_at = None;
        attempt.dead = Some(DeadReason::AttemptsExhausted);
        assert_eq!(
            outcome(&attempt, None),
            "retry: busy\u{fffd}[2J; dead letter after attempt 2 (attempts-exhausted)"
        );
        assert_eq!(
            times(&attempt),
            "[ran 1.5 ms, settled 40 ms after it was accepted]"
        );
    }

    #[test]
    fn a_backtrace_shows_the_functions_own_frames() {
        let message = "panicked\n  at __rustc::rust_panic\n  at core[d123b7a1a2ed1472]::panicking::panic_fmt\n  at hello[c0ffee00c0ffee00]::handle\n  at <hello::__Function as x>::handle::<[u8]>\n  at edgebus_sdk::event::run\n";
        let trap = Outcome::Trap {
            message: message.to_owned(),
        };
        assert_eq!(
            backtrace(&trap, true),
            [
                "at hello::handle",
                "at <hello::__Function as x>::handle::<[u8]>"
            ]
        );
        assert!(backtrace(&Outcome::Conflict, true).is_empty());
        let inlined = Outcome::Trap {
            message: "panicked\n  at std::process::abort\n".to_owned(),
        };
        assert_eq!(backtrace(&inlined, true), ["at std::process::abort"]);
        assert!(backtrace(&inlined, false).is_empty());
    }

    #[test]
    fn lines_of_others_are_cut_and_steer_nothing() {
        assert_eq!(cut("a\tb\x1b[2J", 4), "a b\u{fffd}…");
        let json = Data::Json(bytes::Bytes::from_static(b"{\n  \"a\":  1\n}"));
        assert_eq!(data(&json), Some("{ \"a\": 1 }".to_owned()));
        let names: Vec<String> = (0..RULES_MAX + 2)
            .map(|number| format!("r{number}"))
            .collect();
        assert_eq!(rules(&names[..2]), "r0, r1");
        assert!(rules(&names).ends_with(" and 2 more"));
    }
}
