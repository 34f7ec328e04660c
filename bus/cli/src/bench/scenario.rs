//! Scenarios: a manifest and a backlog that exist beside the load, and how much slower the load may get.
//!
//! Never here: requests and measurements.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::measure::{Bound, Measure};

/// How long an attempt of `--slow-functions` sleeps.
const SLOW: Duration = Duration::from_secs(10);
/// How long an attempt of the backlog of `--pending` sleeps; they run one after the other.
const PENDING_SLOW: Duration = Duration::from_secs(1);
/// How often an event of `--fan-out` is published.
const WIDE_EVERY: Duration = Duration::from_secs(1);
/// The processor time after which an attempt of `--spinners` is ended.
const SPIN: Duration = Duration::from_millis(200);

/// What a bus is measured under.
#[derive(clap::Args, Clone, Copy, Debug)]
#[group(id = "scenario", multiple = false)]
pub(super) struct Choice {
    /// Beside the plain run: this many subscriptions of one function; each event matches one, in turn.
    #[arg(long, value_name = "COUNT", value_parser = |text: &str| count(text, 5_000))]
    subscriptions: Option<u64>,
    /// Beside the plain run: this many functions of one component, with a rule each; each event matches
    /// one, in turn.
    #[arg(long, value_name = "COUNT", value_parser = |text: &str| count(text, 2_000))]
    functions: Option<u64>,
    /// Beside the plain run: this many deliveries are pending for another subscription, whose function is
    /// slow.
    #[arg(long, value_name = "COUNT", value_parser = |text: &str| count(text, 100_000_000))]
    pending: Option<u64>,
    /// Beside the plain run: this many events are remembered within the dedupe window. They are published before
    /// and match no rule.
    #[arg(long, value_name = "COUNT", value_parser = |text: &str| count(text, 100_000_000))]
    window: Option<u64>,
    /// Beside the plain run: this many other functions have a backlog, and their attempts sleep 10 s each.
    #[arg(long, value_name = "COUNT", value_parser = |text: &str| count(text, 2_000))]
    slow_functions: Option<u64>,
    /// Beside the plain run: attempts of another function, this many at a time, compute until their limit
    /// of 200 ms of processor time.
    #[arg(long, value_name = "COUNT", value_parser = |text: &str| count(text, 1_000))]
    spinners: Option<u64>,
    /// Beside the plain run: an event each second that this many subscriptions of another function get.
    #[arg(long, value_name = "COUNT", value_parser = |text: &str| count(text, 5_000))]
    fan_out: Option<u64>,
    /// Beside the plain run: each event adds 1 to a counter under one key of its function's state.
    #[arg(long)]
    hot_key: bool,
    /// Instead of a load: the processor time and memory of a bus that has nothing to do.
    #[arg(long)]
    pub(super) idle: bool,
}

impl Choice {
    /// The scenario to compare with the plain run, if there is one.
    pub(super) fn scenario(&self) -> Option<Scenario> {
        let chosen = [
            (Kind::Subscriptions, self.subscriptions),
            (Kind::Functions, self.functions),
            (Kind::Pending, self.pending),
            (Kind::Window, self.window),
            (Kind::SlowFunctions, self.slow_functions),
            (Kind::Spinners, self.spinners),
            (Kind::FanOut, self.fan_out),
            (Kind::HotKey, self.hot_key.then_some(1)),
        ];
        chosen
            .into_iter()
            .find_map(|(kind, count)| count.map(|count| Scenario { kind, count }))
    }
}

/// Reads a count as in `700`, `10k` or `1M`, from 1 to `max`.
fn count(text: &str, max: u64) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok();
    let number = number.and_then(|number| number.checked_mul(unit));
    number
        .filter(|number| (1..=max).contains(number))
        .ok_or_else(|| format!("a count from 1 to {max} is needed, as in 700, 10k or 1M"))
}

/// What stands or runs beside the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Subscriptions,
    Functions,
    Pending,
    Window,
    SlowFunctions,
    Spinners,
    FanOut,
    HotKey,
}

/// A scenario with its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) kind: Kind,
    pub(super) count: u64,
}

/// Events that are published before the load, and whose deliveries are pending all the time.
pub(super) struct Backlog {
    /// How many types of event there are; event N is of type N modulo this.
    pub(super) kinds: u64,
    pub(super) events: u64,
    /// What the function does, in the words of tests/guests/hostile; `None` where the events match no rule.
    pub(super) script: Option<String>,
}

