//! Two looks become rates: pure arithmetic, and the table as plain text.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::Sort;
use super::poll::Look;
use crate::output;

/// One subscription between two looks.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// Deliveries that ended in success, a second.
    pub(super) succeeded: f64,
    /// Attempts that failed, a second.
    pub(super) failed: f64,
    /// Time in the function for one attempt, in microseconds; `None` if there was none.
    pub(super) run_us: Option<f64>,
    /// Deliveries in memory: ready or running.
    pub(super) in_memory: u64,
    /// How long the oldest delivery that is pending has waited, in milliseconds.
    pub(super) lag_ms: Option<u64>,
    /// Dead letters since the bus started.
    pub(super) dead: u64,
}

/// What happened between two looks.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Rates {
    pub(super) rows: Vec<Row>,
    /// Accepted events a second.
    pub(super) accepted: f64,
    /// Duplicates a second.
    pub(super) duplicates: f64,
    /// Refused publishes a second.
    pub(super) refused: f64,
}

/// The table's titles; the first column is left-aligned.
pub(super) const TITLES: [&str; 7] = [
    "subscription",
    "ok/s",
    "failed/s",
    "run",
    "in memory",
    "lag",
    "dead",
];

impl Rates {
    /// The rates from `before` to `after`; a counter that went back belongs to a bus that was started
    /// again, and counts from 0.
    pub(super) fn between(before: &Look, after: &Look, sort: Sort) -> Self {
        let seconds = (after.at - before.at).as_secs_f64();
        let rate = |before: u64, after: u64| {
            let grown = after.checked_sub(before).unwrap_or(after);
            if seconds > 0.0 {
                grown as f64 / seconds
            } else {
                0.0
            }
        };
        let known: HashMap<&str, _> = before
            .subscriptions
            .iter()
            .map(|own| (own.name.as_str(), &own.since_start))
            .collect();
        let rows: Vec<Row> = after
            .subscriptions
            .iter()
            .map(|own| {
                let zero = Default::default();
                let (old, new) = (
                    known.get(own.name.as_str()).copied().unwrap_or(&zero),
                    &own.since_start,
                );
                let failed = rate(old.retried, new.retried) + rate(old.dead, new.dead);
                let succeeded = rate(old.succeeded, new.succeeded);
                let attempts = succeeded + failed;
                Row {
                    name: own.name.clone(),
                    succeeded,
                    failed,
                    run_us: (attempts > 0.0).then(|| rate(old.run_us, new.run_us) / attempts),
                    in_memory: own.in_memory,
                    lag_ms: own.oldest_age_ms,
                    dead: new.dead,
                }
            })
            .collect();
        let mut rates = Self {
            rows,
            accepted: rate(before.accepted, after.accepted),
            duplicates: rate(before.duplicates, after.duplicates),
            refused: rate(before.refused, after.refused),
        };
        rates.sort(sort);
        rates
    }

    /// Puts the rows into another order.
    pub(super) fn sort(&mut self, sort: Sort) {
        self.rows.sort_by(|left, right| {
            order(left, right, sort).then_with(|| left.name.cmp(&right.name))
        });
    }

    /// One line over the table.
    pub(super) fn head(&self) -> String {
        format!(
            "accepted {}/s, duplicates {}/s, refused {}/s",
            number(self.accepted),
            number(self.duplicates),
            number(self.refused)
        )
    }

    /// The picture as plain text.
    pub(super) fn text(&self) -> String {
        let cells: Vec<[String; 7]> = self.rows.iter().map(Row::cells).collect();
        let width = |column: usize| {
            let own = cells.iter().map(|row| row[column].chars().count());
            own.max().unwrap_or(0).max(TITLES[column].len())
        };
        let widths: [usize; 7] = std::array::from_fn(width);
        let mut out = self.head();
        out.push('\n');
        let mut line = |row: &[String; 7]| {
            let mut text = format!("{:<1$}", row[0], widths[0]);
            for (cell, width) in row.iter().zip(widths).skip(1) {
                // Writing to a String can't fail.
                let _ = write!(text, "  {cell:>width$}");
            }
            out.push_str(text.trim_end());
            out.push('\n');
        };
        line(&TITLES.map(str::to_owned));
        cells.iter().for_each(&mut line);
        if self.rows.is_empty() {
            out.push_str("no subscription yet: apply rules with `edgebus apply`\n");
        }
        out
    }
}

