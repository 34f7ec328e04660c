//! `kill -9` in the middle of work, again and again: a ledger of what was acknowledged against what is there.
//!
//! `EDGEBUS_KILLS` sets how many kills (25 by default, the number for each CI run).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use edgebus_client::api::Stage;
use serde_json::json;

use crate::support::guests;
use crate::support::http;
use crate::support::server::{Home, wait_for};

/// What the clients know: ids that were acknowledged, with their positions, and ids that were sent.
#[derive(Default, Clone)]
struct Ledger {
    acknowledged: BTreeMap<String, u64>,
    sent: BTreeSet<String>,
}

/// What the bus shows in the end: ids by position, how each delivery ended, and what the state counted.
#[derive(Default, Clone)]
struct Found {
    log: BTreeMap<u64, String>,
    ended: Vec<u64>,
    counted: usize,
}

/// Everything that the promise forbids.
fn violations(ledger: &Ledger, found: &Found) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, position) in &ledger.acknowledged {
        if found.log.get(position) != Some(id) {
            wrong.push(format!(
                "{id} was acknowledged at {position} and is not there"
            ));
        }
    }
    let mut ids = BTreeSet::new();
    for id in found.log.values() {
        if !ids.insert(id) {
            wrong.push(format!("{id} is in the log twice"));
        }
        if !ledger.sent.contains(id) {
            wrong.push(format!("{id} was never sent"));
        }
    }
    let mut ended = BTreeSet::new();
    for position in &found.ended {
        if !ended.insert(position) {
            wrong.push(format!("the delivery of {position} ended twice"));
        }
    }
    for position in found.log.keys() {
        if !ended.contains(position) {
            wrong.push(format!("the delivery of {position} never ended"));
        }
    }
    if found.counted != found.log.len() {
        wrong.push(format!(
            "the state counted {} of {} events",
            found.counted,
            found.log.len()
        ));
    }
    wrong
}

#[test]
fn the_ledger_sees_each_kind_of_loss() {
    let id = |number: u64| format!("e{number}");
    let ledger = Ledger {
        acknowledged: (1..=3).map(|number| (id(number), number)).collect(),
        sent: (1..=4).map(id).collect(),
    };
    let good = Found {
        log: (1..=4).map(|number| (number, id(number))).collect(),
        ended: vec![1, 2, 3, 4],
        counted: 4,
    };
    assert_eq!(violations(&ledger, &good), Vec::<String>::new());
    let plant = |plant: fn(&mut Found)| {
        let mut bad = good.clone();
        plant(&mut bad);
        violations(&ledger, &bad)
    };
    assert!(
        !plant(|bad| {
            bad.log.remove(&2);
        })
        .is_empty(),
        "an acknowledged event is lost"
    );
    assert!(
        !plant(|bad| {
            bad.log.insert(5, "e4".to_owned());
        })
        .is_empty(),
        "an event is there twice"
    );
    assert!(
        !plant(|bad| {
            bad.ended.pop();
        })
        .is_empty(),
        "a delivery is lost"
    );
    assert!(
        !plant(|bad| bad.ended.push(1)).is_empty(),
        "a delivery ended twice"
    );
    assert!(
        !plant(|bad| bad.counted = 5).is_empty(),
        "an effect is doubled"
    );
    assert!(
        !plant(|bad| bad.counted = 3).is_empty(),
        "an effect is lost"
    );
}

fn manifest() -> String {
    format!(
        "version: 1
functions:
  tally: {{ component: {} }}
rules:
  all:
    match: {{ source: [/crash, /test] }}
    to: [{{ function: tally, retry: {{ attempts: 100, backoff: {{ initial: 1ms, max: 10ms }} }} }}]
",
        json!(guests::path("tally"))
    )
}

/// Publishes batches until the bus is gone; remembers what was acknowledged.
fn publish_until_gone(
    address: std::net::SocketAddr,
    numbers: &AtomicU64,
    gone: &AtomicBool,
    ledger: &Mutex<Ledger>,
) {
    while !gone.load(Ordering::SeqCst) {
        let first = numbers.fetch_add(10, Ordering::SeqCst);
        let ids: Vec<String> = (first..first + 10)
            .map(|number| format!("e{number}"))
            .collect();
        ledger.lock().unwrap().sent.extend(ids.iter().cloned());
        let events: Vec<_> = ids
            .iter()
            .map(|id| json!({"specversion": "1.0", "id": id, "source": "/crash", "type": "count", "data": {}}))
            .collect();
        let body = json!(events).to_string();
        let headers = [("content-type", "application/cloudevents-batch+json")];
        let Some(answer) =
            http::try_request(address, "POST", "/v1/events", &headers, body.as_bytes())
        else {
            return;
        };
        if answer.status == 202 {
            let answer = answer.json();
            let mut ledger = ledger.lock().unwrap();
            for accepted in answer["results"].as_array().unwrap() {
                ledger.acknowledged.insert(
                    accepted["id"].as_str().unwrap().to_owned(),
                    accepted["position"].as_u64().unwrap(),
                );
            }
        }
    }
}

#[test]
fn kill_nine_in_the_middle_of_work_loses_and_doubles_nothing() {
    let kills: u64 = std::env::var("EDGEBUS_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(25);
    let home = Home::new(&manifest());
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let numbers = Arc::new(AtomicU64::new(0));
    for kill in 0..kills {
        let server = home.serve();
        let gone = Arc::new(AtomicBool::new(false));
        let before = ledger.lock().unwrap().acknowledged.len();
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (address, numbers, gone, ledger) = (
                    server.address,
                    numbers.clone(),
                    gone.clone(),
                    ledger.clone(),
                );
                std::thread::spawn(move || publish_until_gone(address, &numbers, &gone, &ledger))
            })
            .collect();
        // Another moment in each cycle: after so many more acknowledgements, with work under way.
        let wanted = before + 10 + (kill as usize * 37) % 200;
        wait_for("acknowledgements", || {
            ledger.lock().unwrap().acknowledged.len() >= wanted
        });
        server.kill();
        gone.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().unwrap();
        }
    }
    let server = home.serve();
    server.settle();
    let mut found = Found::default();
    let log = server.log().into_iter();
    found
        .log
        .extend(log.map(|row| (row.position, row.event.id)));
    for stage in [Stage::Succeeded, Stage::Dead] {
        let rows = server.deliveries(stage);
        found.ended.extend(rows.iter().map(|row| row.position));
    }
    let show = server.publish("show", "tally.show", &json!({}));
    server.settle();
    let story = server.get(&format!("/v1/deliveries/1-{show}")).json();
    let output = story["attempts"][0]["output"]
        .as_str()
        .unwrap()
        .trim()
        .to_owned();
    found.counted = output.rsplit(' ').next().unwrap().parse().unwrap();
    let ledger = ledger.lock().unwrap().clone();
    let wrong = violations(&ledger, &found);
    assert!(
        wrong.is_empty(),
        "{} violations after {kills} kills, the first: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(10)]
    );
    assert!(ledger.acknowledged.len() as u64 >= kills * 10);
    println!(
        "{kills} kills, {} acknowledged events, {} in the log, 0 lost, 0 doubled",
        ledger.acknowledged.len(),
        found.log.len()
    );
}
