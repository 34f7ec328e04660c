//! How a bus starts, is reloaded and stops: health from the first moment, signals at any time, and the
//! manifest file against what is active.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use edgebus_client::api::Stage;
use rustix::process::Signal;
use serde_json::json;

use crate::support::guests;
use crate::support::http::{self, Answer};
use crate::support::server::{Home, Server, signal_to, wait_for};

/// A component that takes long to compile, and is no function.
fn slow_component() -> Vec<u8> {
    let mut text = "(component (core module\n".to_owned();
    for number in 0..60_000 {
        text.push_str(&format!(
            "(func (param i32) (result i32) local.get 0 i32.const {number} i32.mul)\n"
        ));
    }
    text.push_str("))");
    wat::parse_str(text).unwrap()
}

/// A process whose start goes on.
struct Starting {
    child: Child,
    address: SocketAddr,
}

impl Starting {
    fn of(command: &mut Command) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = command
            .args(["--listen", &address.to_string()])
            .spawn()
            .unwrap();
        Self { child, address }
    }

    fn get(&self, path: &str) -> Option<Answer> {
        http::try_request(self.address, "GET", path, &[], b"")
    }

    fn verbose(&self) -> String {
        self.get("/readyz?verbose")
            .map_or_else(String::new, |answer| answer.text())
    }

    /// How it ended within the time that a stop may take.
    fn ends(&mut self) -> ExitStatus {
        let began = Instant::now();
        let status = self.child.wait().unwrap();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "it took {took:?}");
        status
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command without the manifest's own address.
fn command(home: &Home) -> Command {
    let own = home.command();
    let mut command = Command::new(own.get_program());
    let mut arguments = own.get_args().peekable();
    while let Some(argument) = arguments.next() {
        if argument == "--listen" {
            arguments.next();
        } else {
            command.arg(argument);
        }
    }
    command.env("EDGEBUS_LOG", "warn");
    command
}

#[test]
fn health_answers_during_a_start_and_signals_end_it() {
    let home = Home::new("version: 1\nfunctions: { slow: { component: slow.wasm } }\n");
    let folder = home.manifest().parent().unwrap().to_owned();
    std::fs::write(folder.join("slow.wasm"), slow_component()).unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut starting = Starting::of(&mut command(&home));
        wait_for("the start to tell where it is", || {
            starting
                .verbose()
                .contains("the bus is starting: applying the manifest")
        });
        for path in ["/livez", "/version", "/metrics"] {
            starting.get(path).unwrap().expect(200);
        }
        starting.get("/readyz").unwrap().expect(503);
        let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
        let kind = [("content-type", "application/cloudevents+json")];
        let body = event.to_string();
        for (method, path) in [("POST", "/v1/events"), ("GET", "/v1/rules"), ("GET", "/x")] {
            let answer = http::try_request(starting.address, method, path, &kind, body.as_bytes());
            let answer = answer.unwrap().expect(503);
            assert!(answer.header("retry-after").is_some(), "{path}");
            let problem = answer.json();
            assert_eq!(problem["code"], "EB0311", "{path}");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with("the bus is starting: "), "{detail}");
        }
        // A reload has nothing to do yet, and kills nobody.
        signal_to(&starting.child, Signal::HUP);
        starting.get("/livez").unwrap().expect(200);
        signal_to(&starting.child, signal);
        let status = starting.ends();
        assert!(status.success(), "{signal:?}: {status}");
    }
    // Nothing is left incomplete, and the store was closed cleanly.
    home.write_manifest("version: 1\nbuses: { other: {} }\n");
    let server = home.serve();
    assert_eq!(server.functions(), []);
    assert!(server.stop().success());
}

/// A bus that says on its standard error what it does, into a file.
fn telling(home: &Home, told: &str) -> Server {
    let file = File::create(home.manifest().with_file_name(told)).unwrap();
    Server::start(home.command().env("EDGEBUS_LOG", "info").stderr(file))
}

fn told(home: &Home, file: &str) -> String {
    std::fs::read_to_string(home.manifest().with_file_name(file)).unwrap()
}

