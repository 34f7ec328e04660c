//! Dead letters come back, or are let go: by id, by selection, paced, and through `kill -9`.

use serde_json::{Value, json};

use super::commands::{Said, run};
use super::deliver::{counter, manifest, play};
use crate::support::server::{Home, Server, wait_for};

fn told(server: &Server, arguments: &[&str]) -> Said {
    let url = format!("http://{}", server.address);
    run(&[arguments, &["--url", &url]].concat(), "")
}

fn dead(server: &Server) -> Vec<Value> {
    server.list("/v1/dead-letters", "dead_letters")
}

fn ids(letters: &[Value]) -> Vec<&str> {
    let ids = letters.iter().map(|letter| letter["id"].as_str().unwrap());
    ids.collect()
}

/// What is dead after one attempt lives with two.
const SECOND: &str = "until 2\ncount n\nemit other";

/// Copies of dead letters, of some and of all.
fn exports(home: &Home, server: &Server) {
    let copies = told(server, &["dead-letters", "export", "--reason", "rejected"]).succeeds();
    let copies: Vec<Value> = copies
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(ids(&copies), ["1-1", "1-4"]);
    assert_eq!(copies[1]["event"]["data"]["n"], 7);
    assert_eq!(copies[0]["attempts"][0]["message"], "no");
    let file = home.data().with_file_name("dead.jsonl");
    let words = ["dead-letters", "export", "--file", file.to_str().unwrap()];
    assert!(
        told(server, &words)
            .succeeds()
            .err
            .contains("4 dead letters exported")
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 4);
}

/// The two purges, as jobs.
fn purges_are_listed(server: &Server) {
    let jobs = told(server, &["jobs", "ls"]).succeeds().out;
    let lines: Vec<&str> = jobs.lines().collect();
    assert!(
        lines[1].trim_start().starts_with('2') && lines[2].contains("100 %"),
        "{jobs}"
    );
    assert!(
        lines[1].contains("type again") && lines[2].contains("1-2 and 1 more"),
        "{jobs}"
    );
    told(server, &["jobs", "pause", "2"]).fails(1, &["409", "it is done"]);
    told(server, &["jobs", "get", "9"]).fails(1, &["404", "there is no job 9"]);
}

/// Nothing says which: nothing is done. Nor is it by a dry run.
fn nothing_is_taken_without_a_selection(server: &Server) {
    for verb in ["redrive", "purge"] {
        told(server, &["dead-letters", verb]).fails(2, &["--all", verb]);
        let words = ["dead-letters", verb, "--rule", "none"];
        told(server, &words).fails(1, &["404", "none"]);
        told(server, &["dead-letters", verb, "x"]).fails(1, &["/ids/0"]);
        let words = ["dead-letters", verb, "--reason", "rejected", "--dry-run"];
        let shown = told(server, &words).succeeds().out;
        assert!(
            shown.contains(&format!("{verb} would take 2 dead letters")),
            "{shown}"
        );
        assert!(
            shown.contains("1-1  rejected  plays/play  play  reject: no"),
            "{shown}"
        );
    }
}

