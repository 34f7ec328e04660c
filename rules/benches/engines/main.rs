//! All matchers side by side, in one run, in one thread's own time on a processor: `cargo bench -p edgebus-rules --bench engines`.
//!
//! Rows are rule sets, columns are matchers, cells are thousands of events a second: the best of
//! several short turns, which the matchers take in rotation so that a busy machine corrupts all alike.
//! Columns: ours as `Trust::Plain`, `Trust::Json` and `Trust::Unchecked`, quamina, the plain matcher,
//! serde_json's `IgnoredAny`; then ours as `Plain` and as `Unchecked` in quaminas, and what checking
//! everything adds to `Plain` in passes of `IgnoredAny`.
//!
//! Every matcher's hits are counted on all events before it is timed, and have to be those known
//! beforehand (`expected`), for ours rule by rule; with a number of events for which nobody has counted
//! they have to be the same for all. A peer that finds others is told so.
//! `EDGEBUS_BENCH_MS` sets the length of a turn, `EDGEBUS_BENCH_ONLY` keeps the rows whose name
//! contains it, `EDGEBUS_BENCH_WHO` the matchers that it names, `EDGEBUS_BENCH_EVENTS` the number of
//! events (some hundreds stay in the processor's caches, the default doesn't). `EDGEBUS_CITYLOTS` (a file of events, one a line) with `EDGEBUS_CITYLOTS_RULES` (sets
//! with expected hits) adds rows with data from outside, whose expected hits are checked.

mod contestants;
mod edits;
mod expected;
mod lots;
mod random;
mod scale;

use contestants::{Contestant, Outcome, contestants};
use expected::Expected;
use std::time::{Duration, Instant};

/// A rule set with the events it is tried on.
struct Row<'r> {
    name: String,
    rules: &'r [String],
    events: &'r [&'r str],
    /// Hits that are known beforehand.
    expected: Option<Expected>,
}

/// Turns that each matcher takes.
const TURNS: usize = 3;
/// What `cargo test`, which runs this too, may take of the processor; it takes two seconds.
const QUICK_MAX: Duration = Duration::from_secs(60);
/// Beyond so many rules the plain matcher is left out.
const PLAIN_RULES_MAX: usize = 1000;

fn turn_length() -> Duration {
    let asked = std::env::var("EDGEBUS_BENCH_MS").ok();
    let asked = asked.and_then(|text| text.parse().ok());
    // `cargo test` runs benches too, once and quickly.
    let default = if std::env::args().any(|argument| argument == "--bench") {
        150
    } else {
        1
    };
    Duration::from_millis(asked.unwrap_or(default))
}

fn wanted(name: &str) -> bool {
    std::env::var("EDGEBUS_BENCH_ONLY").is_ok_and(|part| name.contains(&part))
        || std::env::var("EDGEBUS_BENCH_ONLY").is_err()
}

/// How long this thread has run on a processor: what other programs take is not counted.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Events a second, in one turn.
fn turn(contestant: &mut Contestant, events: &[&str]) -> f64 {
    let length = turn_length();
    let start = Instant::now();
    let before = processor_time();
    let mut done = 0;
    let mut hits = 0;
    loop {
        for event in events.iter().skip(done % events.len()).take(64) {
            hits += contestant.hits(event);
            done += 1;
        }
        if start.elapsed() >= length {
            std::hint::black_box(hits);
            return done as f64 / (processor_time() - before).as_secs_f64();
        }
    }
}

