//! Events of the log that are delivered again: replays, seeks, rules that start in the past.

use std::collections::BTreeMap;

use edgebus_client::api::Stage;
use serde_json::{Value, json};

use crate::commands::run;
use crate::deliver::{counter, manifest, play};
use crate::support::guests;
use crate::support::server::{Home, Server, wait_for};

const JSON: &str = "application/json";

fn start(server: &Server, body: &Value) -> Value {
    let body = body.to_string();
    let answer = server.post("/v1/replays", JSON, body.as_bytes());
    answer.expect(202).json()
}

fn count(server: &Server, body: &Value) -> Value {
    let body = body.to_string();
    let answer = server.post("/v1/replays?dry_run=true", JSON, body.as_bytes());
    answer.expect(200).json()
}

fn job(server: &Server, id: &Value) -> Value {
    server.get(&format!("/v1/jobs/{id}")).expect(200).json()
}

/// Waits until the job is done and its deliveries have ended.
fn ended(server: &Server, id: &Value) -> Value {
    wait_for("the job to be done", || {
        job(server, id)["state"].as_str() != Some("running")
    });
    server.settle();
    job(server, id)
}

/// Each delivery of a replay in one stage, by its position.
fn of_replay(server: &Server, id: &Value, stage: &str) -> BTreeMap<u64, Value> {
    let path = format!("/v1/deliveries?stage={stage}&replay={id}");
    let rows = server.list(&path, "deliveries");
    let count = rows.len();
    let by_position: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| (row["position"].as_u64().unwrap(), row))
        .collect();
    assert_eq!(by_position.len(), count, "each event once");
    by_position
}

fn cli(server: &Server, arguments: &[&str]) -> crate::commands::Said {
    let url = format!("http://{}", server.address);
    let mut all = arguments.to_vec();
    all.extend(["--url", &url]);
    run(&all, "")
}

/// Publishes so many events in one request.
fn many(server: &Server, count: u64, script: &str) {
    let events: Vec<Value> = (0..count)
        .map(|number| {
            json!({"specversion": "1.0", "id": format!("m{number}"), "source": "/test",
                   "type": "play", "data": {"do": script}})
        })
        .collect();
    for part in events.chunks(500) {
        let body = json!(part).to_string();
        let batch = "application/cloudevents-batch+json";
        server
            .post("/v1/events", batch, body.as_bytes())
            .expect(202);
    }
}

#[test]
fn a_range_is_delivered_again_under_its_replays_name() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 2"));
    let server = home.serve();
    let scripts = ["count n", "reject no", "replay\nemit told", "count n"];
    let mut at = Vec::new();
    for (index, script) in scripts.iter().enumerate() {
        at.push(play(&server, &format!("e{index}"), script));
        // What it emits comes before the next one.
        server.settle();
    }
    // A dry run writes nothing.
    let counted = count(&server, &json!({"from": at[0], "to": at[2]}));
    assert_eq!(
        (&counted["events"], &counted["deliveries"]),
        (&json!(3), &json!(3)),
        "{counted}"
    );
    assert!(server.list("/v1/jobs", "jobs").is_empty());
    let made = start(
        &server,
        &json!({"from": at[0], "to": at[2], "name": "repair"}),
    );
    let made = ended(&server, &made["id"]);
    let id = &made["id"];
    assert_eq!(made["state"], "done", "{made}");
    let succeeded = of_replay(&server, id, "succeeded");
    let keys: Vec<_> = succeeded.keys().copied().collect();
    assert_eq!(keys, [at[0], at[2]]);
    assert_eq!(of_replay(&server, id, "dead").len(), 1);
    // Its deliveries are not among those of the live ones.
    assert_eq!(server.list("/v1/dead-letters", "dead_letters").len(), 2);
    let told = server
        .get(&format!("/v1/deliveries/1-{}-r{id}", at[2]))
        .expect(200)
        .json();
    let output = told["attempts"][0]["output"].as_str().unwrap();
    assert_eq!(output, format!("INFO repair {id}\n"), "{told}");
    // Once live, and once for the replay.
    assert_eq!(counter(&server, "show", "n"), 3);
    let log = server.list("/v1/buses/default/events", "events");
    let marks: Vec<_> = log
        .iter()
        .filter(|row| row["event"]["type"] == "told")
        .map(|row| row["event"]["replayname"].clone())
        .collect();
    assert_eq!(marks, [Value::Null, json!("repair")]);
    assert!(server.stop().success());
}

