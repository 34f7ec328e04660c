//! The store's folder through the binary: what is made, what is refused, and a disk that is full.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::deliver;
use crate::support::server::{Home, Server, wait_for};

/// Serving fails with 1 and says all of `words`.
fn refused(home: &Home, words: &[&str]) {
    let output = home.command().stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not said: {said}");
    }
}

fn file(home: &Home) -> PathBuf {
    home.data().join("edgebus.redb")
}

/// A home whose store holds one event, stopped in order.
fn used() -> Home {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    server.publish("kept", "t", &json!(1));
    assert!(server.stop().success());
    home
}

#[test]
fn create_never_touches_a_store_that_is_there() {
    let home = used();
    let id = std::fs::read(home.data().join("edgebus.id")).unwrap();
    let server = home.serve();
    assert_eq!(
        server.get("/v1/buses/default/events/1").json()["event"]["id"],
        "kept"
    );
    assert_eq!(server.publish("kept", "t", &json!(1)), 1);
    assert!(server.stop().success());
    assert_eq!(std::fs::read(home.data().join("edgebus.id")).unwrap(), id);
}

#[test]
fn without_create_nothing_is_made() {
    let home = Home::new("version: 1\n");
    let output = Command::new(crate::support::server::binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(home.data())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--create"));
    assert!(!home.data().exists());
}

#[test]
fn an_empty_foreign_or_missing_file_is_refused_and_left() {
    for (content, word) in [
        ("", "is empty"),
        ("SQLite format 3\0", "is not a store's file"),
        ("redb", "is not a store's file"),
    ] {
        let home = used();
        std::fs::write(file(&home), content).unwrap();
        refused(&home, &[word, "edgebus.redb"]);
        assert_eq!(std::fs::read(file(&home)).unwrap(), content.as_bytes());
    }
    let home = used();
    std::fs::remove_file(file(&home)).unwrap();
    refused(&home, &["edgebus.redb"]);
    assert!(!file(&home).exists());
    let home = used();
    std::fs::remove_file(home.data().join("edgebus.id")).unwrap();
    refused(&home, &["edgebus.id"]);
}

#[test]
fn the_file_of_another_store_is_refused() {
    let (home, other) = (used(), used());
    std::fs::copy(file(&other), file(&home)).unwrap();
    let before = std::fs::read(file(&home)).unwrap();
    refused(&home, &["another"]);
    assert!(
        std::fs::read(file(&home)).unwrap() == before,
        "the file was changed"
    );
}

#[test]
fn a_store_in_use_is_refused() {
    let home = used();
    let server = home.serve();
    refused(&home, &["in use by another process"]);
    server.publish("still", "t", &json!(2));
}

/// A small disk of its own; taken away when dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(folder.path())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self { folder })
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).output();
    }
}

#[test]
fn a_full_disk_refuses_publishes_and_drains_deliveries() {
    let disk = match Disk::mount() {
        Ok(disk) => disk,
        Err(reason) => {
            eprintln!(
                "not tested: mounting is not permitted here: {}",
                reason.trim()
            );
            return;
        }
    };
    let home = Home::new(&deliver::manifest(
        "timeout: 5s, concurrency: 1",
        "attempts: 1",
    ));
    let start = || {
        let mut command = home.command();
        let arguments: Vec<String> = command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let data = disk.path().join("data");
        let mut changed = Command::new(command.get_program());
        for (index, word) in arguments.iter().enumerate() {
            let before = index
                .checked_sub(1)
                .map_or("", |before| arguments[before].as_str());
            match before {
                "--data" => changed.arg(&data),
                "--free-mib-min" => changed.arg("6"),
                _ => changed.arg(word),
            };
        }
        command = changed;
        Server::start(command.stdout(Stdio::piped()).stdin(Stdio::null()))
    };
    let server = start();
    let fill = "x".repeat(64 << 10);
    let mut accepted = 0;
    let refused = loop {
        let event = json!({"specversion": "1.0", "id": format!("f{accepted}"), "source": "/t", "type": "play", "data": {"do": "ok", "fill": fill}});
        let answer = server.post(
            "/v1/events",
            "application/cloudevents+json",
            event.to_string().as_bytes(),
        );
        if answer.status != 202 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 1_000, "it never filled");
    };
    assert!([503, 507].contains(&refused.status), "{}", refused.text());
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds > 0);
    assert!(accepted > 0);
    server.settle();
    assert_eq!(server.deliveries("succeeded").len(), accepted);
    assert!(server.stop().success());
    // A store that starts full opens, and has everything.
    let server = start();
    wait_for("the start", || server.get("/readyz").status == 200);
    assert_eq!(
        server.list("/v1/buses/default/events", "events").len(),
        accepted
    );
}
