//! Real payloads through a manifest of seven rules and two functions that work and one that fails, matches equal to an independent count.
//!
//! The project brings no payloads of its own: `EDGEBUS_GITHUB_WEBHOOKS` names a file of JSON Lines with
//! `event` and `payload`. Without it the same manifest runs on a few payloads written here.

use std::collections::BTreeMap;
use std::process::Command;

use edgebus_client::api::Stage;
use serde_json::{Value, json};

use crate::support::guests;
use crate::support::server::{Home, Server, binary, done};

fn manifest() -> String {
    format!(
        "version: 1
functions:
  triage: {{ component: {} }}
  tally: {{ component: {} }}
  play: {{ component: {} }}
rules:
  opened:
    match: {{ type: [com.github.issues, com.github.pull_request], data: {{ action: [opened] }} }}
    to: [{{ function: triage }}]
  outsiders:
    match:
      data:
        $or:
          - comment: {{ author_association: [{{ anything-but: [OWNER, MEMBER] }}] }}
          - pull_request: {{ author_association: [{{ anything-but: [OWNER, MEMBER] }}] }}
          - discussion: {{ author_association: [{{ anything-but: [OWNER, MEMBER] }}] }}
    to: [{{ function: tally }}]
  bugs:
    match: {{ data: {{ issue: {{ labels: {{ name: [bug] }} }} }} }}
    to: [{{ function: tally }}]
  many-issues:
    match: {{ data: {{ repository: {{ open_issues_count: [{{ numeric: ['>', 1] }}] }} }} }}
    to: [{{ function: tally }}]
  private:
    match: {{ data: {{ repository: {{ private: [true] }} }} }}
    to: [{{ function: tally }}]
  bug-labels:
    match: {{ type: [com.github.issues] }}
    where: $.data.issue.labels[?@.name == 'bug']
    to: [{{ function: tally }}]
  show:
    match: {{ type: [tally.show] }}
    to: [{{ function: tally }}]
  always-fails:
    match: {{ type: [com.github.ping, com.github.star] }}
    to: [{{ function: play, retry: {{ attempts: 2, backoff: {{ initial: 10ms, max: 20ms }} }} }}]
",
        json!(guests::path("triage")),
        json!(guests::path("tally")),
        json!(guests::path("hostile"))
    )
}

/// The independent count: plain Rust over trees, written without a look at the engine.
fn expected(lines: &[Value]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let (event, payload) = (line["event"].as_str().unwrap(), &line["payload"]);
        let mut count =
            |rule, matches: bool| *counts.entry(rule).or_insert(0) += usize::from(matches);
        let labels = || payload["issue"]["labels"].as_array().into_iter().flatten();
        let outside = |who: &str| {
            let association = payload[who]["author_association"].as_str();
            association.is_some_and(|association| association != "OWNER" && association != "MEMBER")
        };
        count(
            "opened",
            ["issues", "pull_request"].contains(&event) && payload["action"] == "opened",
        );
        count(
            "outsiders",
            ["comment", "pull_request", "discussion"]
                .into_iter()
                .any(outside),
        );
        count("bugs", labels().any(|label| label["name"] == "bug"));
        count(
            "many-issues",
            payload["repository"]["open_issues_count"]
                .as_f64()
                .is_some_and(|count| count > 1.0),
        );
        count("private", payload["repository"]["private"] == true);
        count(
            "bug-labels",
            event == "issues" && labels().any(|label| label["name"] == "bug"),
        );
        count("always-fails", ["ping", "star"].contains(&event));
    }
    counts
}

