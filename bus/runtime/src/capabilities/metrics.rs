//! `edgebus:function/metrics`: counts and times by name, shown at `/metrics`.
//!
//! Every function has it. What an attempt counts is added to the function's [`Totals`] when its settlement is
//! on stable storage, with the outcome `success` or `failure`. So each settled attempt counts once, and an
//! attempt that runs again after a conflict does not count. Calls are summed by name within the attempt, so
//! the number of calls needs no bound. A call with an invalid name, or with one name too many, is dropped,
//! and the drops are counted. It does not end the attempt. Never here: labels that the function chooses,
//! anything that outlives the process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::secrets;

/// Its interface in `wit/`.
pub const INTERFACE: &str = "edgebus:function/metrics";

/// How many names one function may have, for counts and times together.
pub const NAMES_MAX: usize = 64;
/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The upper ends of the buckets for times, in nanoseconds and as text in seconds. They are those of the
/// bus's own histograms.
const BUCKETS: [(u64, &str); 12] = [
    (100_000, "0.0001"),
    (300_000, "0.0003"),
    (1_000_000, "0.001"),
    (3_000_000, "0.003"),
    (10_000_000, "0.01"),
    (30_000_000, "0.03"),
    (100_000_000, "0.1"),
    (300_000_000, "0.3"),
    (1_000_000_000, "1"),
    (3_000_000_000, "3"),
    (10_000_000_000, "10"),
    (30_000_000_000, "30"),
];

const COUNTS: &str = "edgebus_function_count_total";
const TIMES: &str = "edgebus_function_time_seconds";
const DROPPED: &str = "edgebus_function_metrics_dropped_total";

/// The metrics of one attempt.
pub struct Metrics<'a> {
    totals: &'a Totals,
    /// The secrets of the function. No name may contain one of their values.
    secrets: Arc<BTreeMap<String, String>>,
    recorded: Recorded,
    /// Names that the totals don't have yet.
    new_names: usize,
    /// True once a line of the output has said that a call was dropped.
    told: bool,
}

/// What one attempt counted, until its settlement is on stable storage.
#[derive(Default, Debug)]
pub struct Recorded {
    names: BTreeMap<String, Named>,
    /// How many calls were dropped.
    dropped: u64,
}

impl<'a> Metrics<'a> {
    pub(super) fn new(totals: &'a Totals, secrets: Arc<BTreeMap<String, String>>) -> Self {
        Self {
            totals,
            secrets,
            recorded: Recorded::default(),
            new_names: 0,
            told: false,
        }
    }

    pub(super) fn end(self) -> Recorded {
        self.recorded
    }

    /// Adds `delta` to the counter `name`. If this is the first call that is dropped, returns the reason as a
    /// line for the attempt's output.
    pub fn count(&mut self, name: &str, delta: u64) -> Option<String> {
        self.record(name, |named| {
            named.count = Some(named.count.unwrap_or(0).saturating_add(delta));
        })
    }

    /// Adds a time to those of `name`. Returns what [`Metrics::count`] returns.
    pub fn time(&mut self, name: &str, time: Duration) -> Option<String> {
        self.record(name, |named| {
            named.times.get_or_insert_default().add(time);
        })
    }

    fn record(&mut self, name: &str, add: impl FnOnce(&mut Named)) -> Option<String> {
        if !self.recorded.names.contains_key(name) {
            if let Err(reason) = self.admit(name) {
                self.recorded.dropped = self.recorded.dropped.saturating_add(1);
                let first = !std::mem::replace(&mut self.told, true);
                return first.then_some(reason);
            }
            self.recorded
                .names
                .insert(name.to_owned(), Named::default());
        }
        let named = self.recorded.names.get_mut(name)?;
        named.calls = named.calls.saturating_add(1);
        add(named);
        None
    }

    /// Adds a name that is new to this attempt.
    ///
    /// # Errors
    /// Why the name can't be added.
    fn admit(&mut self, name: &str) -> Result<(), String> {
        // The name is not shown either, because it would bypass the redaction of the output.
        let hidden = secrets::values(&self.secrets);
        if hidden.iter().any(|(value, _)| name.contains(value)) {
            return Err(
                "a metric is not counted: its name has the value of a secret in it".to_owned(),
            );
        }
        if !is_name(name) {
            let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
            return Err(format!(
                "the metric `{}` is not counted: a name has 1 to {NAME_BYTES_MAX} letters, digits and `_`, and begins \
                 with no digit",
                shown.escape_debug()
            ));
        }
        let (known, names) = self.totals.look_up(name);
        if known {
            return Ok(());
        }
        if names + self.new_names >= NAMES_MAX {
            return Err(format!(
                "the metric `{name}` is not counted: a function has at most {NAMES_MAX} names"
            ));
        }
        self.new_names += 1;
        Ok(())
    }
}

/// True if Prometheus accepts this as the name of a label and it is not too long.
fn is_name(name: &str) -> bool {
    let good = |(index, byte): (usize, u8)| {
        byte == b'_' || byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit())
    };
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().enumerate().all(good)
}

