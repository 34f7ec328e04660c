//! `edgebus fsck` on a store with something corrupt: what it says, and what is left afterwards. Golden text
//! is in tests/formats/fsck.

use serde_json::json;

use super::commands::run;
use super::manifest::golden;
use crate::support::server::Home;

const EVENTS: u64 = 8;
const ROTTEN: u64 = 5;

/// Runs `fsck`, and holds all that it says against the golden file; times, and counts that a
/// release may change, are left out.
fn says(home: &Home, more: &[&str], name: &str) {
    let data = home.data();
    let said = run(
        &[&["fsck", "--data", data.to_str().unwrap()], more].concat(),
        "",
    );
    let mut text = format!(
        "$ {}\n",
        [&["edgebus fsck --data ./data"], more].concat().join(" ")
    );
    for line in said.out.lines() {
        let line = match line.strip_prefix("in quarantine since ") {
            Some(rest) => {
                let (_, record) = rest.split_once("Z: ").unwrap();
                format!("in quarantine since TIME: {record}")
            }
            None => match line.split_once(" records, ") {
                Some((_, rest)) => format!("N records, {rest}"),
                None => line.to_owned(),
            },
        };
        text.push_str(&line);
        text.push('\n');
    }
    // How far it is depends on how long it takes.
    for line in said.err.lines().filter(|line| line.starts_with("see: ")) {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(&format!("exit code {}\n", said.code));
    let folder = crate::support::root().join("tests/formats/fsck");
    golden(&folder.join(name), &text);
}

/// A store that was stopped in order, with one event whose data changed in the file.
fn rotten() -> Home {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    for number in 1..=EVENTS {
        let data = json!(format!("find me and flip me {number}"));
        server.publish(&format!("h{number}"), "t", &data);
    }
    assert!(server.stop().success());
    let path = home.data().join("edgebus.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    let word = format!("flip me {ROTTEN}");
    let places: Vec<usize> = (0..bytes.len() - word.len())
        .filter(|at| bytes[*at..].starts_with(word.as_bytes()))
        .collect();
    // Old pages hold copies.
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    home
}

#[test]
fn fsck_moves_to_quarantine_when_asked_to_and_lists_it() {
    let home = rotten();
    says(&home, &[], "corrupt.txt");
    // Nothing was moved.
    says(&home, &[], "corrupt.txt");
    says(&home, &["--quarantine"], "moved.txt");
    says(&home, &["--quarantine"], "nothing-to-move.txt");
    says(&home, &[], "in-quarantine.txt");
    // It counts as stopped in order, and everything else is there.
    let server = home.serve();
    let ready = server.get("/readyz?verbose");
    assert_eq!(ready.status, 200, "{}", ready.text());
    let words = "degraded: 1 corrupt records are in quarantine";
    assert!(ready.text().contains(words), "{}", ready.text());
    for position in 1..=EVENTS {
        let answer = server.get(&format!("/v1/buses/default/events/{position}"));
        let status = if position == ROTTEN { 500 } else { 200 };
        assert_eq!(answer.status, status, "{position}: {}", answer.text());
    }
    assert_eq!(server.publish("new", "t", &json!(1)), EVENTS + 1);
    assert!(server.stop().success());
    says(&home, &[], "in-quarantine.txt");
}
