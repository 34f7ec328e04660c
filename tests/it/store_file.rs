//! The store's folder through the binary: what is made, what is refused, and a disk that is full.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use edgebus_client::api::Stage;
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
    fn mount(mib: u64) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
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

    /// Something else takes the space, to the last byte.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join("other")).unwrap();
        let piece = vec![7; 4096];
        while file.write_all(&piece).is_ok() {}
    }

    /// Something else takes the space and goes on taking it, but leaves this many bytes.
    fn fill_but(&self, left: u64) {
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.path().join("other"))
            .unwrap();
        // Never more than that: a commit without free space stops the bus.
        let disk = rustix::fs::statvfs(self.path()).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        let wanted = usize::try_from(free.saturating_sub(left)).unwrap();
        file.write_all(&vec![7; wanted]).unwrap();
    }

    /// It gives the space back.
    fn empty(&self) {
        std::fs::remove_file(self.path().join("other")).unwrap();
    }

    /// Starts a bus with its data here and this floor.
    fn serve(&self, home: &Home, free_mib_min: &str) -> Server {
        let command = home.command();
        let mut changed = Command::new(command.get_program());
        let mut before = String::new();
        for word in command.get_args() {
            match before.as_str() {
                "--data" => changed.arg(self.path().join("data")),
                "--free-mib-min" => changed.arg(free_mib_min),
                _ => changed.arg(word),
            };
            before = word.to_string_lossy().into_owned();
        }
        changed.env("EDGEBUS_LOG", "error");
        Server::start(changed.stdout(Stdio::piped()).stdin(Stdio::null()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).output();
    }
}

/// A disk of so many MiB; where nothing can be mounted it says so, and there is nothing to test on.
fn mounted(mib: u64) -> Option<Disk> {
    let mounted = Disk::mount(mib);
    if let Err(reason) = &mounted {
        let reason = reason.trim();
        eprintln!("not tested: mounting is not permitted here: {reason}");
    }
    mounted.ok()
}

#[test]
fn a_full_disk_refuses_publishes_and_drains_deliveries() {
    let Some(disk) = mounted(16) else { return };
    let home = Home::new(&deliver::manifest(
        "timeout: 5s, concurrency: 1",
        "attempts: 1",
    ));
    let start = || disk.serve(&home, "6");
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
    let ready = server.get("/readyz?verbose");
    assert_eq!(ready.status, 503);
    for word in ["MiB free", "6.0 MiB", "--free-mib-min", "EB0209"] {
        assert!(ready.text().contains(word), "{}", ready.text());
    }
    server.settle();
    assert_eq!(server.deliveries(Stage::Succeeded).len(), accepted);
    assert!(server.stop().success());
    // A store that starts full opens, and has everything.
    let server = start();
    assert_eq!(server.log().len(), accepted);
}

/// Several small events in one request.
fn batch(ids: std::ops::Range<u32>) -> Vec<u8> {
    let events: Vec<_> = ids
        .map(|id| json!({"specversion": "1.0", "id": format!("b{id}"), "source": "/t", "type": "play", "data": {"do": "ok"}}))
        .collect();
    serde_json::to_vec(&events).unwrap()
}

#[test]
fn a_store_whose_disk_was_filled_by_others_still_drains() {
    const BATCH: &str = "application/cloudevents-batch+json";
    let Some(disk) = mounted(64) else { return };
    let home = Home::new(&deliver::manifest(
        "timeout: 60s, concurrency: 1",
        "attempts: 3",
    ));
    let server = disk.serve(&home, "4");
    // Everything waits behind the first.
    deliver::play(&server, "first", "nap 150");
    for first in (0..2_000).step_by(500) {
        server
            .post("/v1/events", BATCH, &batch(first..first + 500))
            .expect(202);
    }
    assert!(server.deliveries(Stage::Pending).len() > 1_900);
    server.kill();
    disk.fill();
    let server = disk.serve(&home, "4");
    server
        .post("/v1/events", BATCH, &batch(9_000..9_001))
        .expect(507);
    server.settle();
    assert_eq!(server.deliveries(Stage::Succeeded).len(), 2_001);
    assert!(server.deliveries(Stage::Dead).is_empty());
    assert_eq!(server.get("/readyz").status, 503);
    disk.empty();
    wait_for("room", || server.get("/readyz").status == 200);
    server
        .post("/v1/events", BATCH, &batch(9_000..9_001))
        .expect(202);
    let ballast = disk.path().join("data/edgebus.ballast");
    wait_for("the ballast", || ballast.exists());
    assert!(server.stop().success());
}

