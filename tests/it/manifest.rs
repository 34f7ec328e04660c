//! The commands around a manifest: `validate`, `test`, `apply`, `schema`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use edgebus_client::api::Stage;
use serde_json::{Value, json};

use super::commands::{Said, run};
use super::deliver;
use crate::support::guests;
use crate::support::server::{Home, Server, binary, wait_for};

fn formats(folder: &str) -> PathBuf {
    crate::support::root().join("tests/formats").join(folder)
}

/// Compares with a golden file, or rewrites it with EDGEBUS_REWRITE_GOLDEN set.
pub(crate) fn golden(file: &Path, text: &str) {
    if std::env::var_os("EDGEBUS_REWRITE_GOLDEN").is_some() {
        std::fs::write(file, text).unwrap();
    }
    let golden = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(
        text,
        golden,
        "{} differs; EDGEBUS_REWRITE_GOLDEN=1 rewrites it",
        file.display()
    );
}

/// Each manifest of tests/formats/errors, with all that `validate` says of it.
#[test]
fn errors_read_as_they_did() {
    let folder = formats("errors");
    let mut manifests: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    manifests.sort();
    assert!(manifests.len() >= 5, "{manifests:?}");
    for path in manifests {
        let name = path.file_name().unwrap().to_str().unwrap();
        let said = Said::of(
            &clean(Command::new(binary()))
                .current_dir(&folder)
                .args(["validate", name])
                .output()
                .unwrap(),
        );
        let text = format!(
            "$ edgebus validate {name}\n{}{}exit code {}\n",
            said.err, said.out, said.code
        );
        golden(&path.with_extension("txt"), &text);
    }
}

/// Without what is set around the tests.
fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("EDGEBUS_")) {
        command.env_remove(name);
    }
    command
}

fn path(home: &Home) -> String {
    home.manifest().to_str().unwrap().to_owned()
}

#[test]
fn validate_says_what_a_good_manifest_holds() {
    let text = deliver::manifest("cpu: 1s", "attempts: 3");
    let home = Home::new(&text);
    let file = path(&home);
    let said = run(&["validate", &file], "").succeeds();
    assert_eq!(
        said.out,
        format!("{file} is valid: 1 bus, 1 function, 1 rule, 1 subscription, 0 tests\n")
    );
    assert_eq!(said.err, "");
    let said = run(&["validate", &file, "-o", "json"], "").succeeds();
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["valid"], true);
    assert_eq!(report["holds"]["subscriptions"], 1);
    home.write_manifest(&text.replace(
        "    config:",
        "    allow_http: ['https://example.com']\n    config:",
    ));
    let said = run(&["validate", &file], "").succeeds();
    assert!(
        said.err.contains("warning[not-applied]: `allow_http`"),
        "{}",
        said.err
    );
    run(&["validate", &file, "--deny-warnings"], "")
        .fails(78, &["1 warning, which --deny-warnings refuses"]);
    let allowed = [
        "validate",
        &file,
        "--deny-warnings",
        "--allow",
        "not-applied",
    ];
    assert_eq!(run(&allowed, "").succeeds().err, "");
    run(&["validate", &file, "--allow", "nothing"], "")
        .fails(2, &["no warning has this name; write one of not-applied, "]);
    let said = run(&["validate", &file, "--deny-warnings", "-o", "json"], "");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &report["valid"]), (78, &json!(false)));
    assert_eq!(report["warnings"][0]["line"], 6);
    run(&["validate", "/nowhere.yaml"], "").fails(78, &["/nowhere.yaml", "can't be read"]);
    std::fs::write(home.manifest(), b"version: 1\n# \xff\n").unwrap();
    run(&["validate", &file], "").fails(78, &["line 2 is not UTF-8"]);
}

const TESTED: &str = "version: 1
functions: { f: {} }
rules:
  small: { match: { type: [order], data: { total: [{ numeric: ['<', 10] }] } }, to: [{ function: f }] }
tests:
  - { name: small & cheap, event: { type: order, data: { total: 1 } }, expect: [small] }
  - { name: 'large, and <wrong>', event: { type: order, data: { total: 50 } }, expect: [small] }
";

