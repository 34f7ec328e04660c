//! `edgebus dev`: from a change of a file to the changed reply, with every error on the way.

use std::process::Command;

use edgebus_client::Client;
use edgebus_client::api::{DeliveryQuery, EventQuery, Stage};
use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::json;

use super::deliver;
use crate::support::http;
use crate::support::project::{Dev, Project, clean};
use crate::support::server::{Home, binary, done, signal_to, wait_for};

const SOURCE: &str = "functions/hello/src/lib.rs";

fn hello(dev: &Dev, project: &Project) {
    let event = project.folder.join("events/hello.json");
    dev.publish(&["--file", event.to_str().unwrap(), "--new-id"]);
}

/// How many events the log has.
fn events(dev: &Dev) -> usize {
    let query = EventQuery {
        limit: Some(1_000),
        ..EventQuery::default()
    };
    done(client(dev).bus("default").events(&query)).events.len()
}

/// How many deliveries are in a stage.
fn deliveries(dev: &Dev, stage: Stage) -> usize {
    let mut query = DeliveryQuery {
        stage: Some(stage),
        ..DeliveryQuery::default()
    };
    let mut count = 0;
    loop {
        let page = done(client(dev).deliveries(&query));
        count += page.deliveries.len();
        query.filter.after = page.next;
        if query.filter.after.is_none() {
            return count;
        }
    }
}

fn client(dev: &Dev) -> Client {
    Client::new(&format!("http://{}", dev.address)).unwrap()
}