/// What was counted and timed under one name.
#[derive(Clone, Default, Debug)]
struct Named {
    calls: u64,
    count: Option<u64>,
    times: Option<Times>,
}

impl Named {
    fn merge(&mut self, other: &Self) {
        if let Some(count) = other.count {
            self.count = Some(self.count.unwrap_or(0).saturating_add(count));
        }
        if let Some(times) = &other.times {
            self.times.get_or_insert_default().merge(times);
        }
    }
}

/// A histogram of times.
#[derive(Clone, Default, Debug)]
struct Times {
    /// How many times fell into each bucket and into none before it. The last bucket has no upper end.
    buckets: [u64; BUCKETS.len() + 1],
    sum_ns: u64,
}

impl Times {
    fn add(&mut self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.partition_point(|(end, _)| *end < ns);
        self.buckets[bucket] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

/// What all settled attempts of one function have counted since the process started, for its current
/// component.
#[derive(Default, Debug)]
pub struct Totals {
    /// A plain mutex. It is held for one look-up, for the names of one attempt, or for a copy. No other code
    /// is called meanwhile.
    inside: Mutex<Sums>,
}

#[derive(Clone, Default, Debug)]
struct Sums {
    /// By name: the values of failed attempts, and those of successful ones.
    names: BTreeMap<String, [Named; 2]>,
    dropped: u64,
}

/// How an attempt ended, in the order of [`Sums::names`].
const OUTCOMES: [&str; 2] = ["failure", "success"];

impl Totals {
    fn inside(&self) -> MutexGuard<'_, Sums> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the name exists, and how many names there are.
    fn look_up(&self, name: &str) -> (bool, usize) {
        let sums = self.inside();
        (sums.names.contains_key(name), sums.names.len())
    }

    /// Adds what a settled attempt counted.
    pub(super) fn add(&self, recorded: Recorded, success: bool) {
        let Recorded { names, dropped } = recorded;
        if names.is_empty() && dropped == 0 {
            return;
        }
        let mut sums = self.inside();
        sums.dropped = sums.dropped.saturating_add(dropped);
        for (name, named) in names {
            // Other attempts may have taken the last names meanwhile.
            if sums.names.len() >= NAMES_MAX && !sums.names.contains_key(&name) {
                sums.dropped = sums.dropped.saturating_add(named.calls);
            } else {
                sums.names.entry(name).or_default()[usize::from(success)].merge(&named);
            }
        }
    }
}

/// Writes the totals of `functions` as Prometheus text. Writes nothing if none has counted anything.
pub(super) fn render<'k>(
    functions: impl Iterator<Item = (&'k str, &'k Totals)>,
    text: &mut String,
) {
    let (mut counts, mut times, mut dropped) = (String::new(), String::new(), String::new());
    for (function, totals) in functions {
        let Sums {
            names,
            dropped: own_dropped,
        } = totals.inside().clone();
        if names.is_empty() && own_dropped == 0 {
            continue;
        }
        for (name, outcomes) in &names {
            for (outcome, named) in OUTCOMES.iter().zip(outcomes) {
                let labels =
                    format!("function=\"{function}\",name=\"{name}\",outcome=\"{outcome}\"");
                if let Some(count) = named.count {
                    let _ = writeln!(counts, "{COUNTS}{{{labels}}} {count}");
                }
                if let Some(own) = &named.times {
                    render_times(own, &labels, &mut times);
                }
            }
        }
        let _ = writeln!(
            dropped,
            "{DROPPED}{{function=\"{function}\"}} {own_dropped}"
        );
    }
    for (name, kind, about, lines) in [
        (
            COUNTS,
            "counter",
            "What functions counted, by name.",
            counts,
        ),
        (
            TIMES,
            "histogram",
            "Times that functions measured, by name.",
            times,
        ),
        (
            DROPPED,
            "counter",
            "Counts and times that were dropped for their name, or for too many names.",
            dropped,
        ),
    ] {
        if !lines.is_empty() {
            let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}\n{lines}");
        }
    }
}