#[test]
fn tests_run_without_a_bus() {
    let home = Home::new(TESTED);
    let file = path(&home);
    let xml = home.data().with_file_name("report.xml");
    let said = run(&["test", &file, "--junit", xml.to_str().unwrap()], "");
    assert_eq!(said.code, 1, "{}", said.err);
    for line in [
        "ok   small & cheap\n",
        "FAIL large, and <wrong>\n",
        "- small: expected, and it did not match\n",
        "data.total: wanted a number < 10; saw 50\n",
        "2 tests: 1 passed, 1 failed, 2 events in ",
    ] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    check_junit(&xml);
    let said = run(&["test", &file, "--filter", "cheap"], "").succeeds();
    assert!(
        said.out.contains("1 test: 1 passed, 0 failed"),
        "{}",
        said.out
    );
    run(&["test", &file, "--filter", "dear"], "").fails(1, &["`dear`", "2 tests"]);
    let said = run(&["test", &file, "-o", "json"], "");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &report["failed"]), (1, &json!(1)));
    assert_eq!(
        report["tests"][1]["failures"][0]["missed"][0]["rule"],
        "small"
    );
    home.write_manifest("version: 1\n");
    let said = run(&["test", &file], "").succeeds();
    assert!(
        said.err.contains("has no tests") && said.err.contains("expect:"),
        "{}",
        said.err
    );
    home.write_manifest("version: 1\ntest: []\n");
    run(&["test", &file], "").fails(78, &["`tests`"]);
}

/// Python reads the report as build servers do: as XML.
fn check_junit(xml: &Path) {
    let script = "import sys, xml.etree.ElementTree as tree
suites = tree.parse(sys.argv[1]).getroot()
suite = suites.find('testsuite')
cases = suite.findall('testcase')
assert suites.tag == 'testsuites' and suite.get('tests') == '2' and suite.get('failures') == '1'
assert [case.get('name') for case in cases] == ['small & cheap', 'large, and <wrong>']
assert cases[0].find('failure') is None
assert 'small: expected' in cases[1].find('failure').get('message')
assert '\\n' in cases[1].find('failure').text
assert all(float(case.get('time')) >= 0 for case in cases)
";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(xml)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        std::fs::read_to_string(xml).unwrap()
    );
}

#[test]
fn the_samples_are_valid() {
    // Their components are built here, for a component that is not there yet is a warning.
    let built = guests::path("triage");
    let folder = formats("../../samples");
    let said = run(
        &["validate", folder.join("edgebus.yaml").to_str().unwrap()],
        "",
    )
    .succeeds();
    let target = folder.join("../target").canonicalize();
    let built = built.canonicalize().unwrap();
    let in_place = target.is_ok_and(|target| built.starts_with(target));
    assert!(
        !in_place || said.err.is_empty(),
        "the samples are warned of: {}",
        said.err
    );
}

#[test]
fn the_tests_of_the_samples_pass() {
    let manifest = formats("../../samples/edgebus.yaml");
    let said = run(&["test", manifest.to_str().unwrap()], "").succeeds();
    assert!(
        said.out.contains("5 tests: 5 passed, 0 failed"),
        "{}",
        said.out
    );
}

#[test]
fn the_schema_is_printed() {
    let said = run(&["schema"], "").succeeds();
    let schema: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let memory = &schema["properties"]["functions"]["additionalProperties"]["properties"]["limits"]
        ["properties"]["memory"];
    assert_eq!(memory["default"], "64MiB");
}

fn apply(server: &Server, home: &Home, arguments: &[&str]) -> Said {
    let (file, url) = (path(home), format!("http://{}", server.address));
    let mut all = vec!["apply", &file, "--url", &url];
    all.extend(arguments);
    run(&all, "")
}

fn version(server: &Server) -> u64 {
    let answer = server.get("/v1/manifest").expect(200);
    let tag = answer.header("etag").unwrap().trim_matches('"').to_owned();
    tag.parse().unwrap()
}