impl Scenario {
    /// Its name in the report.
    pub(super) fn name(self) -> &'static str {
        match self.kind {
            Kind::Subscriptions => "subscriptions",
            Kind::Functions => "functions",
            Kind::Pending => "pending",
            Kind::Window => "window",
            Kind::SlowFunctions => "slow-functions",
            Kind::Spinners => "spinners",
            Kind::FanOut => "fan-out",
            Kind::HotKey => "hot-key",
        }
    }

    /// What is compared, in words.
    pub(super) fn title(self) -> String {
        let count = self.count;
        match self.kind {
            Kind::Subscriptions => format!("{count} subscriptions of one function, beside one"),
            Kind::Functions => format!("{count} functions of one component, beside one"),
            Kind::Pending => format!("{count} deliveries pending elsewhere, beside none"),
            Kind::Window => format!("{count} events within the dedupe window, beside none"),
            Kind::SlowFunctions => format!("beside {count} other functions that sleep, and alone"),
            Kind::Spinners => format!("beside {count} attempts that compute, and alone"),
            Kind::FanOut => {
                format!("beside an event each second for {count} subscriptions, and alone")
            }
            Kind::HotKey => "each event counted under one key of state, beside none".to_owned(),
        }
    }

    /// How many types the load's events have; event N is of type N modulo this.
    pub(super) fn kinds(self) -> u64 {
        match self.kind {
            Kind::Subscriptions | Kind::Functions => self.count,
            Kind::Pending
            | Kind::Window
            | Kind::SlowFunctions
            | Kind::Spinners
            | Kind::FanOut
            | Kind::HotKey => 1,
        }
    }

    /// A backlog that lasts for so long, whatever the bus does with it.
    pub(super) fn backlog(self, lasts: Duration) -> Option<Backlog> {
        let times = |each: Duration| lasts.as_millis().div_ceil(each.as_millis().max(1));
        let events = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        let sleep = |each: Duration| Some(format!("sleep {}", each.as_millis()));
        match self.kind {
            Kind::Subscriptions | Kind::Functions | Kind::FanOut | Kind::HotKey => None,
            Kind::Pending => Some(Backlog {
                kinds: 1,
                events: self.count,
                script: sleep(PENDING_SLOW),
            }),
            Kind::Window => Some(Backlog {
                kinds: 1,
                events: self.count,
                script: None,
            }),
            Kind::SlowFunctions => Some(Backlog {
                kinds: self.count,
                events: events(u128::from(self.count) * (times(SLOW) + 1)),
                script: sleep(SLOW),
            }),
            Kind::Spinners => {
                let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                Some(Backlog {
                    kinds: 1,
                    events: self.count + events(times(SPIN) * cores as u128),
                    script: Some("spin".to_owned()),
                })
            }
        }
    }

    /// How often an event for others is published while the bus is measured, if it is.
    pub(super) fn beside(self) -> Option<Duration> {
        (self.kind == Kind::FanOut).then_some(WIDE_EVERY)
    }

    /// The manifest of the bus under load; `components` is the folder of the functions.
    pub(super) fn manifest(self, components: &Path) -> String {
        let own = match self.kind {
            Kind::HotKey => "tally",
            _ => "bench_parse",
        };
        let parse = component(components, own);
        let mut functions = String::new();
        let mut rules = String::new();
        for n in 0..self.kinds() {
            // A load of one type has one rule and one function with plain names.
            let own = match self.kind {
                Kind::Functions if self.count > 1 => format!("{PARSE}-{n}"),
                _ => PARSE.to_owned(),
            };
            if n == 0 || self.kind == Kind::Functions {
                functions.push_str(&format!("  {own}: {{ component: {parse} }}\n"));
            }
            let name = format!("-{n}");
            rules.push_str(&load_rule(&name, &TypeSuffix::of(self.kinds(), n), &own));
        }
        let hostile = component(components, "hostile");
        let (others, limits) = match self.kind {
            Kind::Subscriptions | Kind::Functions | Kind::Window | Kind::FanOut | Kind::HotKey => {
                (0, String::new())
            }
            Kind::Pending => (1, "concurrency: 1".to_owned()),
            Kind::SlowFunctions => (self.count, "concurrency: 1".to_owned()),
            Kind::Spinners => {
                let (cpu, count) = (SPIN.as_millis(), self.count);
                (1, format!("cpu: {cpu}ms, concurrency: {count}"))
            }
        };
        if self.kind == Kind::FanOut {
            functions.push_str(&format!("  {OTHER}: {{ component: {parse} }}\n"));
            for n in 0..self.count {
                rules.push_str(&format!(
                    "  {OTHER}-{n}: {{ match: {{ type: [com.example.{OTHER}] }}, to: [{{ function: {OTHER} }}] }}\n"
                ));
            }
        }
        for n in 0..others {
            let kind = TypeSuffix::of(others, n);
            // They may stand still while the plain run is measured: no limit of the wall clock ends them.
            functions.push_str(&format!(
                "  {OTHER}-{n}: {{ component: {hostile}, limits: {{ timeout: 15m, {limits} }} }}\n"
            ));
            rules.push_str(&format!(
                "  {OTHER}-{n}: {{ match: {{ type: [com.example.{OTHER}{kind}] }}, to: [{{ function: {OTHER}-{n}, retry: {{ attempts: 1 }} }}] }}\n"
            ));
        }
        format!("version: 1\nfunctions:\n{functions}rules:\n{rules}")
    }

    /// What the scenario may cost.
    pub(super) fn bounds(self) -> &'static [(Measure, Bound)] {
        match self.kind {
            Kind::Subscriptions | Kind::Functions => &[
                (Measure::Accepted, Bound::RatioMin(0.85)),
                (Measure::Settled, Bound::RatioMin(0.85)),
            ],
            Kind::Pending => &[
                (Measure::Accepted, Bound::RatioMin(0.9)),
                (Measure::Settled, Bound::RatioMin(0.9)),
                (Measure::MemoryBefore, Bound::MoreMebibytesMax(100)),
            ],
            Kind::FanOut => &[
                (Measure::ToAcceptedP99, Bound::RatioBelow(2.0)),
                (Measure::ToSettledP99, Bound::RatioBelow(2.0)),
            ],
            Kind::Window => &[
                (Measure::Accepted, Bound::RatioMin(0.95)),
                (Measure::Settled, Bound::RatioMin(0.95)),
                (Measure::MemoryBefore, Bound::MoreMebibytesMax(100)),
            ],
            Kind::HotKey => &[(Measure::Settled, Bound::RatioMin(0.4))],
            Kind::SlowFunctions | Kind::Spinners => &[
                (Measure::Accepted, Bound::RatioMin(0.6)),
                (Measure::ToAcceptedP99, Bound::RatioBelow(2.0)),
                (Measure::ToSettledP99, Bound::RatioBelow(2.0)),
                (Measure::LiveMax, Bound::BelowMs(20)),
            ],
        }
    }
}