fn payloads(folder: &std::path::Path) -> (std::path::PathBuf, Vec<Value>) {
    let given = std::env::var_os("EDGEBUS_GITHUB_WEBHOOKS");
    let path = match &given {
        Some(path) => path.into(),
        None => {
            let issue = |association: &str, label: &str| json!({"action": "opened", "issue": {"number": 7, "title": "It breaks", "author_association": association, "labels": [{"name": label}]}, "repository": {"full_name": "acme/boiler", "private": false, "open_issues_count": 3}});
            let own = [
                json!({"event": "issues", "payload": issue("NONE", "bug")}),
                json!({"event": "issues", "payload": issue("OWNER", "docs")}),
                json!({"event": "ping", "payload": {"zen": "Keep it logically awesome.", "repository": {"private": true, "open_issues_count": 1}}}),
                json!({"event": "issue_comment", "payload": {"comment": {"author_association": "NONE"}}}),
                json!({"event": "push", "payload": {"ref": "refs/heads/main"}}),
            ];
            let path = folder.join("webhooks.jsonl");
            std::fs::write(
                &path,
                own.iter()
                    .map(|line| format!("{line}\n"))
                    .collect::<String>(),
            )
            .unwrap();
            path
        }
    };
    let lines = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    (path, lines)
}

fn publish(server: &Server, file: &std::path::Path) -> String {
    let output = Command::new(binary())
        .args([
            "publish",
            "--url",
            &format!("http://{}", server.address),
            "--batch",
            "50",
        ])
        .args([
            "--type",
            "com.github.{$.event}",
            "--source",
            "/github",
            "--data-path",
            "$.payload",
            "--file",
        ])
        .arg(file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn matches_equal_an_independent_count_and_everything_ends() {
    let home = Home::new(&manifest());
    let folder = tempfile::tempdir().unwrap();
    let (file, lines) = payloads(folder.path());
    let server = home.serve();
    let said = publish(&server, &file);
    assert!(
        said.starts_with(&format!("{} new (#", lines.len())),
        "{said}"
    );
    // A kill in the middle of the work, and the same file again: nothing is missing, nothing doubled.
    server.kill();
    let server = home.serve();
    let said = publish(&server, &file);
    assert!(
        said.starts_with(&format!("0 new, {} duplicates", lines.len())),
        "{said}"
    );
    server.settle();
    let log = server.log();
    let github = log.iter().filter(|row| row.event.source == "/github");
    let github: std::collections::BTreeSet<u64> = github.map(|row| row.position).collect();
    assert_eq!(github.len(), lines.len());
    let mut counts: BTreeMap<&str, usize> =
        expected(&lines).into_keys().map(|rule| (rule, 0)).collect();
    let (succeeded, dead) = (
        server.deliveries(Stage::Succeeded),
        server.deliveries(Stage::Dead),
    );
    for row in succeeded
        .iter()
        .chain(&dead)
        .filter(|row| github.contains(&row.position))
    {
        let rule = row.subscription.split('/').next().unwrap();
        *counts.get_mut(rule).unwrap() += 1;
    }
    assert_eq!(counts, expected(&lines));
    assert!(
        dead.iter()
            .all(|row| row.subscription == "always-fails/play"),
        "{dead:?}"
    );
    assert_eq!(dead.len(), expected(&lines)["always-fails"]);
    assert_eq!(
        tallies(&server),
        counted_in_state(&lines),
        "state misses or doubles an event"
    );
}

/// What the function's state says of each rule.
fn tallies(server: &Server) -> BTreeMap<String, usize> {
    let position = server.publish("show", "tally.show", &json!({}));
    server.settle();
    let rows = server.deliveries(Stage::Succeeded);
    let row = rows.iter().find(|row| row.position == position).unwrap();
    let attempts = done(server.client.delivery(&row.id)).attempts.unwrap();
    let output = attempts[0].output.clone().unwrap();
    output
        .lines()
        .map(|line| {
            let (rule, count) = line
                .strip_prefix("INFO rule/")
                .unwrap()
                .split_once(' ')
                .unwrap();
            (rule.to_owned(), count.parse().unwrap())
        })
        .collect()
}

fn counted_in_state(lines: &[Value]) -> BTreeMap<String, usize> {
    expected(lines)
        .into_iter()
        .filter(|(rule, count)| !["opened", "always-fails"].contains(rule) && *count > 0)
        .map(|(rule, count)| (rule.to_owned(), count))
        .collect()
}