#[test]
fn a_manifest_is_planned_agreed_to_and_applied_as_one() {
    // What fails once waits for an hour, so that it is pending as long as this test runs.
    let text = deliver::manifest("timeout: 60s", "attempts: 3").replace(
        "initial: 10ms, max: 50ms",
        "initial: 1h, max: 2h, jitter: false",
    );
    let home = Home::new(&text);
    let server = home.serve();
    let said = apply(&server, &home, &["--yes"]).succeeds();
    assert_eq!(
        said.out,
        "nothing to change: rule-set version 1 is active\n"
    );
    for number in 0..3 {
        deliver::play(&server, &format!("n{number}"), "until 9");
    }
    let changed = text
        .replace("GREETING: hello", "GREETING: goodbye")
        .replace("attempts: 3", "attempts: 4")
        .replace(
            "rules:\n",
            &format!(
                "  tally: {{ component: {} }}\nrules:\n  counted: {{ match: {{ type: [count] }}, to: [{{ function: tally }}] }}\n",
                json!(guests::path("tally"))
            ),
        );
    home.write_manifest(&changed);
    let plan = apply(&server, &home, &["--dry-run"]).succeeds();
    for line in [
        "~ function play (config): 3 pending deliveries will run with the new settings; attempts under way end with the old ones\n",
        "+ function tally: added\n",
        "+ rule counted: applies to new events only\n",
        "~ subscription plays/play (retry): 3 pending deliveries will follow the new policy from the next attempt on; due times stay\n",
        "2 to add, 2 to change, 0 to remove; 1 component to send\n",
        "nothing was changed (--dry-run): rule-set version 1 is active\n",
    ] {
        assert!(plan.out.contains(line), "{line}: {}", plan.out);
    }
    apply_without_an_answer(&server, &home);
    assert_eq!(
        (version(&server), server.get("/v1/manifest").text()),
        (1, text.clone())
    );
    let said = apply(&server, &home, &["--yes"]).succeeds();
    assert!(
        said.out
            .ends_with("applied: rule-set version 2 is active\n"),
        "{}",
        said.out
    );
    assert_eq!(server.get("/v1/manifest").text(), changed);
    assert_eq!(server.functions().len(), 2);
    assert_eq!(server.deliveries(Stage::Pending).len(), 3);
    // A new revision of one, and the other leaves; its digest is known and its bytes are not sent.
    home.write_manifest(&text.replace(
        &json!(guests::path("hostile")).to_string(),
        &json!(guests::path("idle")).to_string(),
    ));
    let said = apply(&server, &home, &["--yes", "-o", "json"]).succeeds();
    let done: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&done["applied"], &done["version"]),
        (&json!(true), &json!(3))
    );
    let lines: Vec<String> = done["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| format!("{} {} {}", change["kind"], change["what"], change["name"]))
        .collect();
    assert_eq!(
        lines,
        [
            r#""change" "function" "play""#,
            r#""remove" "function" "tally""#,
            r#""remove" "rule" "counted""#,
            r#""change" "subscription" "plays/play""#,
        ]
    );
    assert_eq!(
        done["changes"][0]["aspects"],
        json!(["component", "config"])
    );
}

fn apply_without_an_answer(server: &Server, home: &Home) {
    let said = apply(server, home, &[]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.out.contains("2 to add"),
        "the plan is shown: {}",
        said.out
    );
    assert!(
        said.err.contains("--yes") && said.err.contains("--dry-run"),
        "{}",
        said.err
    );
}

#[test]
fn nothing_is_applied_by_halves() {
    let text = deliver::manifest("timeout: 5s", "attempts: 3");
    let home = Home::new(&text);
    let server = home.serve();
    // A component that is one by its first bytes alone: the bus refuses it, and the rest with it.
    let broken = home.data().with_file_name("broken.wasm");
    std::fs::write(&broken, b"\0asm\x0d\0\x01\0nothing of use").unwrap();
    home.write_manifest(&format!(
        "{}buses: {{ more: {{}} }}\n",
        text.replace(
            "rules:\n",
            "  broken: { component: broken.wasm }\nrules:\n  more: { to: [{ function: broken }] }\n"
        )
    ));
    let said = apply(&server, &home, &["--yes"]);
    assert_eq!(said.code, 1, "{}\n{}", said.out, said.err);
    assert!(
        said.err.contains("`broken`") && said.err.contains("nothing was changed"),
        "{}",
        said.err
    );
    assert_eq!(
        (version(&server), server.get("/v1/manifest").text()),
        (1, text.clone())
    );
    server.get("/v1/buses/more/events").expect(404);
    // Errors and warnings never reach the bus.
    home.write_manifest("version: 1\nrule: {}\n");
    apply(&server, &home, &["--yes"]).fails(78, &["edgebus.yaml:2:1: ", "`rules`"]);
    home.write_manifest("version: 1\nfunctions: { spare: {} }\n");
    apply(&server, &home, &["--yes", "--deny-warnings"]).fails(78, &["no rule sends", "--deny"]);
    // Without a file nothing is deployed under that name.
    apply(&server, &home, &["--yes"]).fails(1, &["`spare` is not deployed"]);
    let url = format!("http://{}", server.address);
    server.kill();
    home.write_manifest("version: 1\n");
    run(&["apply", &path(&home), "--url", &url], "").fails(1, &[&url, "edgebus serve"]);
}