/// The backlog's functions and rules begin with this, and its events are of the type `com.example.` this.
pub(super) const OTHER: &str = "other";
/// The function of the plain load.
pub(super) const PARSE: &str = "parse";
/// The plain load's rules are called this, or begin with it.
pub(super) const ORDERS: &str = "orders";

/// The manifest of the plain run: one function, one rule.
pub(super) fn plain_manifest(components: &Path) -> String {
    let parse = component(components, "bench_parse");
    format!(
        "version: 1\nfunctions:\n  {PARSE}: {{ component: {parse} }}\nrules:\n{}",
        load_rule("", &TypeSuffix(None), PARSE)
    )
}

/// What is added to the type of an event: nothing where there is one type, else a dot and a number.
pub(super) struct TypeSuffix(Option<u64>);

impl TypeSuffix {
    /// The suffix for event `number` where `kinds` types take turns.
    pub(super) fn of(kinds: u64, number: u64) -> Self {
        Self((kinds > 1).then(|| number % kinds))
    }
}

impl fmt::Display for TypeSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |number| write!(f, ".{number}"))
    }
}

fn load_rule(suffix: &str, kind: &TypeSuffix, function: &str) -> String {
    format!(
        "  {ORDERS}{suffix}: {{ match: {{ type: [com.example.bench{kind}], data: {{ kind: [order] }} }}, to: [{{ function: {function} }}] }}\n"
    )
}

/// A component's path, quoted for YAML.
fn component(components: &Path, name: &str) -> serde_json::Value {
    serde_json::Value::from(
        components
            .join(format!("{name}.wasm"))
            .display()
            .to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_units_and_bounds() {
        let table = [
            ("1", Some(1)),
            ("700", Some(700)),
            ("10k", Some(10_000)),
            ("1M", Some(1_000_000)),
            ("0", None),
            ("", None),
            ("k", None),
            ("-1", None),
            ("1.5k", None),
            ("1m", None),
            ("1é", None),
            ("3M", None),
            ("99999999999999999999M", None),
            ("18446744073709551615M", None),
        ];
        for (text, expected) in table {
            assert_eq!(count(text, 2_000_000).ok(), expected, "`{text}`");
        }
    }

    #[test]
    fn every_scenario_has_a_manifest_without_errors() {
        let kinds = [
            Kind::Subscriptions,
            Kind::Functions,
            Kind::Pending,
            Kind::Window,
            Kind::SlowFunctions,
            Kind::Spinners,
            Kind::FanOut,
            Kind::HotKey,
        ];
        for kind in kinds {
            // One is the same as the plain run, and none.
            for count in [1, 3, 1_000] {
                let scenario = Scenario { kind, count };
                let text = scenario.manifest(Path::new("/some where"));
                let parsed = edgebus_manifest::parse(&text);
                assert!(parsed.is_ok(), "{kind:?} {count}: {parsed:?}");
                let backlog = scenario.backlog(Duration::from_secs(60));
                assert!(backlog.is_none_or(|backlog| backlog.events >= count));
            }
        }
    }
}