#[test]
fn a_killed_bus_goes_on_with_a_replay_and_doubles_nothing() {
    let home = Home::new(&manifest("concurrency: 8", "attempts: 5"));
    let server = home.serve();
    let count = 2_500;
    many(&server, count, "count n\nemit told");
    server.settle();
    let made = start(&server, &json!({"type": "play"}));
    let id = made["id"].clone();
    server.kill();
    let kills = 6;
    for kill in 1..=kills {
        let server = home.serve();
        let wanted = count * kill / (kills + 2);
        wait_for("the replay to go on", || {
            let own = job(&server, &id);
            own["done"].as_u64().unwrap() >= wanted || own["state"] == "done"
        });
        server.kill();
    }
    let server = home.serve();
    let made = ended(&server, &id);
    assert_eq!(made["done"], json!(count), "{made}");
    assert_eq!(made["results"]["succeeded"], json!(count), "{made}");
    assert_eq!(of_replay(&server, &id, "succeeded").len() as u64, count);
    assert_eq!(
        counter(&server, "show", "n"),
        2 * i64::try_from(count).unwrap()
    );
    let log = server.list("/v1/buses/default/events", "events");
    let causes: Vec<_> = log
        .iter()
        .filter(|row| row["event"]["replayname"] == json!(format!("replay-{id}")))
        .map(|row| row["event"]["causationid"].as_str().unwrap().to_owned())
        .collect();
    let different: std::collections::BTreeSet<_> = causes.iter().collect();
    assert_eq!(
        (causes.len() as u64, different.len() as u64),
        (count, count)
    );
    assert!(server.stop().success());
}

#[test]
fn a_replay_goes_through_todays_rules_or_as_it_was_matched() {
    let both = manifest("timeout: 5s", "attempts: 2");
    let home = Home::new(&both);
    let server = home.serve();
    for number in 0..3 {
        play(&server, &format!("e{number}"), "ok");
    }
    server.publish("o", "other", &json!({"do": "ok"}));
    server.settle();
    // Another rule, which looks at other events, too.
    let wider = both.replace(
        "rules:\n",
        "rules:\n  wide:\n    match: { type: [play, other] }\n    to: [{ function: play }]\n",
    );
    home.write_manifest(&wider);
    let path = home.manifest();
    cli(&server, &["apply", "--yes", path.to_str().unwrap()]).succeeds();
    let made = start(&server, &json!({}));
    let own = ended(&server, &made["id"]);
    assert_eq!(own["done"], 7, "{own}");
    let made = start(&server, &json!({"as_matched": true}));
    let own = ended(&server, &made["id"]);
    assert_eq!(own["done"], 3, "{own}");
    // Narrowed by each filter.
    let narrowed = [
        (json!({"rules": ["wide"]}), 4),
        (json!({"subscriptions": ["plays/play"]}), 3),
        (json!({"type": "other"}), 1),
        (json!({"match": {"id": ["e1"]}}), 2),
        (json!({"from": 2, "to": 2}), 2),
        (
            json!({"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"}),
            0,
        ),
    ];
    for (body, deliveries) in narrowed {
        let counted = count(&server, &body);
        assert_eq!(counted["deliveries"], deliveries, "{body}: {counted}");
    }
    assert!(server.stop().success());
}

#[test]
fn replays_that_can_not_be_are_told_why() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 2"));
    let server = home.serve();
    play(&server, "a", "ok");
    server.settle();
    for (body, status, words) in [
        (json!({"bus": "none"}), 404, "there is no bus `none`"),
        (json!({"rules": ["none"]}), 404, "`none`"),
        (json!({"subscriptions": ["none"]}), 404, "`none`"),
        (
            json!({"from": 0}),
            409,
            "position 0 is before the oldest event",
        ),
        (json!({"from": 9}), 400, "behind the newest event"),
        (
            json!({"since": "2999-01-01T00:00:00Z"}),
            400,
            "in the future",
        ),
        (json!({"since": "yesterday"}), 400, "`since` is no time"),
        (
            json!({"from": 1, "since": "2020-01-01T00:00:00Z"}),
            400,
            "does not go with",
        ),
        (json!({"match": {"data": 1}}), 400, ""),
        (json!({"name": "a b"}), 400, ""),
        (json!({"speed": 1}), 400, "unknown field `speed`"),
    ] {
        let answer = server.post("/v1/replays", JSON, body.to_string().as_bytes());
        let (got, text) = (answer.status, answer.text());
        assert!(
            got == status && text.contains(words),
            "{body}: {got} {text}"
        );
    }
    assert!(server.list("/v1/jobs", "jobs").is_empty());
    let said = cli(&server, &["replays", "start", "--from", "yesterday"]);
    said.fails(2, &["write a position"]);
    assert!(server.stop().success());
}

