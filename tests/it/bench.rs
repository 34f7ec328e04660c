//! `edgebus bench`: each scenario, small, with real buses; what is checked is the report, not the numbers.

use serde_json::Value;

use super::commands::run;
use crate::support::guests;
use crate::support::server::binary;

/// Every load settles, and the report has each measure of both buses, with the goals.
fn check(flag: &str, count: &str, goals: &[&str]) {
    // Built once for all tests; the bench finds it done.
    guests::path("bench-parse");
    // A scenario without a size has only its flag.
    let scenario = [flag, count].into_iter().filter(|word| !word.is_empty());
    let rest = [
        "--rounds",
        "2",
        "--seconds",
        "1",
        "--warm-up",
        "0",
        "--connections",
        "2",
        "--rate",
        "50",
        "--bytes",
        "512",
        "--json",
    ];
    let arguments: Vec<_> = ["bench"].into_iter().chain(scenario).chain(rest).collect();
    let said = run(&arguments, "").succeeds();
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["scenario"], flag.trim_start_matches("--"));
    assert_eq!(report["rate"], 50);
    for side in ["plain", "loaded"] {
        let side = &report[side];
        assert!(side["accepted"].as_u64().unwrap() > 100, "{flag}: {side}");
        assert_eq!(side["refused"], 0, "{flag}: {side}");
        assert_eq!(side["unsettled"], 0, "{flag}: {side}");
        assert_eq!(side["livez_failed"], 0, "{flag}: {side}");
    }
    // Whatever stands beside the load has work to the end.
    assert_eq!(report["others_busy"], report["others"], "{flag}: {report}");
    let measures = report["measures"].as_object().unwrap();
    assert_eq!(measures.len(), 11, "{flag}: {measures:?}");
    for (name, measure) in measures {
        for number in ["plain", "loaded", "ratio"] {
            let number = measure[number].as_f64().unwrap();
            assert!(
                number.is_finite() && number > 0.0,
                "{flag}: {name}: {measure}"
            );
        }
        let has_goal = goals.contains(&name.as_str());
        assert_eq!(
            measure["goal"].is_string(),
            has_goal,
            "{flag}: {name}: {measure}"
        );
        assert_eq!(
            measure["met"].is_boolean(),
            has_goal,
            "{flag}: {name}: {measure}"
        );
    }
}

#[test]
fn many_subscriptions_are_compared_with_one() {
    check(
        "--subscriptions",
        "3",
        &["accepted_per_second", "settled_per_second"],
    );
}

#[test]
fn many_functions_are_compared_with_one() {
    check(
        "--functions",
        "3",
        &["accepted_per_second", "settled_per_second"],
    );
}

#[test]
fn a_backlog_elsewhere_is_compared_with_none() {
    let goals = [
        "accepted_per_second",
        "settled_per_second",
        "memory_before_bytes",
    ];
    check("--pending", "2k", &goals);
}

#[test]
fn events_within_the_window_are_compared_with_none() {
    let goals = [
        "accepted_per_second",
        "settled_per_second",
        "memory_before_bytes",
    ];
    check("--window", "20k", &goals);
}

const BESIDE: [&str; 4] = [
    "accepted_per_second",
    "accepted_p99_us",
    "settled_p99_us",
    "livez_max_us",
];

#[test]
fn functions_that_sleep_are_beside_the_load() {
    check("--slow-functions", "3", &BESIDE);
}

#[test]
fn attempts_that_compute_are_beside_the_load() {
    // One, because as many as the machine has cores may stop a load for good.
    check("--spinners", "1", &BESIDE);
}

#[test]
fn events_for_many_are_beside_the_load() {
    check("--fan-out", "20", &["accepted_p99_us", "settled_p99_us"]);
}

#[test]
fn a_counter_under_one_key_is_compared_with_none() {
    guests::path("tally");
    check("--hot-key", "", &["settled_per_second"]);
}

#[test]
fn a_comparison_is_shown_in_words() {
    guests::path("bench-parse");
    let arguments = [
        "bench",
        "--subscriptions",
        "2",
        "--rounds",
        "1",
        "--seconds",
        "1",
        "--warm-up",
        "0",
        "--connections",
        "1",
        "--rate",
        "20",
        "--program",
        binary().to_str().unwrap(),
    ];
    let said = run(&arguments, "").succeeds();
    let mut lines = said.out.lines();
    let title = "2 subscriptions of one function, beside one; medians of 1 round, plain and subscriptions in turn";
    assert_eq!(lines.next(), Some(title));
    let second = lines.next().unwrap();
    assert!(
        second.contains("at 20 events a second for latencies"),
        "{second}"
    );
    for words in [
        "accepted, flat out",
        "settled, flat out",
        "to accepted p50",
        "to accepted p99",
        "to settled p50",
        "to settled p99",
        "/livez p50",
        "/livez p99",
        "/livez max",
        "memory before the load",
        "memory after it",
        ">= 0.85x: ",
        "plain: ",
        "subscriptions: ",
    ] {
        assert!(
            said.out.contains(words),
            "`{words}` is missing:\n{}",
            said.out
        );
    }
}

#[test]
fn an_idle_bus_is_measured() {
    guests::path("bench-parse");
    let arguments = [
        "bench",
        "--idle",
        "--seconds",
        "1",
        "--warm-up",
        "0",
        "--json",
    ];
    let said = run(&arguments, "").succeeds();
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let measures = &report["measures"];
    assert!(
        measures["memory_bytes"]["value"].as_u64().unwrap() > 1 << 20,
        "{report}"
    );
    assert!(
        measures["cpu_seconds"]["value"].as_f64().unwrap() < 1.0,
        "{report}"
    );
    assert!(
        measures["memory_bytes"]["met"].is_boolean() && measures["cpu_seconds"]["met"].is_boolean()
    );
}

#[test]
fn a_scenario_stands_alone() {
    let refused = [
        (
            vec!["bench", "--spinners", "1", "--pending", "1"],
            "cannot be used with",
        ),
        (
            vec!["bench", "--spinners", "1", "--stage", "http"],
            "cannot be used with",
        ),
        (vec!["bench", "--rounds", "2"], "required"),
        (vec!["bench", "--pending", "0"], "a count from 1 to"),
        (vec!["bench", "--pending", "1G"], "as in 700, 10k or 1M"),
    ];
    let missing = ["bench", "--idle", "--program", "/nowhere/edgebus"];
    assert!(
        run(&missing, "")
            .err
            .contains("/nowhere/edgebus can't be started")
    );
    for (arguments, words) in refused {
        run(&arguments, "").fails(2, &[words]);
    }
}
