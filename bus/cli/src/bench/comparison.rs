//! A comparison in words, or as JSON: each measure of the plain and the loaded bus, the ratio, and the goal.

use std::fmt::Write as _;

use super::compare::{Compared, Settings, Side};
use super::measure::{Bound, Measure, OF_TURNS, median};
use super::scenario::Scenario;

/// One measure.
struct Row {
    measure: Measure,
    /// Medians of all rounds.
    plain: f64,
    loaded: f64,
    /// The loaded bus's in each round, divided by the plain one's in the same.
    ratios: Vec<f64>,
    bound: Option<Bound>,
}

impl Row {
    fn ratio(&self) -> f64 {
        median(self.ratios.clone())
    }

    fn met(&self) -> Option<bool> {
        let bound = self.bound?;
        Some(bound.is_met(self.plain, self.loaded, self.ratio()))
    }
}

/// Prints what was measured.
pub(super) fn show(scenario: Scenario, settings: &Settings, seen: &Compared, json: bool) -> String {
    let rows = rows(scenario, seen);
    if json {
        as_json(scenario, settings, seen, &rows)
    } else {
        as_text(scenario, settings, seen, &rows)
    }
}

fn rows(scenario: Scenario, seen: &Compared) -> Vec<Row> {
    let row = |measure: Measure, plain: Vec<f64>, loaded: Vec<f64>| Row {
        measure,
        ratios: plain
            .iter()
            .zip(&loaded)
            .map(|(plain, loaded)| loaded / plain.max(f64::MIN_POSITIVE))
            .collect(),
        plain: median(plain),
        loaded: median(loaded),
        bound: scenario
            .bounds()
            .iter()
            .find_map(|(of, bound)| (*of == measure).then_some(*bound)),
    };
    let of_turns = |measure: Measure, side: &Side| -> Vec<f64> {
        side.turns.iter().map(|turn| measure.of(turn)).collect()
    };
    let mut rows: Vec<Row> = OF_TURNS
        .into_iter()
        .map(|measure| {
            row(
                measure,
                of_turns(measure, &seen.plain),
                of_turns(measure, &seen.loaded),
            )
        })
        .collect();
    let memory =
        |measure, plain: u64, loaded: u64| row(measure, vec![plain as f64], vec![loaded as f64]);
    rows.push(memory(
        Measure::MemoryBefore,
        seen.plain.memory_before,
        seen.loaded.memory_before,
    ));
    rows.push(memory(
        Measure::MemoryAfter,
        seen.plain.memory_after,
        seen.loaded.memory_after,
    ));
    rows
}

/// Sums of what went wrong in all rounds: requests that were refused or never sent, events not settled,
/// `/livez` failures.
fn troubles(side: &Side) -> [(&'static str, u64); 4] {
    let sum = |of: fn(&super::load::Measured) -> u64| {
        let both = side
            .turns
            .iter()
            .map(|turn| of(&turn.paced) + of(&turn.flat_out));
        both.sum()
    };
    [
        ("refused", sum(|load| load.refused)),
        ("unsent", sum(|load| load.unsent)),
        ("unsettled", sum(|load| load.unsettled)),
        (
            "livez_failed",
            side.turns.iter().map(|turn| turn.live_failed).sum(),
        ),
    ]
}

fn accepted(side: &Side) -> u64 {
    let both = side
        .turns
        .iter()
        .map(|turn| turn.paced.accepted + turn.flat_out.accepted);
    both.sum()
}

fn as_text(scenario: Scenario, settings: &Settings, seen: &Compared, rows: &[Row]) -> String {
    let (plan, rounds) = (&settings.plan, settings.rounds);
    let alone = if plan.batch == 1 {
        "alone".to_owned()
    } else {
        format!("in batches of {}", plan.batch)
    };
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "{}; medians of {rounds} {}, plain and {} in turn",
        scenario.title(),
        if rounds == 1 { "round" } else { "rounds" },
        scenario.name()
    );
    let _ = writeln!(
        out,
        "{} B events, {alone}, {} connections; {} s at {} events a second for latencies, {} s flat out",
        plan.bytes,
        plan.connections,
        settings.each.as_secs(),
        seen.rate,
        settings.each.as_secs(),
    );
    let _ = writeln!(
        out,
        "  {:<22} {:>11} {:>14} {:>8}  goal",
        "",
        "plain",
        scenario.name(),
        "ratio"
    );
    for row in rows {
        let goal = match (row.bound, row.met()) {
            (Some(bound), Some(met)) => {
                format!("  {}: {}", bound.show(), if met { "ok" } else { "missed" })
            }
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "  {:<22} {:>11} {:>14} {:>7.2}x{goal}",
            row.measure.name(),
            row.measure.show(row.plain),
            row.measure.show(row.loaded),
            row.ratio()
        );
    }
    for (name, side) in [("plain", &seen.plain), (scenario.name(), &seen.loaded)] {
        let [refused, unsent, unsettled, failed] = troubles(side).map(|(_, count)| count);
        let _ = writeln!(
            out,
            "  {name}: {} accepted, {refused} refused, {unsent} requests not sent in time, {unsettled} not settled in time, {failed} of /livez failed",
            accepted(side)
        );
    }
    if seen.others > 0 {
        let _ = writeln!(
            out,
            "  {} of {} other subscriptions had deliveries pending at the end",
            seen.busy, seen.others
        );
    }
    if seen.beside > 0 {
        let _ = writeln!(
            out,
            "  {} events were published for {} subscriptions each beside it",
            seen.beside, scenario.count
        );
    }
    out.truncate(out.trim_end().len());
    out
}

fn as_json(scenario: Scenario, settings: &Settings, seen: &Compared, rows: &[Row]) -> String {
    let mut measures = serde_json::Map::new();
    for row in rows {
        let mut one = serde_json::json!({
            "plain": row.plain, "loaded": row.loaded, "ratio": row.ratio(), "ratios": row.ratios,
        });
        if let (Some(bound), Some(met)) = (row.bound, row.met()) {
            one["goal"] = bound.show().into();
            one["met"] = met.into();
        }
        measures.insert(row.measure.key().to_owned(), one);
    }
    let side = |side: &Side| {
        let mut one = serde_json::json!({ "accepted": accepted(side) });
        for (name, count) in troubles(side) {
            one[name] = count.into();
        }
        one
    };
    let plan = &settings.plan;
    serde_json::json!({
        "scenario": scenario.name(), "count": scenario.count, "rounds": settings.rounds,
        "seconds": settings.each.as_secs(), "rate": seen.rate, "connections": plan.connections,
        "batch": plan.batch, "bytes": plan.bytes, "measures": measures,
        "plain": side(&seen.plain), "loaded": side(&seen.loaded),
        "others": seen.others, "others_busy": seen.busy, "published_beside": seen.beside,
    })
    .to_string()
}