/// The whole of a first day, in one project, because building it is what takes time.
#[test]
fn a_function_is_changed_broken_and_fixed_while_it_serves() {
    let project = Project::init("rust");
    project.cargo(&["test", "--quiet"]);
    let mut dev = project.dev(&[]);
    dev.hears("active, built in");
    hello(&dev, &project);
    dev.hears("com.example.hello #1 → greet");
    dev.hears("greet → hello → success  [ran ");
    dev.hears("| INFO greeting 1 for Ada");
    dev.hears("com.example.greeting #2");
    dev.hears(r#"{"text":"Hello, Ada!"}"#);
    // Its own reply goes nowhere, and it says why.
    dev.hears("no rule matched; nearest: `greet`, type: wanted \"com.example.hello\"");

    project.edit(SOURCE, "{greeting}, {name}!", "{greeting}, dear {name}!");
    dev.hears("~ function hello");
    hello(&dev, &project);
    dev.hears(r#"{"text":"Hello, dear Ada!"}"#);
    a_broken_source(&mut dev, &project);
    a_broken_manifest(&mut dev, &project);
    publishing_goes_on_over_reloads(&mut dev, &project);
    let events = events(&dev);
    assert!(dev.stop().success());
    a_new_start_with_an_error(&project, events);
}

fn a_broken_source(dev: &mut Dev, project: &Project) {
    let good = project.read(SOURCE);
    project.edit(SOURCE, "log::info!", "log::loud!");
    dev.hears("error: hello can't be built: `cargo build --release --target wasm32-wasip2` failed");
    dev.hears("error[E0433]");
    dev.hears("--> functions/hello/src/lib.rs:");
    dev.hears("still serving the last good version");
    hello(dev, project);
    dev.hears(r#"{"text":"Hello, dear Ada!"}"#);
    assert!(!dev.heard("   Compiling"), "progress is not what it says");
    project.write(SOURCE, &good);
    dev.hears("active, built in");
}

fn a_broken_manifest(dev: &mut Dev, project: &Project) {
    let good = project.read("edgebus.yaml");
    project.edit("edgebus.yaml", "{ exists: true }", "{ exist: true }");
    dev.hears("error: the manifest has errors; nothing was changed");
    dev.hears("edgebus.yaml:17:24: ");
    dev.hears("^^^^^");
    dev.hears("help: ");
    dev.hears("still serving the last good version");
    hello(dev, project);
    dev.hears(r#"{"text":"Hello, dear Ada!"}"#);
    project.write(
        "edgebus.yaml",
        &good.replace("GREETING: Hello", "GREETING: Good day"),
    );
    dev.hears("active: ~ function hello");
    hello(dev, project);
    dev.hears(r#"{"text":"Good day, dear Ada!"}"#);
    dev.publish(&[
        "--type",
        "com.example.hello",
        "--source",
        "/x",
        "--data",
        "{}",
    ]);
    dev.hears("no rule matched; nearest: `greet`, data.name: wanted any value; saw nothing");
}

/// Publishes without a pause while the function is built and exchanged twice.
fn publishing_goes_on_over_reloads(dev: &mut Dev, project: &Project) {
    let before = deliveries(dev, Stage::Succeeded);
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
    let address = dev.address;
    let publisher = std::thread::spawn(move || {
        let mut count = 0;
        while count < 20 || stopped.try_recv().is_err() {
            let event = json!({"specversion": "1.0", "id": format!("busy-{count}"), "source": "/busy", "type": "com.example.hello", "data": {"name": "Bo"}});
            let answer = http::try_request(
                address,
                "POST",
                "/v1/events",
                &[("content-type", "application/cloudevents+json")],
                event.to_string().as_bytes(),
            );
            answer.unwrap().expect(202);
            count += 1;
        }
        count
    });
    project.edit(SOURCE, "dear {name}!", "dearest {name}!");
    dev.hears("~ function hello");
    project.edit("edgebus.yaml", "Good day", "Hi");
    dev.hears("active: ~ function hello");
    stop.send(()).unwrap();
    let count = publisher.join().unwrap();
    wait_for("every delivery to end", || {
        deliveries(dev, Stage::Pending) == 0
    });
    let after = deliveries(dev, Stage::Succeeded);
    assert_eq!(after - before, count, "each event was handled once");
}

fn a_new_start_with_an_error(project: &Project, events: usize) {
    project.edit("edgebus.yaml", "version: 1", "version: 2");
    let mut dev = project.dev(&["--no-build"]);
    dev.hears("edgebus.yaml:2:10: this version of the manifest is not known");
    dev.hears("still serving the last good version");
    let kept = self::events(&dev);
    assert_eq!(kept, events, "the log is what it was");
    hello(&dev, project);
    dev.hears(r#"{"text":"Hi, dearest Ada!"}"#);
    project.edit("edgebus.yaml", "version: 2", "version: 1");
    dev.hears("active: ");
    assert!(dev.stop().success());
}

/// `dev` on this home's manifest, with a store of its own that is gone in the end.
fn ephemeral(home: &Home) -> Dev {
    let mut command = Command::new(binary());
    clean(&mut command)
        .args(["dev", "--ephemeral", "--listen", "127.0.0.1:0"])
        .arg("--manifest")
        .arg(home.manifest());
    Dev::start(&mut command)
}

#[test]
fn failures_say_what_is_next() {
    let home = Home::new(&deliver::manifest("timeout: 5s", "attempts: 2"));
    let mut dev = ephemeral(&home);
    let store = dev.hears("(removed at the end)");
    let store = store.split_whitespace().nth(1).unwrap().to_owned();
    assert!(std::path::Path::new(&store).is_dir());
    let play = |script: &str| json!({ "do": script }).to_string();
    let send = |dev: &Dev, script: &str| {
        dev.publish(&["--type", "play", "--source", "/x", "--data", &play(script)]);
    };
    send(&dev, "log before\ntrap here");
    dev.hears("play #1 → plays");
    dev.hears("plays → play → trap: panicked");
    dev.hears("at hostile::fall_over");
    dev.hears("| INFO before");
    dev.hears("the guest fell over: here");
    let last = dev.hears("dead letter after attempt 2 (attempts-exhausted)");
    assert!(last.contains("trap: "), "{last}");
    send(&dev, "retry 20 busy");
    let first = dev.hears("retry: busy; attempt 2 in ");
    assert!(first.contains(" ms"), "{first}");
    send(&dev, "reject never");
    dev.hears("reject: never; dead letter after attempt 1 (rejected)");
    assert!(dev.stop().success());
    assert!(
        !std::path::Path::new(&store).exists(),
        "{store} is there still"
    );
}

/// The terminal was closed: an orderly end, without anything left behind.
#[test]
fn a_hangup_ends_it_and_its_builds() {
    let home = Home::new("version: 1\n");
    let mut dev = ephemeral(&home);
    let store = dev.hears("(removed at the end)");
    let store = store.split_whitespace().nth(1).unwrap().to_owned();
    assert!(dev.end_by(Signal::HUP).success());
    assert!(!std::path::Path::new(&store).exists(), "{store}");

    let pid = home.data();
    let build = format!("echo $$ > {}; exec sleep 600", pid.display());
    home.write_manifest(&format!(
        "version: 1\nfunctions:\n  f: {{ component: f.wasm, build: {{ command: '{build}', watch: [.] }} }}\n"
    ));
    let mut command = Command::new(binary());
    clean(&mut command)
        .args(["dev", "--ephemeral", "--listen", "127.0.0.1:0"])
        .arg("--manifest")
        .arg(home.manifest());
    let mut child = command.spawn().unwrap();
    let building = || {
        let text = std::fs::read_to_string(&pid).ok()?;
        text.trim().parse::<i32>().ok()
    };
    wait_for("the build to begin", || building().is_some());
    signal_to(&child, Signal::HUP);
    assert!(child.wait().unwrap().success());
    let build = Pid::from_raw(building().unwrap()).unwrap();
    wait_for("the build to end", || test_kill_process(build).is_err());
}

#[test]
fn a_start_with_an_error_waits_until_it_is_fixed() {
    let home = Home::new("version: 1\nrules: { r: {} }\n");
    let mut dev = ephemeral(&home);
    dev.hears("edgebus.yaml:2:");
    dev.hears("nothing is active yet");
    home.write_manifest("version: 1\nbuses: { other: {} }\n");
    dev.hears("active: + bus other");
    dev.publish(&["--bus", "other", "--type", "t", "--source", "/s"]);
    dev.hears("t #1 on other");
    dev.hears("no rule matched: the bus `other` has no rules");
    std::fs::remove_file(home.manifest()).unwrap();
    dev.hears("can't be read");
    dev.hears("still serving the last good version");
    assert!(dev.stop().success());
}

#[test]
fn what_is_not_the_projects_fault_ends_it() {
    let home = Home::new("version: 1\n");
    let dev = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        clean(&mut command).arg("dev").args(arguments);
        command
            .current_dir(home.data().parent().unwrap())
            .output()
            .unwrap()
    };
    let says = |output: std::process::Output, code: i32, words: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
    };
    says(dev(&["--manifest", "no.yaml"]), 78, "`edgebus init`");
    says(dev(&["--listen", "0.0.0.0:0"]), 78, "loopback");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    says(dev(&["--listen", &address]), 1, "--listen");
    std::fs::write(home.data(), "no folder").unwrap();
    says(
        dev(&["--listen", "127.0.0.1:0", "--data", "data"]),
        1,
        "store",
    );
}