#[test]
fn a_manifest_file_is_taken_only_when_it_changed() {
    let home = Home::new("version: 1\nbuses: { one: {} }\n");
    let buses = |server: &Server| server.get("/v1/manifest").expect(200).text();
    let server = telling(&home, "1.log");
    assert!(server.stop().success());
    let first = told(&home, "1.log");
    assert!(
        first.contains("edgebus.yaml is applied: 1 change\n  + bus one"),
        "{first}"
    );
    // Another manifest is applied over the API, and the file does not replace it.
    let server = telling(&home, "2.log");
    let second = told(&home, "2.log");
    assert!(
        second.contains("is unchanged since it was applied on 20"),
        "{second}"
    );
    assert!(second.contains("; the active one stays"), "{second}");
    let other = b"version: 1\nbuses: { two: {} }\n";
    server
        .request(
            "PUT",
            "/v1/manifest",
            &[("content-type", "application/yaml")],
            other,
        )
        .expect(200);
    server.kill();
    let server = telling(&home, "3.log");
    assert!(told(&home, "3.log").contains("the active one stays"));
    assert!(buses(&server).contains("two"), "{}", buses(&server));
    assert!(server.stop().success());
    // A change of the file is applied, whatever came over the API.
    home.write_manifest("version: 1\nbuses: { three: {} }\n");
    let server = telling(&home, "4.log");
    assert!(told(&home, "4.log").contains("is applied: "));
    assert!(buses(&server).contains("three"), "{}", buses(&server));
    assert!(server.stop().success());
    // Without the note of what was applied, it is applied.
    std::fs::remove_file(home.data().join("manifest.applied")).unwrap();
    let server = telling(&home, "5.log");
    assert!(told(&home, "5.log").contains("is applied: nothing differs"));
    assert!(server.stop().success());
}

#[test]
fn a_changed_component_is_a_changed_file() {
    let home = Home::new("version: 1\nfunctions: { f: { component: f.wasm } }\n");
    let file = home.manifest().with_file_name("f.wasm");
    let revision =
        |server: &Server| server.get("/v1/functions/f").expect(200).json()["revision"].clone();
    for (guest, expected) in [("idle", 1), ("idle", 1), ("tally", 2)] {
        std::fs::copy(guests::path(guest), &file).unwrap();
        let server = home.serve();
        assert_eq!(revision(&server), expected, "{guest}");
        wait_for("the component to be compiled", || {
            server.get("/v1/functions/f").json()["state"] == "ready"
        });
        assert!(server.stop().success());
    }
}

#[test]
fn a_hangup_reads_the_secrets_anew_and_kills_nobody() {
    let component = guests::path("hostile");
    let home = Home::new(&format!(
        "version: 1\nfunctions: {{ f: {{ component: {}, secrets: [KEY, OTHER] }} }}\n",
        json!(component.display().to_string())
    ));
    let secrets = home.manifest().with_file_name("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("KEY"), "from a file\n").unwrap();
    let log = File::create(home.manifest().with_file_name("log")).unwrap();
    let mut command = home.command();
    command
        .arg("--secrets")
        .arg(&secrets)
        .env("EDGEBUS_SECRET_KEY", "from the environment")
        .env("EDGEBUS_SECRET_OTHER", "from the environment too")
        .env("EDGEBUS_LOG", "info")
        .stderr(log);
    let server = Server::start(&mut command);
    let says = |name: &str| {
        let data = json!({"do": format!("secret-bytes {name}")});
        let event =
            json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "play", "data": data});
        let kind = "application/cloudevents+json";
        let path = "/v1/functions/f/invoke";
        let answer = server
            .post(path, kind, event.to_string().as_bytes())
            .expect(200);
        answer.json()["output"].as_str().unwrap().to_owned()
    };
    assert!(says("KEY").contains("11 bytes"), "{}", says("KEY"));
    assert!(says("OTHER").contains("24 bytes"));
    std::fs::write(secrets.join("KEY"), "rotated").unwrap();
    assert!(says("KEY").contains("11 bytes"), "only on demand");
    server.signal(Signal::HUP);
    wait_for("the new secret", || says("KEY").contains("7 bytes"));
    let log = told(&home, "log");
    assert!(
        log.contains("the secrets were read again; 1 of the functions got new values"),
        "{log}"
    );
    server.signal(Signal::HUP);
    assert!(server.stop().success());
}

/// What is pending waits for the manifest that the start brings.
#[test]
fn no_old_function_runs_on_what_is_pending() {
    let manifest = |guest: &str| {
        let component = json!(guests::path(guest).display().to_string());
        format!(
            "version: 1
functions:
  f: {{ component: {component}, limits: {{ timeout: 10m }} }}
rules:
  r: {{ match: {{ type: [play] }}, to: [{{ function: f }}] }}
"
        )
    };
    let home = Home::new(&manifest("hostile"));
    let server = home.serve();
    for index in 0..40 {
        server.publish(&format!("e{index}"), "play", &json!({"do": "hang"}));
    }
    server.kill();
    home.write_manifest(&manifest("idle"));
    let server = home.serve();
    server.get("/readyz").expect(200);
    // The old function would hang for ten minutes.
    server.settle();
    assert_eq!(server.deliveries(Stage::Succeeded).len(), 40);
    assert!(server.stop().success());
}