#[test]
fn the_command_line_starts_a_replay_and_tells_what_came_of_it() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    for (number, script) in ["ok", "ok", "reject no"].iter().enumerate() {
        play(&server, &format!("e{number}"), script);
    }
    server.settle();
    let said = cli(&server, &["replays", "start", "--from", "1h", "--dry-run"]).succeeds();
    assert!(
        said.out
            .starts_with("a replay would make 3 deliveries of 3 events (positions 1 to 3"),
        "{}",
        said.out
    );
    let arguments = ["replays", "start", "--from", "2", "--wait", "-o", "json"];
    let said = cli(&server, &arguments);
    // One of its deliveries has died.
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let job: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(
        (&job["results"]["succeeded"], &job["results"]["died"]),
        (&json!(1), &json!(1)),
        "{job}"
    );
    let id = job["id"].to_string();
    let listed = cli(
        &server,
        &["deliveries", "ls", "--replay", &id, "--stage", "dead"],
    );
    let listed = listed.succeeds();
    assert!(listed.out.contains(&format!("1-3-r{id}")), "{}", listed.out);
    assert!(!listed.out.contains("1-3 "), "{}", listed.out);
    assert!(server.stop().success());
}

#[test]
fn what_a_replay_has_pending_can_be_let_go_of() {
    let home = Home::new(&manifest("concurrency: 1", "attempts: 5"));
    let server = home.serve();
    for number in 0..5 {
        play(&server, &format!("e{number}"), "count n");
    }
    server.settle();
    // It runs while the replay's deliveries wait.
    play(&server, "slow", "sleep 2000");
    let job = start(&server, &json!({"from": 1, "to": 5}));
    let id = job["id"].to_string();
    wait_for("the replay to have made its deliveries", || {
        self::job(&server, &job["id"])["state"] == "done"
    });
    // It is done, so that there is nothing to cancel but what is pending.
    cli(&server, &["jobs", "cancel", &id]).fails(1, &["409", "it is done"]);
    let arguments = ["jobs", "cancel", &id, "--discard-pending", "--wait"];
    let said = cli(&server, &arguments).succeeds();
    assert!(said.out.contains("discards"), "{}", said.out);
    server.settle();
    let results = &self::job(&server, &job["id"])["results"];
    let discarded = results["discarded"].as_u64().unwrap();
    assert!(discarded >= 1, "{results}");
    assert_eq!(results["succeeded"].as_u64().unwrap() + discarded, 5);
    let rows = of_replay(&server, &job["id"], "discarded");
    assert_eq!(rows.len() as u64, discarded);
    let left = i64::try_from(discarded).unwrap();
    assert_eq!(counter(&server, "show", "n"), 10 - left);
    let listed = cli(&server, &["jobs", "ls"]).succeeds();
    let about = format!("what replay {id} has pending");
    assert!(listed.out.contains(&about), "{}", listed.out);
    // A seek tells of replays that it leaves alone, and of no others.
    let moved = seek(&server, &json!({"to_end": true}));
    assert!(moved.get("earlier_replays").is_none(), "{moved}");
    play(&server, "slower", "sleep 2000");
    let other = start(&server, &json!({"from": 1, "to": 5}));
    wait_for("the other replay to have made its deliveries", || {
        self::job(&server, &other["id"])["state"] == "done"
    });
    let arguments = ["subscriptions", "seek", "plays/play", "--to-end"];
    let said = cli(&server, &arguments).succeeds();
    let words = format!("edgebus jobs cancel {} --discard-pending", other["id"]);
    assert!(said.out.contains(&words), "{}", said.out);
    // Only what a replay made can be let go of so.
    let skip = job["id"].as_u64().unwrap() + 1;
    let path = format!("/v1/jobs/{skip}");
    let body = json!({"state": "cancelled", "discard_pending": true}).to_string();
    let answer = server.request("PATCH", &path, &[("content-type", JSON)], body.as_bytes());
    let detail = answer.expect(409).json()["detail"].to_string();
    assert!(detail.contains("is a skip"), "{detail}");
    assert!(server.stop().success());
}

fn seek(server: &Server, body: &Value) -> Value {
    let path = "/v1/subscriptions/plays%2Fplay/seek";
    let answer = server.post(path, JSON, body.to_string().as_bytes());
    answer.expect(200).json()
}

