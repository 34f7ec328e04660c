//! Hostile guests through the whole bus: each ends as it should, within bounds, with its output on the
//! delivery, while a neighbour is served.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::deliver::{manifest, play};
use crate::support::server::{Home, wait_for};

#[test]
fn every_hostile_guest_is_bounded_and_leaves_its_story() {
    let home = Home::new(&manifest(
        "memory: 48MiB, cpu: 500ms, timeout: 10s",
        "attempts: 1",
    ));
    let server = home.serve();
    // script → class of the outcome, words in its message, words in its output
    let table = [
        ("log before\nspin", "timeout", "processor time", "before"),
        ("log before\nhang", "timeout", "limits.timeout", "before"),
        (
            "trap by order",
            "trap",
            "fall_over",
            "the guest fell over: by order",
        ),
        ("recurse", "trap", "stack", ""),
        ("hoard", "memory", "limits.memory", "MiB"),
        (
            "flood-output",
            "timeout",
            "processor time",
            "bytes left out",
        ),
        ("flood-log", "timeout", "processor time", "bytes left out"),
        (
            "chatter 3000\ntrap in the end",
            "trap",
            "hostile/src/lib.rs",
            "the guest fell over: in the end",
        ),
        ("flood-emits", "limit", "", ""),
        ("fat-emit", "limit", "", ""),
        ("flood-state", "limit", "state", ""),
        ("fat-state", "limit", "2048 KiB", ""),
        ("reject no thanks", "reject", "no thanks", ""),
        ("retry not now", "retry", "not now", ""),
    ];
    for (index, (script, ..)) in table.iter().enumerate() {
        play(&server, &format!("hostile-{index}"), script);
    }
    // A neighbour goes on meanwhile.
    let began = Instant::now();
    let neighbour = play(&server, "neighbour", "log served");
    wait_for("the neighbour", || {
        server.get(&format!("/v1/deliveries/1-{neighbour}")).json()["stage"] == "succeeded"
    });
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "the neighbour waited {:?}",
        began.elapsed()
    );
    server.settle();
    let dead = server.dead_letters();
    assert_eq!(dead.len(), table.len());
    for (index, (script, class, message, output)) in table.iter().enumerate() {
        let id = &dead[index].id;
        let letter = server
            .get(&format!("/v1/dead-letters/{id}"))
            .expect(200)
            .json();
        let attempt = &letter["attempts"][0];
        assert_eq!(attempt["outcome"], *class, "{script}: {attempt}");
        assert!(
            attempt["message"].as_str().unwrap().contains(message),
            "{script}: {attempt}"
        );
        assert!(
            attempt["output"].as_str().unwrap_or("").contains(output),
            "{script}: {attempt}"
        );
        assert!(
            attempt["output"].as_str().unwrap_or("").len() <= 65 * 1024,
            "{script}: the output is not bounded"
        );
        assert_eq!(
            letter["event"]["id"],
            json!(format!("hostile-{index}")),
            "{script}"
        );
    }
    assert!(server.stop().success());
}

#[test]
fn what_functions_count_is_shown_among_the_metrics() {
    let home = Home::new(&manifest("cpu: 5s", "attempts: 1"));
    let server = home.serve();
    let shown = |wanted: &str| {
        wait_for(wanted, || {
            let text = server.get("/metrics").expect(200).text();
            text.lines().any(|line| line == wanted)
        });
    };
    let labels = |name, outcome| format!("function=\"play\",name=\"{name}\",outcome=\"{outcome}\"");
    let count = |name, outcome| {
        let labels = labels(name, outcome);
        format!("edgebus_function_count_total{{{labels}}}")
    };
    play(&server, "one", "tick orders\ntick orders\ntook lookup 2");
    shown(&format!("{} 2", count("orders", "success")));
    play(&server, "two", "tick orders\nreject no");
    shown(&format!("{} 1", count("orders", "failure")));
    let lookup = labels("lookup", "success");
    let times = "edgebus_function_time_seconds";
    shown(&format!("{times}_bucket{{{lookup},le=\"0.001\"}} 0"));
    shown(&format!("{times}_bucket{{{lookup},le=\"0.003\"}} 1"));
    shown(&format!("{times}_sum{{{lookup}}} 0.002"));

    // There are 62 names left.
    play(&server, "three", "flood-metrics 1000");
    let dropped = "edgebus_function_metrics_dropped_total{function=\"play\"}";
    shown(&format!("{dropped} 938"));
    shown(&format!("{} 1", count("flood_61", "success")));
    play(&server, "four", "tick not-a-name");
    shown(&format!("{dropped} 939"));
    let text = server.get("/metrics").expect(200).text();
    assert!(!text.contains(&count("flood_62", "success")), "{text}");
    for (position, told) in [
        (
            3,
            "the metric `flood_62` is not counted: a function has at most 64 names",
        ),
        (
            4,
            "the metric `not-a-name` is not counted: a name has 1 to 64 letters",
        ),
    ] {
        let path = format!("/v1/deliveries/1-{position}");
        let delivery = server.get(&path).expect(200).json();
        assert_eq!(delivery["stage"], "succeeded");
        let output = delivery["attempts"][0]["output"].as_str().unwrap_or("");
        assert!(output.starts_with(&format!("WARN {told}")), "{output}");
        assert_eq!(output.lines().count(), 1, "{output}");
    }
}

#[test]
fn a_component_that_is_none_is_refused_with_what_it_lacks() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    for (bytes, said) in [
        (b"hello".as_slice(), "component"),
        (b"\0asm\x01\0\0\0".as_slice(), "component"),
        (b"".as_slice(), "component"),
    ] {
        let answer = server
            .request(
                "PUT",
                "/v1/functions/f",
                &[("content-type", "application/wasm")],
                bytes,
            )
            .expect(400);
        assert!(answer.text().contains(said), "{}", answer.text());
    }
    server.get("/v1/functions/f").expect(404);
}