#[test]
fn dead_letters_are_selected_shown_and_purged() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    for (id, script) in [("a", "reject no"), ("b", "trap oh"), ("c", SECOND)] {
        play(&server, id, script);
    }
    server.publish("d", "again", &json!({"do": "reject no", "n": 7}));
    server.settle();
    let lists = |arguments: &[&str]| {
        let said = told(
            &server,
            &[&["dead-letters", "ls", "-o", "json"], arguments].concat(),
        );
        let rows: Vec<Value> = serde_json::from_str(&said.succeeds().out).unwrap();
        ids(&rows).join(" ")
    };
    let table: [(&[&str], &str); 9] = [
        (&[], "1-4 1-3 1-2 1-1"),
        (&["--oldest-first"], "1-1 1-2 1-3 1-4"),
        (&["--reason", "rejected"], "1-4 1-1"),
        (&["--type", "again"], "1-4"),
        (&["--match", r#"{"data":{"n":[7]}}"#], "1-4"),
        (&["--rule", "plays", "--limit", "2"], "1-4 1-3"),
        (
            &["--subscription", "1", "--reason", "attempts-exhausted"],
            "1-3 1-2",
        ),
        (&["--since", "1h"], "1-4 1-3 1-2 1-1"),
        (&["--until", "1h"], ""),
    ];
    for (arguments, expected) in table {
        assert_eq!(lists(arguments), expected, "{arguments:?}");
    }
    told(&server, &["dead-letters", "ls", "--reason", "tired"]).fails(2, &["rejected"]);
    told(&server, &["dead-letters", "ls", "--match", "{"]).fails(1, &["400", "/match"]);

    nothing_is_taken_without_a_selection(&server);
    assert_eq!(dead(&server).len(), 4);
    let preview = [
        "dead-letters",
        "purge",
        "--all",
        "--limit",
        "3",
        "--dry-run",
        "-o",
        "json",
    ];
    let preview: Value = serde_json::from_str(&told(&server, &preview).succeeds().out).unwrap();
    assert_eq!(
        (&preview["selected"], &preview["whole"]),
        (&json!(3), &json!(true))
    );

    exports(&home, &server);

    // One that is named is skipped: that is not what was asked for.
    let purged = told(&server, &["dead-letters", "purge", "1-2", "1-9", "--wait"]);
    assert_eq!(purged.out, "1 dead letter purged, 1 skipped (1 gone)\n");
    assert_eq!(purged.code, 1, "{}", purged.err);
    let again = told(&server, &["jobs", "get", "1", "--wait"]);
    assert_eq!(again.code, 1, "{}{}", again.out, again.err);
    told(&server, &["jobs", "get", "1"]).succeeds();
    let redriven = told(
        &server,
        &["dead-letters", "redrive", "1-2", "1-9", "--dry-run"],
    );
    let words = "redrive would take 0 dead letters, of 2 looked at; nothing was changed\nit would skip 2: 2 gone\n";
    assert_eq!(redriven.succeeds().out, words);
    assert_eq!(ids(&dead(&server)), ["1-1", "1-3", "1-4"]);
    let gone = server.get("/v1/deliveries/1-2").expect(200).json();
    assert_eq!(
        (&gone["stage"], &gone["discarded"]),
        (&json!("discarded"), &json!("purged"))
    );
    let story = told(&server, &["deliveries", "get", "1-2"]).succeeds().out;
    assert!(story.contains("purged by job 1"), "{story}");
    let table = told(&server, &["deliveries", "ls", "--stage", "discarded"])
        .succeeds()
        .out;
    assert!(table.contains("1-2") && !table.contains("1-1"), "{table}");
    let said = told(&server, &["dead-letters", "purge", "--type", "again"])
        .succeeds()
        .out;
    assert!(
        said.starts_with("job 2 looks at 3 dead letters to purge"),
        "{said}"
    );
    told(&server, &["jobs", "get", "2", "--wait"]).succeeds();
    assert_eq!(ids(&dead(&server)), ["1-1", "1-3"]);

    purges_are_listed(&server);
    // The store is whole, with what was purged and what is left.
    assert!(server.stop().success());
    let data = home.data();
    run(&["fsck", "--data", data.to_str().unwrap()], "").succeeds();
}

#[test]
fn a_redrive_tells_what_became_of_each() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    play(&server, "a", SECOND);
    play(&server, "b", "reject no");
    server.settle();
    let before = server.get("/v1/dead-letters/1-1").expect(200).json();
    assert_eq!(before["deaths"], 1);
    // Nothing was repaired: it dies again, and the command says so.
    let said = told(&server, &["dead-letters", "redrive", "1-1", "--wait"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(
        said.out
            .starts_with("1 dead letter redriven\nof these 0 succeeded, 0 waiting, 1 died again\n"),
        "{}",
        said.out
    );
    let again = server.get("/v1/dead-letters/1-1").expect(200).json();
    assert_eq!(
        (&again["deaths"], &again["attempts_made"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        (&again["died_of"], &again["job"]),
        (&json!("attempts-exhausted"), &json!(1))
    );
    let story = told(&server, &["dead-letters", "get", "1-1"])
        .succeeds()
        .out;
    assert!(
        story.contains("2 times") && story.contains("by job 1"),
        "{story}"
    );

    // The policy allows a second attempt now.
    home.write_manifest(&manifest("timeout: 5s", "attempts: 3"));
    let file = home.manifest();
    let apply = ["apply", file.to_str().unwrap(), "--yes"];
    told(&server, &apply).succeeds();
    let words = ["dead-letters", "redrive", "--all", "--wait", "-o", "json"];
    let said = told(&server, &words);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let job: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        job["results"],
        json!({"succeeded": 1, "waiting": 0, "died": 1})
    );
    let settled = server.get("/v1/deliveries/1-1").expect(200).json();
    assert_eq!(
        (&settled["stage"], &settled["deaths"]),
        (&json!("succeeded"), &json!(2))
    );
    assert_eq!(ids(&dead(&server)), ["1-2"]);
    assert_eq!(counter(&server, "show", "n"), 1);
    // The second one succeeds as soon as nothing rejects it any more: its event is as it was.
    let letter = server.get("/v1/dead-letters/1-2").expect(200).json();
    assert_eq!(letter["event"]["id"], "b");
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains(
            "edgebus_subscription_dead_letters{bus=\"default\",subscription=\"plays/play\"} 1"
        ),
        "{metrics}"
    );
}

#[test]
fn a_redrive_goes_on_through_kill_nine_and_takes_each_once() {
    const LETTERS: u64 = 300;
    let home = Home::new(&manifest("timeout: 5s", "attempts: 1"));
    let server = home.serve();
    for number in 0..LETTERS {
        play(&server, &format!("l{number}"), SECOND);
    }
    server.settle();
    assert_eq!(dead(&server).len() as u64, LETTERS);
    server.kill();
    home.write_manifest(&manifest("timeout: 5s", "attempts: 3"));
    let mut server = home.serve();
    let words = ["dead-letters", "redrive", "--all", "--rate", "100"];
    told(&server, &words).succeeds();
    let done = |server: &Server| {
        server.get("/v1/jobs/1").expect(200).json()["done"]
            .as_u64()
            .unwrap()
    };
    for kill in 1..=3_u64 {
        wait_for("the job to move", || done(&server) >= kill * 40);
        server.kill();
        server = home.serve();
    }
    let moved = done(&server);
    assert!(moved < LETTERS, "it was killed on its way");
    told(&server, &["jobs", "pause", "1"]).succeeds();
    let paused = server.get("/v1/jobs/1").expect(200).json();
    assert_eq!(paused["state"], "paused");
    told(&server, &["jobs", "resume", "1", "--rate", "0", "--wait"]).succeeds();
    let job = server.get("/v1/jobs/1").expect(200).json();
    assert_eq!(
        (&job["state"], &job["done"], &job["skipped"]),
        (&json!("done"), &json!(LETTERS), &json!(0))
    );
    server.settle();
    wait_for("the last result", || {
        let job = server.get("/v1/jobs/1").expect(200).json();
        job["results"] == json!({"succeeded": LETTERS, "waiting": 0, "died": 0})
    });
    assert!(dead(&server).is_empty());
    assert_eq!(
        counter(&server, "show", "n"),
        i64::try_from(LETTERS).unwrap()
    );
    let emitted = server.list("/v1/buses/default/events?type=other", "events");
    assert_eq!(emitted.len() as u64, LETTERS);
    assert!(server.stop().success());
    let data = home.data();
    run(&["fsck", "--data", data.to_str().unwrap()], "").succeeds();
}
