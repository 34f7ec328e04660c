//! The numbers in words, or as JSON.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::load::{Measured, Plan, Stage};
use crate::output::duration;

/// Prints what was measured.
#[expect(
    clippy::cast_precision_loss,
    reason = "rates and shares are shown with two or three digits"
)]
pub(super) fn show(plan: &Plan, seen: &Measured, json: bool) -> String {
    let seconds = seen.took.as_secs_f64();
    let per_second = |events: u64| events as f64 / seconds;
    let per_event = |cpu: f64| cpu * 1e6 / seen.accepted.max(1) as f64;
    if json {
        return serde_json::json!({
            "seconds": seconds, "stage": format!("{:?}", plan.stage).to_lowercase(), "connections": plan.connections, "batch": plan.batch, "rate": plan.rate, "bytes": plan.bytes,
            "accepted": seen.accepted, "refused": seen.refused,
            "accepted_per_second": per_second(seen.accepted), "settled_per_second": per_second(seen.settled),
            "drained_after_seconds": seen.drained_after.as_secs_f64(),
            "accepted_us": quantiles(&seen.to_accepted), "settled_us": quantiles(&seen.to_settled),
            "server_cpu_us_per_event": per_event(seen.server_cpu), "client_cpu_us_per_event": per_event(seen.client_cpu),
        })
        .to_string();
    }
    let mut out = String::new();
    let pace = plan.rate.map_or_else(
        || "flat out".to_owned(),
        |rate| format!("at {rate} events a second"),
    );
    let alone = if plan.batch == 1 {
        "alone".to_owned()
    } else {
        format!("in batches of {}", plan.batch)
    };
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "{} B events, {alone}, {} connections, {pace}, {seconds:.1} s{}",
        plan.bytes,
        plan.connections,
        match plan.stage {
            Stage::Http => ", HTTP alone: read, checked and refused",
            Stage::Append => ", HTTP and append alone: stored for no rule",
            Stage::Whole => "",
        }
    );
    let _ = writeln!(
        out,
        "  accepted  {:>9.0} events/s  ({} in all, {} refused)",
        per_second(seen.accepted),
        seen.accepted,
        seen.refused
    );
    let _ = writeln!(
        out,
        "  settled   {:>9.0} events/s  (the rest {:.0} ms after the load)",
        per_second(seen.settled),
        seen.drained_after.as_secs_f64() * 1e3
    );
    let _ = writeln!(out, "  to accepted  {}", line(&seen.to_accepted));
    if !seen.to_settled.is_empty() {
        let _ = writeln!(out, "  to settled   {}", line(&seen.to_settled));
    }
    let _ = write!(
        out,
        "  processor    server {:.1} µs, client {:.1} µs an event",
        per_event(seen.server_cpu),
        per_event(seen.client_cpu)
    );
    out
}

fn line(latencies: &Histogram<u64>) -> String {
    format!(
        "p50 {}, p99 {}, p99.9 {}, max {}",
        duration(latencies.value_at_quantile(0.5)),
        duration(latencies.value_at_quantile(0.99)),
        duration(latencies.value_at_quantile(0.999)),
        duration(latencies.max())
    )
}

fn quantiles(latencies: &Histogram<u64>) -> serde_json::Value {
    serde_json::json!({
        "p50": latencies.value_at_quantile(0.5), "p99": latencies.value_at_quantile(0.99),
        "p99.9": latencies.value_at_quantile(0.999), "max": latencies.max(), "count": latencies.len(),
    })
}