impl Row {
    /// The row as text, by the titles.
    pub(super) fn cells(&self) -> [String; 7] {
        [
            output::plain(&self.name).into_owned(),
            number(self.succeeded),
            number(self.failed),
            self.run_us
                .map_or_else(|| "-".to_owned(), |us| output::duration(us as u64)),
            self.in_memory.to_string(),
            self.lag_ms.map_or_else(
                || "-".to_owned(),
                |ms| output::duration(ms.saturating_mul(1_000)),
            ),
            self.dead.to_string(),
        ]
    }
}

/// Which of two rows comes first.
fn order(left: &Row, right: &Row, sort: Sort) -> std::cmp::Ordering {
    match sort {
        Sort::Name => std::cmp::Ordering::Equal,
        Sort::Lag => right.lag_ms.cmp(&left.lag_ms),
        Sort::Rate => {
            let all = |row: &Row| row.succeeded + row.failed;
            all(right).total_cmp(&all(left))
        }
        Sort::Failures => right
            .failed
            .total_cmp(&left.failed)
            .then_with(|| right.dead.cmp(&left.dead)),
    }
}

/// A rate with a useful number of digits.
fn number(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        rate if rate < 10.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use edgebus_api::{SinceStart, Subscription};

    use super::*;

    /// A subscription of which nothing is known.
    fn subscription() -> Subscription {
        let json = r#"{"id":1,"name":"","rule":"","bus":"default","active":true,"in_memory":0,"situation":"empty",
            "reason":"","oldest_pending":null,"oldest_accepted_at":null,"pending":0,"waiting":0,"dead":0,
            "since_start":{"succeeded":0,"retried":0,"dead":0,"run_us":0},"behind":0,"retry":{"attempts":3,
            "initial_ms":200,"factor":2.0,"max_ms":1000,"jitter":true,"max_age_ms":86400000},"dead_letter_ms":1}"#;
        serde_json::from_str(json).unwrap()
    }

    fn look(at: Instant, rows: &[(&str, [u64; 4], Option<u64>)], accepted: u64) -> Look {
        let subscriptions = rows
            .iter()
            .map(
                |(name, [succeeded, retried, dead, run_us], age)| Subscription {
                    name: (*name).to_owned(),
                    in_memory: 2,
                    oldest_age_ms: *age,
                    since_start: SinceStart {
                        succeeded: *succeeded,
                        retried: *retried,
                        dead: *dead,
                        run_us: *run_us,
                    },
                    ..subscription()
                },
            )
            .collect();
        Look {
            at,
            subscriptions,
            accepted,
            duplicates: 0,
            refused: 0,
        }
    }

    #[test]
    fn two_looks_are_rates() {
        let start = Instant::now();
        let before = look(start, &[("a/f", [100, 4, 1, 1_000], None)], 50);
        let after = look(
            start + Duration::from_secs(2),
            &[
                ("a/f", [140, 8, 2, 46_000], Some(1_500)),
                ("b/g", [6, 0, 0, 60], None),
            ],
            150,
        );
        let rates = Rates::between(&before, &after, Sort::Failures);
        assert_eq!(
            rates.text(),
            "accepted 50/s, duplicates 0/s, refused 0/s\n\
             subscription  ok/s  failed/s     run  in memory    lag  dead\n\
             a/f             20       2.5  1.0 ms          2  1.5 s     2\n\
             b/g            3.0         0   10 µs          2      -     0\n"
        );
        let first = |sort| Rates::between(&before, &after, sort).rows[0].name.clone();
        assert_eq!(first(Sort::Lag), "a/f");
        assert_eq!(first(Sort::Rate), "a/f");
        assert_eq!(first(Sort::Name), "a/f");
    }

    #[test]
    fn a_bus_that_was_started_again_counts_from_zero() {
        let start = Instant::now();
        let before = look(start, &[("a/f", [100, 0, 0, 0], None)], 500);
        let after = look(
            start + Duration::from_secs(1),
            &[("a/f", [3, 0, 0, 0], None)],
            7,
        );
        let rates = Rates::between(&before, &after, Sort::Name);
        assert_eq!((rates.accepted, rates.rows[0].succeeded), (7.0, 3.0));
        let none = Rates::between(&before, &before, Sort::Name);
        assert_eq!(none.accepted, 0.0);
        let empty = Rates::between(&look(start, &[], 0), &look(start, &[], 0), Sort::Name);
        assert!(empty.text().contains("no subscription yet"));
    }
}