fn render_times(times: &Times, labels: &str, text: &mut String) {
    let ends = BUCKETS.iter().map(|(_, end)| *end).chain(["+Inf"]);
    let mut sum = 0;
    for (end, count) in ends.zip(times.buckets) {
        sum += count;
        let _ = writeln!(text, "{TIMES}_bucket{{{labels},le=\"{end}\"}} {sum}");
    }
    // Exact up to 2^53 ns, which is a hundred days.
    let seconds = times.sum_ns as f64 / 1e9;
    let _ = writeln!(text, "{TIMES}_sum{{{labels}}} {seconds}");
    let _ = writeln!(text, "{TIMES}_count{{{labels}}} {sum}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(totals: &Totals) -> String {
        let mut text = String::new();
        render([("f", totals)].into_iter(), &mut text);
        text
    }

    /// One attempt that counts each of `names` once.
    fn attempt(totals: &Totals, names: &[&str], success: bool) -> Vec<String> {
        let mut metrics = Metrics::new(totals, Arc::default());
        let told = names.iter().filter_map(|name| metrics.count(name, 1));
        let told = told.collect();
        totals.add(metrics.end(), success);
        told
    }

    #[test]
    fn counts_and_times_are_added_up_by_outcome() {
        let totals = Totals::default();
        assert_eq!(shown(&totals), "");
        attempt(&totals, &["orders", "orders", "other"], true);
        attempt(&totals, &["orders"], false);
        let mut metrics = Metrics::new(&totals, Arc::default());
        metrics.time("lookup", Duration::from_micros(300));
        metrics.time("lookup", Duration::from_micros(301));
        metrics.time("lookup", Duration::from_secs(40));
        metrics.count("orders", u64::MAX);
        totals.add(metrics.end(), true);
        let text = shown(&totals);
        for line in [
            "# TYPE edgebus_function_count_total counter",
            "edgebus_function_count_total{function=\"f\",name=\"orders\",outcome=\"failure\"} 1",
            "edgebus_function_count_total{function=\"f\",name=\"orders\",outcome=\"success\"} 18446744073709551615",
            "edgebus_function_count_total{function=\"f\",name=\"other\",outcome=\"success\"} 1",
            "# TYPE edgebus_function_time_seconds histogram",
            "edgebus_function_time_seconds_bucket{function=\"f\",name=\"lookup\",outcome=\"success\",le=\"0.0001\"} 0",
            "edgebus_function_time_seconds_bucket{function=\"f\",name=\"lookup\",outcome=\"success\",le=\"0.0003\"} 1",
            "edgebus_function_time_seconds_bucket{function=\"f\",name=\"lookup\",outcome=\"success\",le=\"0.001\"} 2",
            "edgebus_function_time_seconds_bucket{function=\"f\",name=\"lookup\",outcome=\"success\",le=\"30\"} 2",
            "edgebus_function_time_seconds_bucket{function=\"f\",name=\"lookup\",outcome=\"success\",le=\"+Inf\"} 3",
            "edgebus_function_time_seconds_sum{function=\"f\",name=\"lookup\",outcome=\"success\"} 40.000601",
            "edgebus_function_time_seconds_count{function=\"f\",name=\"lookup\",outcome=\"success\"} 3",
            "edgebus_function_metrics_dropped_total{function=\"f\"} 0",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
        assert!(
            !text.contains("name=\"other\",outcome=\"failure\""),
            "{text}"
        );
    }

    #[test]
    fn names_are_checked() {
        let longest = "x".repeat(NAME_BYTES_MAX);
        let too_long = "x".repeat(NAME_BYTES_MAX + 1);
        for (name, good) in [
            ("a", true),
            ("_a9", true),
            ("Orders_total", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("9a", false),
            ("a b", false),
            ("a\"} 1\nb", false),
            ("größe", false),
        ] {
            let totals = Totals::default();
            let told = attempt(&totals, &[name, name], true);
            assert_eq!(told.is_empty(), good, "{told:?}");
            assert!(told.len() <= 1, "it is told once: {told:?}");
            let dropped = if good { 0 } else { 2 };
            assert_eq!(totals.inside().dropped, dropped, "{name}");
        }
    }

    #[test]
    fn a_function_has_so_many_names_and_no_more() {
        let names: Vec<String> = (0..=NAMES_MAX).map(|number| format!("n{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (over, fitting) = names.split_last().expect("there are names");

        let totals = Totals::default();
        let told = attempt(&totals, &names, true);
        assert_eq!(
            told,
            [format!(
                "the metric `{over}` is not counted: a function has at most {NAMES_MAX} names"
            )]
        );
        assert!(attempt(&totals, fitting, true).is_empty(), "all are known");
        assert_eq!(attempt(&totals, &[*over], true).len(), 1);
        assert_eq!(totals.inside().names.len(), NAMES_MAX);
        assert_eq!(totals.inside().dropped, 2);

        // Two attempts at the same time, which don't know each other's names.
        let totals = Totals::default();
        let (mut one, mut other) = (
            Metrics::new(&totals, Arc::default()),
            Metrics::new(&totals, Arc::default()),
        );
        for name in fitting {
            assert_eq!(one.count(name, 1), None);
        }
        assert_eq!(other.count(over, 1), None);
        totals.add(one.end(), true);
        totals.add(other.end(), true);
        assert_eq!(totals.inside().names.len(), NAMES_MAX);
        assert_eq!(totals.inside().dropped, 1);
    }

    #[test]
    fn the_value_of_a_secret_is_no_name() {
        let totals = Totals::default();
        let secrets = [("KEY".to_owned(), " sk_live_abc\n".to_owned())];
        let mut metrics = Metrics::new(&totals, Arc::new(secrets.into()));
        for name in ["sk_live_abc", "calls_sk_live_abc_1", "sk_live_abc\"\\"] {
            let told = metrics.count(name, 1);
            assert!(!told.unwrap_or_default().contains("sk_live"), "{name}");
        }
        assert_eq!(metrics.count("calls", 1), None);
        let recorded = metrics.end();
        assert_eq!(recorded.names.keys().collect::<Vec<_>>(), ["calls"]);
        assert_eq!(recorded.dropped, 3);
    }
}