fn measure(row: &Row<'_>) {
    if !wanted(&row.name) {
        return;
    }
    let mut all = contestants(row.rules, row.rules.len() <= PLAIN_RULES_MAX);
    if let Ok(who) = std::env::var("EDGEBUS_BENCH_WHO") {
        for (_, outcome) in all
            .iter_mut()
            .filter(|(name, _)| !who.contains(name.as_str()))
        {
            *outcome = Outcome::Told("-");
        }
    }
    let mut known = row.expected.as_ref().map(Expected::total);
    for (name, outcome) in &mut all {
        if let Outcome::Ready(contestant) = outcome {
            let hits = contestant.total(row.events);
            match (name.as_str(), known, hits) {
                (_, _, None) => *outcome = Outcome::Told("panics"),
                ("ours" | "trusting" | "naive", None, Some(hits)) => known = Some(hits),
                ("json", ..) => {}
                (_, Some(known), Some(hits)) if known != hits => {
                    assert_eq!(*name, "quamina", "{}: {hits} hits, not {known}", row.name);
                    println!(
                        "  {}: quamina has {hits} hits where the others have {known}",
                        row.name
                    );
                }
                _ => {}
            }
        }
    }
    if let Some(Expected::OfEach(expected)) = &row.expected {
        let found = contestants::hits_of_each(row.rules, row.events);
        assert_eq!(&found, expected, "{}: hits of each rule", row.name);
    }
    let mut best = vec![0.0_f64; all.len()];
    for _ in 0..TURNS {
        for (best, (_, outcome)) in best.iter_mut().zip(&mut all) {
            if let Outcome::Ready(contestant) = outcome {
                *best = best.max(turn(contestant, row.events));
            }
        }
    }
    let mut line = format!("{:<22}", row.name);
    for (best, (_, outcome)) in best.iter().zip(&all) {
        match outcome {
            Outcome::Ready(_) => line.push_str(&format!("{:>10.0}", best / 1000.0)),
            Outcome::Told(word) => line.push_str(&format!("{word:>10}")),
        }
    }
    let peer = all.iter().position(|(name, _)| name == "quamina");
    for ours in [best[0], best[2]] {
        let ratio = peer.map(|peer| ours / best[peer]);
        match ratio.filter(|ratio| ratio.is_finite()) {
            Some(ratio) => line.push_str(&format!("{ratio:>9.2}x")),
            None => line.push_str(&format!("{:>10}", "-")),
        }
    }
    // What checking adds, in passes of serde_json over the same events.
    let json = all
        .iter()
        .position(|(name, _)| name == "json")
        .map_or(0.0, |json| best[json]);
    line.push_str(&format!("{:>9.2}", (1.0 / best[2] - 1.0 / best[0]) * json));
    println!("{line}");
}

fn head(title: &str) {
    println!(
        "\n{title}, thousands of events a second\n{:<22}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>9}",
        "",
        "plain",
        "trusting",
        "checking",
        "quamina",
        "naive",
        "json",
        "plain",
        "checking",
        "check"
    );
}

fn average(events: &[&str]) -> usize {
    events.iter().map(|event| event.len()).sum::<usize>() / events.len().max(1)
}

/// Events one after the other in memory, as in a log; else the order in which the allocator hands out
/// room would be measured too.
fn one_text(events: &[String]) -> String {
    events.join("\n")
}

/// Sets from outside, with the number of events that each rule matches.
#[derive(serde::Deserialize)]
struct OutsideSet {
    name: String,
    rules: Vec<String>,
    matches: Vec<usize>,
}

fn outside() {
    let (Ok(events), Ok(sets)) = (
        std::env::var("EDGEBUS_CITYLOTS"),
        std::env::var("EDGEBUS_CITYLOTS_RULES"),
    ) else {
        return;
    };
    let events = std::fs::read_to_string(&events).expect("EDGEBUS_CITYLOTS is a file");
    let events: Vec<&str> = events.lines().collect();
    let sets = std::fs::read_to_string(&sets).expect("EDGEBUS_CITYLOTS_RULES is a file");
    let sets: Vec<OutsideSet> = serde_json::from_str(&sets).expect("it is a list of sets");
    head(&format!("city lots from outside ({} B)", average(&events)));
    for set in sets {
        measure(&Row {
            name: set.name.to_lowercase(),
            rules: &set.rules,
            events: &events,
            expected: Some(Expected::OfEach(set.matches)),
        });
    }
}

fn main() {
    // A matcher that panics is told so in its cell.
    std::panic::set_hook(Box::new(|panic| {
        if !contestants::expected_to_panic() {
            eprintln!("{panic}");
        }
    }));
    let quick = turn_length() < Duration::from_millis(10);
    let asked = std::env::var("EDGEBUS_BENCH_EVENTS").ok();
    let asked = asked.and_then(|text| text.parse().ok());
    let count = asked.unwrap_or(expected::EVENTS[usize::from(!quick)]);
    let events = one_text(&lots::events(count));
    let events: Vec<&str> = events.lines().collect();
    head(&format!("lots: five rules each ({} B)", average(&events)));
    for (name, rules) in lots::sets() {
        measure(&Row {
            name: name.to_owned(),
            rules: &rules,
            events: &events,
            expected: expected::of_lots(name, count),
        });
    }
    outside();
    let most = if quick { 1000 } else { 100_000 };
    let events = one_text(&scale::events(count));
    let events: Vec<&str> = events.lines().collect();
    head(&format!("scaling ({} B)", average(&events)));
    for kind in scale::KINDS {
        let rules = scale::rules(kind, most);
        for number in [1, 100, 1000, 10_000, 100_000] {
            if number <= most {
                measure(&Row {
                    name: format!("{kind} {number}"),
                    rules: &rules[..number],
                    events: &events,
                    expected: expected::of_scale(kind, number, count),
                });
            }
        }
    }
    if wanted("edits") {
        edits::report(most);
    }
    let took = processor_time();
    assert!(
        !quick || asked.is_some() || took < QUICK_MAX,
        "a quick run took {took:?}"
    );
}