#[test]
fn at_the_critical_level_nothing_begins_and_nothing_dies() {
    const BATCH: &str = "application/cloudevents-batch+json";
    let Some(disk) = mounted(64) else { return };
    let home = Home::new(&deliver::manifest(
        "timeout: 60s, concurrency: 1",
        "attempts: 1",
    ));
    let server = disk.serve(&home, "4");
    // One after the other, so that most of them wait when the disk is full.
    let naps: Vec<_> = (0..200)
        .map(|id| json!({"specversion": "1.0", "id": format!("n{id}"), "source": "/t", "type": "play", "data": {"do": "nap 2"}}))
        .collect();
    let naps = serde_json::to_vec(&naps).unwrap();
    server.post("/v1/events", BATCH, &naps).expect(202);
    let subscription = || server.get("/v1/subscriptions").json()["subscriptions"][0].take();
    // The ballast is a sixteenth of this disk, and the level a quarter of the ballast: 1 MiB.
    wait_for("the critical level", || {
        disk.fill_but(512 << 10);
        subscription()["situation"] == "paused"
    });
    assert!(!disk.path().join("data/edgebus.ballast").exists());
    // What ran is settled, and nothing else begins.
    let refused = |ids: std::ops::Range<u32>| {
        for id in ids {
            let one = batch(id..id + 1);
            server.post("/v1/events", BATCH, &one).expect(507);
        }
        server.deliveries(Stage::Pending).len()
    };
    let mut pending = 0;
    wait_for("the end of what ran", || {
        std::mem::replace(&mut pending, refused(9_000..9_050)) == pending
    });
    assert!(pending > 0, "all ran before the disk was full");
    assert_eq!(refused(9_050..9_200), pending);
    assert!(server.deliveries(Stage::Dead).is_empty());
    assert_eq!(server.get("/readyz").status, 503);
    disk.empty();
    server.settle();
    assert_eq!(server.deliveries(Stage::Succeeded).len(), 200);
    assert!(server.deliveries(Stage::Dead).is_empty());
    assert!(server.stop().success());
}

#[test]
fn a_small_disk_takes_events_with_the_usual_floor() {
    let Some(disk) = mounted(8) else { return };
    let home = Home::new("version: 1\n");
    let mut command = Command::new(crate::support::server::binary());
    command.args(["serve", "--create", "--listen", "127.0.0.1:0", "--data"]);
    command
        .arg(disk.path())
        .arg("--manifest")
        .arg(home.manifest());
    let server = Server::start(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    assert_eq!(server.get("/readyz").status, 200);
    assert_eq!(server.publish("a", "t", &json!(1)), 1);
    assert!(server.stop().success());
}

#[test]
fn create_refuses_a_folder_that_holds_other_things() {
    let home = Home::new("version: 1\n");
    std::fs::create_dir(home.data()).unwrap();
    std::fs::create_dir(home.data().join("lost+found")).unwrap();
    std::fs::write(home.data().join("readme"), "mine").unwrap();
    refused(&home, &["EB0211", "readme", "empty folder", "--data"]);
    assert_eq!(std::fs::read_dir(home.data()).unwrap().count(), 2);
    std::fs::remove_file(home.data().join("readme")).unwrap();
    assert!(home.serve().stop().success());
}

/// The rights of the folder and of everything in it that others have.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mode = std::fs::metadata(folder).unwrap().permissions().mode();
    if mode & 0o077 != 0 {
        found.push(format!("{} {mode:o}", folder.display()));
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(open_to_others(&path));
        } else {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            if mode & 0o077 != 0 {
                found.push(format!("{} {mode:o}", path.display()));
            }
        }
    }
    found
}

#[test]
fn the_data_is_for_its_owner_alone() {
    // With a component, so that compiled code is kept, too.
    let home = Home::new(&deliver::manifest("timeout: 5s", "attempts: 1"));
    let command = home.command();
    let serve = || {
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 0; exec \"$0\" \"$@\""]);
        shell.arg(command.get_program()).args(command.get_args());
        Server::start(shell.stdin(Stdio::null()).stdout(Stdio::piped()))
    };
    let server = serve();
    deliver::play(&server, "a", "ok");
    server.settle();
    assert_eq!(open_to_others(&home.data()), Vec::<String>::new());
    assert!(server.stop().success());
    // Files of an earlier release are made private. The folder's rights are the operator's decision.
    for name in ["edgebus.redb", "edgebus.id"] {
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(home.data().join(name), open).unwrap();
    }
    assert_eq!(open_to_others(&home.data()).len(), 2);
    assert!(serve().stop().success());
    assert_eq!(open_to_others(&home.data()), Vec::<String>::new());
}
