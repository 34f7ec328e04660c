//! What people see on a terminal of 80 columns: names, ids and errors are never cut.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::guests;
use crate::support::python::succeeded;
use crate::support::server::{Home, Server, binary};

/// Runs a command on a terminal of this many columns and prints what it shows.
const ON_TERMINAL: &str = r#"
import fcntl, os, pty, struct, subprocess, sys, termios
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(sys.argv[1]), 0, 0))
child = subprocess.Popen(sys.argv[2:], stdin=slave, stdout=slave, stderr=slave)
os.close(slave)
out = b""
while True:
    try:
        part = os.read(master, 65536)
    except OSError:
        break
    if not part:
        break
    out += part
child.wait()
sys.stdout.buffer.write(out.replace(b"\r\n", b"\n"))
"#;

/// The lines that a command shows on a terminal, without colours.
fn shown(columns: u16, server: &Server, arguments: &[&str]) -> Vec<String> {
    let said = Command::new("python3")
        .args(["-c", ON_TERMINAL, &columns.to_string()])
        .arg(binary())
        .args(arguments)
        .env("EDGEBUS_URL", format!("http://{}", server.address))
        .env("NO_COLOR", "1")
        .output();
    let text = succeeded("python3", said);
    text.lines().map(str::to_owned).collect()
}

const LONG: &str = "take-orders-and-charge-them";

fn manifest() -> String {
    let hostile = json!(guests::path("hostile"));
    format!(
        "version: 1
functions:
  {LONG}: {{ component: {hostile}, config: {{ GREETING: hello }} }}
  fn-2: {{ component: {hostile}, config: {{ GREETING: hello }} }}
rules:
  orders-of-the-shop:
    match: {{ type: [play] }}
    to: [{{ function: {LONG}, retry: {{ attempts: 3, backoff: {{ initial: 10ms, max: 50ms }} }} }}]
"
    )
}

#[test]
fn what_identifies_and_what_went_wrong_is_whole_at_80_columns() {
    let home = Home::new(&manifest());
    let server = home.serve();
    let words = "no rate for JPY, which is needed to convert the total of this order, and nothing else will do";
    let position = server.publish("a", "play", &json!({"do": format!("trap {words}")}));
    server.settle();
    let check = |arguments: &[&str], wanted: &[&str]| {
        let lines = shown(80, &server, arguments);
        for line in &lines {
            assert!(line.chars().count() <= 80, "{arguments:?}: {line}");
        }
        let text = lines.join("\n");
        // A sentence may go on in the next line.
        let whole = lines
            .iter()
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(" ");
        for wanted in wanted {
            assert!(
                whole.contains(wanted),
                "{arguments:?} lacks {wanted}:\n{text}"
            );
        }
        lines
    };
    let subscription = format!("orders-of-the-shop/{LONG}");
    let functions = check(&["functions", "ls"], &[LONG, "fn-2", "ready"]);
    assert_eq!(functions.len(), 3, "{functions:?}");
    let id = format!("1-{position}");
    check(
        &["dead-letters", "ls"],
        &[&id, &subscription, "attempts-exhausted", words],
    );
    check(
        &["deliveries", "ls", "--stage", "dead"],
        &[&id, &subscription, words],
    );
    let story = check(
        &["deliveries", "get", &id],
        &[words, "Attempts 2 to 3 ended the same", "--full shows them"],
    );
    assert!(story.len() < 40, "{}", story.join("\n"));
    check(&["events", "ls"], &["play", "/test"]);
    check(&["events", "tail"], &["play", "/test"]);
    check(&["rules", "ls"], &["orders-of-the-shop", LONG]);
    check(&["subscriptions", "ls"], &[&subscription]);
    // Blocks of code stay as they are, to be copied.
    let page = shown(80, &server, &["explain", "EB0421"]);
    let words = page.iter().filter(|line| !line.starts_with("    "));
    assert!(
        words.clone().all(|line| line.chars().count() <= 80),
        "{page:?}"
    );
}

#[test]
fn an_error_of_a_manifest_is_underlined_where_it_is() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.yaml");
    let file: &Path = &file;
    let text = format!(
        "version: 1\nbuses: {{ a: {{ {}retentoin: 1d, dedupe: 10m }} }}\n",
        " ".repeat(90)
    );
    std::fs::write(file, text).unwrap();
    let lines = shown(80, &server, &["validate", file.to_str().unwrap()]);
    let at = lines.iter().position(|line| line.contains("^^^")).unwrap();
    let spot = lines[at].chars().take_while(|own| *own != '^').count();
    let under: String = lines[at - 1].chars().skip(spot).take(9).collect();
    assert_eq!(under, "retentoin", "{}", lines.join("\n"));
    assert!(lines[at - 1].chars().count() <= 80);
}