#[test]
fn a_subscription_is_moved_back() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    for number in 0..4 {
        play(&server, &format!("e{number}"), "count n");
    }
    server.publish("o", "other", &json!({}));
    server.settle();
    let path = "/v1/subscriptions/plays%2Fplay/seek?dry_run=true";
    let body = json!({"to_position": 2}).to_string();
    let counted = server.post(path, JSON, body.as_bytes()).expect(200).json();
    assert_eq!(
        (&counted["skipped"], &counted["replayed"]),
        (&json!(0), &json!(3)),
        "{counted}"
    );
    let done = seek(&server, &json!({"to_position": 2}));
    assert!(done.get("skip").is_none(), "{done}");
    let own = ended(&server, &done["replay"]["id"]);
    assert_eq!(own["done"], 3, "{own}");
    let again = of_replay(&server, &own["id"], "succeeded");
    let positions: Vec<_> = again.keys().copied().collect();
    assert_eq!(positions, [2, 3, 4]);
    assert_eq!(counter(&server, "show", "n"), 7);
    for (body, status, words) in [
        (json!({"to": "2999-01-01T00:00:00Z"}), 400, "in the future"),
        (json!({"to_position": 99}), 400, "behind the newest"),
        (
            json!({"to_position": 0}),
            409,
            "position 0 is before the oldest",
        ),
        (json!({}), 400, "give one of"),
        (
            json!({"to_start": true, "to_end": true}),
            400,
            "give one of",
        ),
    ] {
        let path = "/v1/subscriptions/plays%2Fplay/seek";
        let answer = server.post(path, JSON, body.to_string().as_bytes());
        let (got, text) = (answer.status, answer.text());
        assert!(
            got == status && text.contains(words),
            "{body}: {got} {text}"
        );
    }
    assert!(server.stop().success());
}

#[test]
fn a_subscription_is_moved_forward_and_what_is_skipped_is_kept() {
    let home = Home::new(&manifest("concurrency: 1", "attempts: 5"));
    let server = home.serve();
    // The first one runs while the others are skipped.
    play(&server, "slow", "sleep 1500\ncount n");
    for number in 0..5 {
        play(&server, &format!("e{number}"), "count n");
    }
    let done = seek(&server, &json!({"to_end": true}));
    assert!(done.get("replay").is_none(), "{done}");
    let own = ended(&server, &done["skip"]["id"]);
    let skipped = own["done"].as_u64().unwrap();
    let ended = server.deliveries(Stage::Succeeded).len() as u64;
    let rows = server.list("/v1/deliveries?stage=discarded", "deliveries");
    assert_eq!(rows.len() as u64, skipped);
    assert_eq!(ended + skipped, 6, "none is lost");
    let by = (&rows[0]["discarded"], &rows[0]["job"]);
    assert_eq!(by, (&json!("skipped"), &done["skip"]["id"]));
    // What was skipped has no effect, and what was not has one, once.
    assert_eq!(
        counter(&server, "show", "n"),
        6 - i64::try_from(skipped).unwrap()
    );
    assert!(skipped >= 1, "{own}");
    assert_eq!(server.list("/v1/buses/default/events", "events").len(), 7);
    assert!(server.stop().success());
}

#[test]
fn a_new_rule_starts_in_the_past_once() {
    let text = format!(
        "version: 1\nfunctions:\n  play: {{ component: {} }}\nrules:\n  plays:\n    match: {{ type: [play] }}\n    to: [{{ function: play }}]\n",
        json!(guests::path("hostile"))
    );
    let home = Home::new(&text);
    let server = home.serve();
    for number in 0..3 {
        play(&server, &format!("e{number}"), "count n");
    }
    server.settle();
    let past =
        "  past:\n    match: { type: [play] }\n    from: earliest\n    to: [{ function: play }]\n";
    home.write_manifest(&format!("{text}{past}"));
    let path = home.manifest();
    let said = cli(&server, &["apply", "--yes", path.to_str().unwrap()]).succeeds();
    assert!(
        said.out.contains("past") || said.err.contains("past"),
        "{} {}",
        said.out,
        said.err
    );
    wait_for("the past to be delivered", || {
        let jobs = server.list("/v1/jobs", "jobs");
        jobs.len() == 1 && jobs[0]["state"] == "done"
    });
    server.settle();
    assert_eq!(counter(&server, "show", "n"), 6);
    let again = format!("{text}{past}").replace("from: earliest", "from: now");
    home.write_manifest(&again);
    cli(&server, &["apply", "--yes", path.to_str().unwrap()]).succeeds();
    server.kill();
    let server = home.serve();
    server.settle();
    assert_eq!(server.list("/v1/jobs", "jobs").len(), 1);
    let rows = server.deliveries(Stage::Succeeded);
    assert!(rows.iter().filter(|row| row.replay.is_some()).count() == 3);
    assert!(server.stop().success());
}