#[test]
fn components_are_sent_ahead_and_named_by_digest() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let component = guests::component("idle");
    let digest = blake3(&component);
    let manifest = "version: 1\nfunctions: { f: { component: f.wasm } }\nrules: { r: { to: [{ function: f }] } }\n";
    let envelope =
        json!({ "manifest": manifest, "components": { "f": format!("blake3:{digest}") } });
    let envelope = envelope.to_string();
    let put = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        server.request("PUT", path, headers, body)
    };
    let wasm = [("content-type", "application/wasm")];
    let json_type = ("content-type", "application/json");
    // A plan needs no bytes and says which are missing; applying does.
    let plan = put(
        "/v1/manifest?dry_run=true",
        &[json_type],
        envelope.as_bytes(),
    )
    .expect(200);
    assert_eq!(plan.json()["missing"], json!([format!("blake3:{digest}")]));
    assert_eq!(plan.header("etag"), Some("\"1\""));
    let refused = put("/v1/manifest", &[json_type], envelope.as_bytes()).expect(400);
    assert_eq!(
        refused.json()["errors"][0]["pointer"],
        "/functions/f/component"
    );
    assert_eq!(refused.json()["errors"][0]["line"], 2);
    // Staged, it is not deployed.
    let place = format!("/v1/components/{digest}");
    put(&place, &wasm, &component).expect(204);
    put(&place, &wasm, &component).expect(204);
    put(&place, &wasm, b"other").expect(400);
    put("/v1/components/xyz", &wasm, &component).expect(400);
    put(&place, &[json_type], &component).expect(415);
    server.get("/v1/functions/f").expect(404);
    let plan = put(
        "/v1/manifest?dry_run=true",
        &[json_type],
        envelope.as_bytes(),
    )
    .expect(200);
    assert_eq!(plan.json()["missing"], json!([]));
    // Another version in between: refused, and nothing of it is applied.
    let tag = plan.header("etag").unwrap().to_owned();
    let yaml = [("content-type", "application/yaml")];
    put("/v1/manifest", &yaml, b"version: 1\nbuses: { other: {} }\n").expect(200);
    let late = [json_type, ("if-match", tag.as_str())];
    let problem = put("/v1/manifest", &late, envelope.as_bytes())
        .expect(412)
        .json();
    assert_eq!(problem["type"], "urn:edgebus:problem:changed");
    assert!(
        problem["detail"].as_str().unwrap().contains("plan again"),
        "{problem}"
    );
    put("/v1/manifest?dry_run=true", &late, envelope.as_bytes()).expect(412);
    put(
        "/v1/manifest",
        &[json_type, ("if-match", "2")],
        envelope.as_bytes(),
    )
    .expect(400);
    server.get("/v1/functions/f").expect(404);
    let in_time = [json_type, ("if-match", "\"2\"")];
    let applied = put("/v1/manifest", &in_time, envelope.as_bytes()).expect(200);
    assert_eq!(applied.header("etag"), Some("\"3\""));
    assert_eq!(
        server.get("/v1/functions/f").expect(200).json()["digest"],
        digest
    );
    let position = server.publish("one", "t", &json!({}));
    wait_for("the delivery", || {
        server.get(&format!("/v1/deliveries/1-{position}")).json()["stage"] == "succeeded"
    });
    // What is deployed needs no sending, under another name either.
    let other = envelope
        .replace("{ f: {", "{ g: {")
        .replace("function: f", "function: g");
    let other = other.replace("\"f\"", "\"g\"");
    put("/v1/manifest", &[json_type], other.as_bytes()).expect(200);
    // A function that was deleted beside the manifest would come back, and the plan says so.
    let alone = other.replace("rules: { r: { to: [{ function: g }] } }", "");
    put("/v1/manifest", &[json_type], alone.as_bytes()).expect(200);
    let again = put("/v1/manifest?dry_run=true", &[json_type], alone.as_bytes()).expect(200);
    assert_eq!(again.json()["changes"], json!([]));
    let deleted = server.request("DELETE", "/v1/functions/g", &[], b"");
    deleted.expect(204);
    let again = put("/v1/manifest?dry_run=true", &[json_type], alone.as_bytes()).expect(200);
    assert_eq!(again.json()["changes"][0]["kind"], "add");
    let stranger = envelope.replace("\"f\"", "\"h\"");
    put("/v1/manifest", &[json_type], stranger.as_bytes()).expect(400);
}

/// The digest as the bus tells it for a function that is deployed.
fn blake3(component: &[u8]) -> String {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let wasm = [("content-type", "application/wasm")];
    let answer = server.request("PUT", "/v1/functions/x", &wasm, component);
    answer.expect(201).json()["digest"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_terminal_is_asked() {
    // `script` gives the command a terminal; where there is none, the question can't be shown.
    let home = Home::new("version: 1\n");
    let server = home.serve();
    home.write_manifest("version: 1\nbuses: { asked: {} }\n");
    let asked = |answer: &str| {
        let command = format!(
            "{} apply {} --url http://{}",
            binary().display(),
            home.manifest().display(),
            server.address
        );
        let mut child = clean(Command::new("python3"))
            .args([
                "-c",
                "import os, pty, sys
answer = sys.argv[2].encode()
def read(fd):
    data = os.read(fd, 1024)
    if b'[y/N]' in data:
        os.write(fd, answer + b'\\n')
    return data
sys.exit(os.waitstatus_to_exitcode(pty.spawn(['/bin/sh', '-c', sys.argv[1]], read)))",
                &command,
                answer,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let code = child.wait().unwrap().code();
        let mut out = String::new();
        std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut out).unwrap();
        (code, out)
    };
    let (code, out) = asked("n");
    assert_eq!((code, version(&server)), (Some(1), 1), "{out}");
    assert!(
        out.contains("\u{1b}[32m+ bus asked"),
        "it is coloured: {out:?}"
    );
    let (code, out) = asked("y");
    assert_eq!((code, version(&server)), (Some(0), 2), "{out}");
}

#[test]
fn types_that_never_came_are_told() {
    let manifest = "version: 1
functions: { play: { component: PLAY } }
rules:
  plays: { match: { type: [play] }, to: [{ function: play }] }
  others: { match: { type: [{ prefix: com.other. }] }, to: [{ function: play }] }
  all: { match: { source: [/elsewhere] }, to: [{ function: play }] }
"
    .replace("PLAY", &json!(guests::path("idle")).to_string());
    let home = Home::new(&manifest);
    let server = home.serve();
    let url = format!("http://{}", server.address);
    let file = home.manifest();
    let arguments = ["validate", file.to_str().unwrap(), "--log", &url];
    // Of an empty log there is nothing to say.
    assert!(!run(&arguments, "").succeeds().err.contains("in the log"));
    let event = json!({"specversion": "1.0", "id": "1", "source": "/t", "type": "play", "data": 1});
    let body = event.to_string();
    server
        .post(
            "/v1/events",
            "application/cloudevents+json",
            body.as_bytes(),
        )
        .expect(202);
    let said = run(&arguments, "").succeeds();
    let line = "no event in the log of bus `default` has a type that rule `others` wants: {\"prefix\": \"com.other.\"}";
    assert!(said.err.contains(line), "{}", said.err);
    assert!(
        said.err
            .contains("what is there (1 event) has the types play"),
        "{}",
        said.err
    );
    assert_eq!(said.err.matches("in the log").count(), 1, "{}", said.err);
}
